"""Tracks which systemd units and network namespaces are reported, and what discovery says of them. Pure: knows no kernel or clock."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from sender.items import NAMESPACES, NETNS, UNIT, UNITS
from sender.model import KERNEL
from sender.sampling.discovery import DueDiscovery
from sender.sampling.memory import NameMemory
from sender.sampling.names import LeftOut, NameTracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from sender.model import Snapshot, TcpState
    from sender.settings.schema import ServiceSettings

_NOTHING: NameMemory[str] = NameMemory()


class GroupTracker:
    """The groups of sockets that are reported as `settings` say, by a clock in s that nobody sets; `memory` is of its moment `now`.

    `KEY` carries their discovery, in which `MACRO` is a name.
    """

    KEY: str
    MACRO: str

    def __init__(self, settings: ServiceSettings, memory: NameMemory[str] = _NOTHING, *, now: float = 0.0) -> None:
        self._settings = settings
        self._names: NameTracker[str] = NameTracker(settings.new_per_day, memory, now=now)
        self._discovery = DueDiscovery()

    def with_settings(self, settings: ServiceSettings) -> Self:
        """Return a tracker for other settings that knows what this one knows of each name."""
        other = copy(self)
        other._settings, other._discovery = settings, DueDiscovery()  # noqa: SLF001  its own
        self._names.set_budget(settings.new_per_day)
        return other

    def recall(self, memory: NameMemory[str], now: float) -> None:
        """Take in what could not be read at the start."""
        self._names.recall(memory, now)

    @property
    def memory(self) -> NameMemory[str]:
        """Return what is to be remembered over a restart."""
        return self._names.memory

    @property
    def left_out(self) -> LeftOut[str]:
        """Return the names that have sockets and are not reported, as of the last sample."""
        return self._names.left_out

    def present(self, snapshot: Snapshot, states: Sequence[TcpState]) -> set[str] | None:
        """Return the names that are there and worth reporting in these states; None where that is unknown."""
        raise NotImplementedError

    def track(
        self, snapshot: Snapshot, *, now: float, wants_discovery: bool
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """Return what the sample `snapshot` is to report, and discovery where it is due; nothing where it knows nothing of them.

        Where none is to be reported any more, discovery says so once: what it has listed would stay in Zabbix for ever.
        """
        if not self._settings.report:
            is_known = bool(self._names.known(frozenset()))
            if is_known:
                self._names = NameTracker(self._settings.new_per_day, _NOTHING, now=now)
            return (), {self.KEY: "[]"} if is_known else {}
        present = self.present(snapshot, self._settings.states)
        if present is None:
            return (), {}
        known = present.union(self._names.known(frozenset()))
        excluded = {name for name in known if self._settings.excludes(name)}
        found = self._names.find(
            dict.fromkeys(present - excluded, 0.0),
            used=present,
            excluded=excluded,
            limit=self._settings.limit,
            now=now,
        )
        names = sorted(found)
        discovery = self._discovery.due(
            {self.KEY: [{self.MACRO: name} for name in names]}, now, is_wanted=wants_discovery
        )
        return names, discovery


class UnitTracker(GroupTracker):
    """The systemd units that are reported."""

    KEY, MACRO = UNITS, UNIT

    def present(self, snapshot: Snapshot, states: Sequence[TcpState]) -> set[str] | None:
        """Return the units that have sockets; None where owners are unknown."""
        if snapshot.owners is None:
            return None
        # What no program owns is of a few states alone: where none of them is sent, it would be nothing but zeros.
        return {
            unit for state, owners in snapshot.owners.items() for unit in owners if unit != KERNEL or state in states
        }


class NamespaceTracker(GroupTracker):
    """The other network namespaces that are reported."""

    KEY, MACRO = NAMESPACES, NETNS

    def present(self, snapshot: Snapshot, states: Sequence[TcpState]) -> set[str] | None:  # noqa: ARG002  as of units
        """Return the namespaces that are counted, and those known that wait for their turn; None where nobody passes them on."""
        if snapshot.namespaces is None:
            return None
        return {*snapshot.namespaces, *snapshot.uncounted.intersection(self._names.known(frozenset()))}
