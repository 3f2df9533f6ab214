"""Tracks which ports are reported, and what discovery says of them. Pure: knows no kernel, clock, log or table of services.

A port of the kernel's ephemeral range must be listened on for a while before it is reported, any other is at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.items import LOCAL, REMOTE
from sender.model import CONTAINER, CountedPorts, Listener, Reported
from sender.sampling.discovery import DueDiscovery
from sender.sampling.memory import NameMemory
from sender.sampling.names import LeftOut, NameTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.model import Snapshot
    from sender.settings.schema import PortSettings

_ANY = Listener().scope
_NOTHING: NameMemory[int] = NameMemory()


class PortTracker:
    """The ports that are reported as `settings` say, by a clock in s that nobody sets; `memory` is of its moment `now`.

    `service` returns the name of the service on a port, without delay: it is called for each port in each sample.
    """

    def __init__(
        self,
        settings: PortSettings,
        memory: NameMemory[int] = _NOTHING,
        *,
        service: Callable[[int], str],
        now: float = 0.0,
    ) -> None:
        self._settings = settings
        self._service = service
        self._configured = set(settings.local)
        self._excluded = self._configured.union(*(range(first, last + 1) for first, last in settings.exclude))
        self._names: NameTracker[int] = NameTracker(settings.new_per_day, memory, now=now)
        self._found = self._names.known(self._excluded) if settings.listening else []
        self._scopes: dict[int, str] = {}  # those tracked, when they were listened on last
        self._owners: dict[int, str] = {}  # who listened on them then
        self._discovery = DueDiscovery()

    def with_settings(self, settings: PortSettings) -> PortTracker:
        """Return a tracker for other settings that knows what this one knows of each port."""
        ports = PortTracker(settings, service=self._service)
        ports._names = self._names
        ports._names.set_budget(settings.new_per_day)
        ports._found = ports._names.known(ports._excluded) if settings.listening else []
        ports._scopes, ports._owners = self._scopes, self._owners
        return ports

    def recall(self, memory: NameMemory[int], now: float) -> None:
        """Take in what could not be read at the start."""
        self._names.recall(memory, now)

    @property
    def memory(self) -> NameMemory[int]:
        """Return what is to be remembered over a restart."""
        return self._names.memory

    @property
    def left_out(self) -> LeftOut[int]:
        """Return the ports that are listened on and not reported, as of the last sample."""
        return self._names.left_out

    @property
    def wanted(self) -> CountedPorts:
        """Return what the next sample is to count."""
        settings = self._settings
        return CountedPorts(
            local=frozenset(self._configured.union(self._found)),
            remote=frozenset(settings.remote),
            listening=settings.listening,
        )

    def track(self, snapshot: Snapshot, *, now: float, wants_discovery: bool) -> Reported:
        """Return what the sample `snapshot` is to report."""
        if self._settings.listening:
            listened = snapshot.listeners.keys() - self._excluded
            self._found = self._names.find(
                {port: self._needed_s(port, snapshot.ephemeral_ports) for port in listened},
                used={port for port, _ in snapshot.local},
                excluded=self._excluded,
                limit=self._settings.limit,
                now=now,
            )
        local = sorted(self._configured.union(self._found))
        scopes, owners, listeners = self._scopes, self._owners, snapshot.listeners
        self._scopes = {port: listeners[port].scope if port in listeners else scopes.get(port, _ANY) for port in local}
        self._owners = {port: snapshot.unit_on(port) or owners.get(port, "") for port in local}
        found = {
            LOCAL: [{**self._describe(port, scope), "{#SCOPE}": scope} for port, scope in self._scopes.items()],
            REMOTE: [self._describe(port) for port in self._settings.remote],
        }
        return Reported(
            local=local,
            remote=self._settings.remote,
            states=self._settings.states,
            discovery=self._discovery.due(found, now, is_wanted=wants_discovery),
        )

    def _needed_s(self, port: int, ephemeral: range) -> float:
        """Return for how long a port must be listened on before it is reported."""
        return float(self._settings.ephemeral_after if port in ephemeral else 0)

    def _describe(self, port: int, scope: str = "") -> dict[str, str]:
        """Return the macros of a port; `scope` is a local one's, who listens on which is told where the table has no name."""
        service = self._service(port) or (self._owners.get(port, "") if scope else "")
        where = "(container)" if scope == CONTAINER else ""  # its zeros are not to be taken for measured
        return {
            "{#PORT}": str(port),
            "{#SERVICE}": service,
            "{#NAME}": " ".join(filter(None, (str(port), service, where))),
        }
