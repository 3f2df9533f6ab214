"""Tracks which ports are reported, and what discovery says of them. Pure: knows no kernel, clock, log or table of services.

A listening port is reported when the guard admits it: at once, or one of the kernel's ephemeral range after a while, and so
many new ones per day. One that is not listened on any more stays for KEEP_S, and then until no socket is left on it, so
that its items in Zabbix end with what is true, which is zeros; a service that is restarted keeps its items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.items import LOCAL, REMOTE
from sender.model import CONTAINER, CountedPorts, Listener, Reported
from sender.sampling.guard import ChurnGuard
from sender.sampling.port_memory import PortMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Snapshot
    from sender.settings.schema import PortSettings

KEEP_S = 86_400.0
_ANY = Listener().scope
_AGAIN_S = 3600.0  # between two discoveries of the same
_WANTED_S = 10.0  # the same, where a destination needs one
_NOTE_S = 60.0  # between two notes of the same ports: what a kill may cost one that waits
_FEW = 50  # ports that wait

_NOTHING = PortMemory()


@dataclass(slots=True)
class _Named:
    """The ports that were named, and when each was last listened on: one for the trackers before and after a reload."""

    ports: dict[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Ports that are listened on and not reported: for which there is no room, no more budget today, or that are too new."""

    over_limit: Sequence[int] = ()
    over_budget: Sequence[int] = ()
    young: Sequence[int] = ()


class PortTracker:
    """The ports that are reported as `settings` say, by a clock in s that nobody sets; `memory` is of its moment `now`.

    `note` is the PortMemory for the next start, as text: another when a port is named, with each sample while few wait, and
    every minute. `service` returns the name of the service on a port, without delay: it is called for each port in each sample.
    """

    def __init__(
        self,
        settings: PortSettings,
        memory: PortMemory = _NOTHING,
        *,
        service: Callable[[int], str],
        now: float = 0.0,
    ) -> None:
        self._settings = settings
        self._service = service
        self._configured = set(settings.local)
        self._excluded = self._configured.union(*(range(first, last + 1) for first, last in settings.exclude))
        self._named = _Named({port: now - age for port, age in memory.named.items()})
        self._guard = ChurnGuard(settings.new_per_day, memory.guard, now=now)
        self._found = sorted(self._named.ports.keys() - self._excluded) if settings.listening else []
        self._over_limit: list[int] = []
        self._scopes: dict[int, str] = {}  # those tracked, when they were listened on last
        self._sent: dict[str, str] = {}
        self._sent_at = 0.0
        self.note = ""
        self._noted: set[int] = set()
        self._note_at = 0.0

    def with_settings(self, settings: PortSettings) -> PortTracker:
        """Return a tracker for other settings that knows what this one knows of each port."""
        ports = PortTracker(settings, service=self._service)
        ports._named, ports._guard = self._named, self._guard
        ports._guard.per_day = settings.new_per_day
        ports._found = sorted(self._named.ports.keys() - ports._excluded) if settings.listening else []
        ports._scopes = self._scopes
        return ports

    def recall(self, memory: PortMemory, now: float) -> None:
        """Take in what could not be read at the start."""
        found = {port: now - age for port, age in memory.named.items()}
        self._named.ports = {**found, **self._named.ports}
        self._guard.recall(memory.guard, now)

    @property
    def left_out(self) -> LeftOut:
        """Return the ports that are listened on and not reported, as of the last sample."""
        guard = self._guard
        return LeftOut(
            over_limit=tuple(sorted([*self._over_limit, *guard.over_limit])),
            over_budget=tuple(sorted(guard.over_budget)),
            young=tuple(sorted(guard.young)),
        )

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
        local = self._local(snapshot, now)
        scopes, listeners = self._scopes, snapshot.listeners
        self._scopes = {port: listeners[port].scope if port in listeners else scopes.get(port, _ANY) for port in local}
        return Reported(
            local=local,
            remote=self._settings.remote,
            states=self._settings.states,
            discovery=self._discovery(now, wants_discovery=wants_discovery),
        )

    def _local(self, snapshot: Snapshot, now: float) -> list[int]:
        if self._settings.listening:
            listened = set(snapshot.listeners) - self._excluded
            used = {port for port, _ in snapshot.local}
            named = {port: now if port in listened else when for port, when in self._named.ports.items()}
            named = {port: when for port, when in named.items() if now - when <= KEEP_S or port in used}
            new = {port: self._needed_s(port, snapshot.ephemeral_ports) for port in listened.difference(named)}
            self._find(named, listened, new, now)
            self._remember(now)
        return sorted(self._configured.union(self._found))

    def _needed_s(self, port: int, ephemeral: range) -> float:
        """Return for how long a port must be listened on before it is named."""
        return float(self._settings.ephemeral_after if port in ephemeral else 0)

    def _find(self, named: dict[int, float], listened: set[int], new: dict[int, float], now: float) -> None:
        """Find up to `limit` of the ports that are named or new; of the named ones, those that have been gone longest give way."""

        def rank(port: int) -> tuple[float, int]:
            return -named[port], port

        limit, ranked = self._settings.limit, sorted(named.keys() - self._excluded, key=rank)
        room = limit - len(listened.intersection(ranked[:limit]))
        admitted = self._guard.admit(new, room=room, now=now)
        first, rest = ranked[: limit - len(admitted)], ranked[limit - len(admitted) :]
        self._found = [*first, *admitted]
        self._over_limit = [port for port in rest if port in listened]
        self._named.ports = {**named, **dict.fromkeys(admitted, now)}

    def _remember(self, now: float) -> None:
        """Write the note: at once while few wait, as each sample is worth its time to them."""
        memory, is_new = self._guard.memory(now), self._named.ports.keys() != self._noted
        if not is_new and not 0 < len(memory.waiting) <= _FEW and now < self._note_at + _NOTE_S:
            return
        self._noted, self._note_at = set(self._named.ports), now
        named = {port: int(now - when) for port, when in self._named.ports.items()}
        self.note = str(PortMemory(named=named, guard=memory))

    def _discovery(self, now: float, *, wants_discovery: bool) -> dict[str, str]:
        """Return the value of each discovery key, on change and every hour; nothing in between."""
        local = [{**self._describe(port, scope), "{#SCOPE}": scope} for port, scope in self._scopes.items()]
        found = {LOCAL: _as_json(local), REMOTE: _as_json(map(self._describe, self._settings.remote))}
        if found == self._sent and now - self._sent_at < (_WANTED_S if wants_discovery else _AGAIN_S):
            return {}
        self._sent, self._sent_at = found, now
        return found

    def _describe(self, port: int, scope: str = _ANY) -> dict[str, str]:
        service = self._service(port)
        where = "(container)" if scope == CONTAINER else ""  # its zeros are not to be taken for measured
        return {
            "{#PORT}": str(port),
            "{#SERVICE}": service,
            "{#NAME}": " ".join(filter(None, (str(port), service, where))),
        }


def _as_json(found: Iterable[dict[str, str]]) -> str:
    """Return the value of low-level discovery (Zabbix manual: Low-level discovery, Custom LLD rules)."""
    return json.dumps(list(found), separators=(",", ":"))
