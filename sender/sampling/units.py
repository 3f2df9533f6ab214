"""Tracks which systemd units are reported, and what discovery says of them. Pure: knows no kernel, clock or log."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sender.items import UNIT, UNITS
from sender.model import KERNEL
from sender.sampling.discovery import DueDiscovery
from sender.sampling.memory import NameMemory
from sender.sampling.names import LeftOut, NameTracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.model import Snapshot
    from sender.settings.schema import ServiceSettings

_NOTHING: NameMemory[str] = NameMemory()


class UnitTracker:
    """The units that are reported as `settings` say, by a clock in s that nobody sets; `memory` is of its moment `now`."""

    def __init__(self, settings: ServiceSettings, memory: NameMemory[str] = _NOTHING, *, now: float = 0.0) -> None:
        self._settings = settings
        self._names: NameTracker[str] = NameTracker(settings.new_per_day, memory, now=now)
        self._discovery = DueDiscovery()

    def with_settings(self, settings: ServiceSettings) -> UnitTracker:
        """Return a tracker for other settings that knows what this one knows of each unit."""
        units = UnitTracker(settings)
        units._names = self._names
        units._names.set_budget(settings.new_per_day)
        return units

    def recall(self, memory: NameMemory[str], now: float) -> None:
        """Take in what could not be read at the start."""
        self._names.recall(memory, now)

    @property
    def memory(self) -> NameMemory[str]:
        """Return what is to be remembered over a restart."""
        return self._names.memory

    @property
    def left_out(self) -> LeftOut[str]:
        """Return the units that have sockets and are not reported, as of the last sample."""
        return self._names.left_out

    def track(
        self, snapshot: Snapshot, *, now: float, wants_discovery: bool
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """Return the units that the sample `snapshot` is to report, and discovery where it is due; nothing where owners are unknown."""
        if not self._settings.report or snapshot.owners is None:
            return (), {}
        # What no program owns is of a few states alone: where none of them is sent, it would be nothing but zeros.
        present = {
            unit
            for state, owners in snapshot.owners.items()
            for unit in owners
            if unit != KERNEL or state in self._settings.states
        }
        known = present.union(self._names.known(frozenset()))
        excluded = {unit for unit in known if any(fnmatchcase(unit, each) for each in self._settings.exclude)}
        found = self._names.find(
            dict.fromkeys(present - excluded, 0.0),
            used=present,
            excluded=excluded,
            limit=self._settings.limit,
            now=now,
        )
        units = sorted(found)
        discovery = self._discovery.due({UNITS: [{UNIT: unit} for unit in units]}, now, is_wanted=wants_discovery)
        return units, discovery
