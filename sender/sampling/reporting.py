"""What a sample asks for and reports: ports, units, namespaces and texts together, as the settings say. Pure: knows no kernel, clock or log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sender.sampling.groups import NamespaceTracker, UnitTracker
from sender.sampling.memory import Memory
from sender.sampling.ports import PortTracker
from sender.sampling.tops import TopTexts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.model import CountedPorts, Reported, Snapshot
    from sender.settings.schema import Settings

_NOTHING = Memory()


class Reporting:
    """What is reported as `settings` say, by a clock in s that nobody sets; `memory` is of its moment `now`.

    `service` returns the name of the service on a port, without delay.
    """

    def __init__(
        self, settings: Settings, memory: Memory = _NOTHING, *, service: Callable[[int], str], now: float = 0.0
    ) -> None:
        self._settings = settings
        self.ports = PortTracker(settings.ports, memory.ports, service=service, now=now)
        self.units = UnitTracker(settings.services, memory.units, now=now)
        self.namespaces = NamespaceTracker(settings.namespaces, memory.namespaces, now=now)
        self._tops = TopTexts(names_destinations=settings.name_destinations)

    def with_settings(self, settings: Settings) -> Reporting:
        """Return the same for other settings, which knows what this one knows, and sends every text anew."""
        other = Reporting(settings, service=str)
        other.ports = self.ports.with_settings(settings.ports)
        other.units = self.units.with_settings(settings.services)
        other.namespaces = self.namespaces.with_settings(settings.namespaces)
        return other

    def recall(self, memory: Memory, now: float) -> None:
        """Take in what could not be read at the start."""
        self.ports.recall(memory.ports, now)
        self.units.recall(memory.units, now)
        self.namespaces.recall(memory.namespaces, now)

    @property
    def memory(self) -> Memory:
        """Return what is to be remembered over a restart."""
        return Memory(ports=self.ports.memory, units=self.units.memory, namespaces=self.namespaces.memory)

    @property
    def wanted(self) -> CountedPorts:
        """Return what the next sample is to count."""
        settings = self._settings
        return replace(
            self.ports.wanted,
            counters=settings.counters,
            owners=settings.services.report,
            ephemeral=True,
            namespaces=settings.namespaces.report,
        )

    def reset(self) -> None:
        """Send every text with the next sample."""
        self._tops.reset()

    def track(self, snapshot: Snapshot, *, now: float, wants_discovery: bool) -> Reported:
        """Return what the sample `snapshot` is to report."""
        tracked = self.ports.track(snapshot, now=now, wants_discovery=wants_discovery)
        units, of_units = self.units.track(snapshot, now=now, wants_discovery=wants_discovery)
        namespaces, of_namespaces = self.namespaces.track(snapshot, now=now, wants_discovery=wants_discovery)
        return replace(
            tracked,
            units=units,
            unit_states=self._settings.services.states,
            texts=self._tops.due(snapshot, now),
            namespaces=namespaces,
            namespace_states=self._settings.namespaces.states,
            discovery={**tracked.discovery, **of_units, **of_namespaces},
        )
