"""Tracks which ports are reported, and what discovery says of them. Pure: knows no kernel, clock, log or table of services.

A listening port is reported when the guard admits it: at once, or one of the kernel's ephemeral range after a while, and so
many new ones per day. One that is not listened on any more stays for KEEP_S, and then until no socket is left on it, so
that its items in Zabbix end with what is true, which is zeros; a service that is restarted keeps its items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sender.items import LOCAL, REMOTE, local_port
from sender.model import CONTAINER, CountedPorts, Listener, ReportedPorts
from sender.sampling.guard import ChurnGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sender.model import Snapshot
    from sender.settings.schema import PortSettings

KEEP_S = 86_400.0
_ANY = Listener().scope
_AGAIN_S = 3600.0  # between two discoveries of the same
_WANTED_S = 10.0  # the same, where a destination needs one
_NOTE_S = 60.0  # between two notes of the same ports: what a kill may cost one that waits
_LONGEST_S = 2**31  # an age that a file may give


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMemory:
    """What is remembered of ports over a restart, in s of age.

    `named` are those reported, and how long ago each was last listened on; `waiting` those that are to be, and for how long
    each has been listened on; `spent` how long ago each of the last new ones was named. `is_first`: nothing is remembered.
    """

    named: Mapping[int, float] = field(default_factory=dict)
    waiting: Mapping[int, float] = field(default_factory=dict)
    spent: Sequence[float] = ()
    is_first: bool = True

    @classmethod
    def parse(cls, text: str, known: Iterable[int] = ()) -> PortMemory:
        """Return what `text` says, as `str` has written it; where it says nothing, the ports that are `known` are named."""
        try:
            found = json.loads(text)
            return cls(
                named=_ages(found["named"]),
                waiting=_ages(found["waiting"]),
                spent=[age for age in found["spent"] if _is_age(age)],
                is_first=False,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            named = dict.fromkeys(known, 0.0)
            return cls(named=named, is_first=not named)

    def __str__(self) -> str:
        found = {"named": self.named, "waiting": self.waiting, "spent": list(self.spent)}
        return json.dumps(found, separators=(",", ":"))


def _ages(found: Mapping[str, object]) -> dict[int, float]:
    ages = ((local_port(port), age) for port, age in found.items())
    return {port: float(age) for port, age in ages if port is not None and _is_age(age)}  # type: ignore[arg-type]


def _is_age(age: object) -> bool:
    return isinstance(age, int) and 0 <= age < _LONGEST_S


_NOTHING = PortMemory()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Ports that are listened on and not reported: for which there is no room, no more budget today, or that are too new."""

    over_limit: Sequence[int] = ()
    over_budget: Sequence[int] = ()
    young: Sequence[int] = ()


class PortTracker:
    """The ports that are reported as `settings` say, by a clock in s that nobody sets; `memory` is of its moment `now`.

    `note` is the PortMemory for the next start, as text: another every minute at most, and when a port is named.

    `service` returns the name of the service on a port, without delay: it is called for each port in each sample.
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
        named = {port: now - age for port, age in memory.named.items()}
        self.seen = {port: when for port, when in named.items() if settings.listening and port not in self._excluded}
        self._guard = ChurnGuard(
            settings.new_per_day, waiting=memory.waiting, spent=memory.spent, is_first=memory.is_first, now=now
        )
        self._scopes: dict[int, str] = {}  # those tracked, when they were listened on last
        self._sent: dict[str, str] = {}
        self._sent_at = 0.0
        self.note = ""
        self._noted: set[int] = set()
        self._note_at = 0.0

    def with_settings(self, settings: PortSettings) -> PortTracker:
        """Return a tracker for other settings that knows what this one knows of each port."""
        ports = PortTracker(settings, service=self._service)
        ports.seen = {
            port: when for port, when in self.seen.items() if settings.listening and port not in ports._excluded
        }
        ports._guard, ports._guard.per_day = self._guard, settings.new_per_day
        ports._scopes = self._scopes
        return ports

    @property
    def left_out(self) -> LeftOut:
        """Return the ports that are listened on and not reported, as of the last sample."""
        guard = self._guard
        return LeftOut(
            over_limit=tuple(sorted(guard.over_limit)),
            over_budget=tuple(sorted(guard.over_budget)),
            young=tuple(sorted(guard.young)),
        )

    @property
    def wanted(self) -> CountedPorts:
        """Return what the next sample is to count."""
        settings = self._settings
        return CountedPorts(
            local=frozenset(self._configured.union(self.seen)),
            remote=frozenset(settings.remote),
            listening=settings.listening,
        )

    def track(self, snapshot: Snapshot, *, now: float, wants_discovery: bool) -> ReportedPorts:
        """Return what the sample `snapshot` is to report."""
        local = self._local(snapshot, now)
        scopes, listeners = self._scopes, snapshot.listeners
        self._scopes = {port: listeners[port].scope if port in listeners else scopes.get(port, _ANY) for port in local}
        return ReportedPorts(
            local=local,
            remote=self._settings.remote,
            states=self._settings.states,
            discovery=self._discovery(now, wants_discovery=wants_discovery),
        )

    def _local(self, snapshot: Snapshot, now: float) -> list[int]:
        if self._settings.listening:
            listened = set(snapshot.listeners) - self._excluded
            seen = {port: now if port in listened else when for port, when in self.seen.items()}
            used = {port for port, _ in snapshot.local}
            seen = {port: when for port, when in seen.items() if now - when <= KEEP_S or port in used}
            self.seen = self._limited(seen, listened, snapshot.ephemeral_ports, now)
            self._remember(now)
        return sorted(self._configured.union(self.seen))

    def _limited(self, seen: dict[int, float], listened: set[int], ephemeral: range, now: float) -> dict[int, float]:
        """Return up to `limit` of the ports that were `seen` and of the new ones in `listened`; those that are gone give way."""
        limit, after_s = self._settings.limit, self._settings.ephemeral_after
        ranked = sorted(seen, key=lambda port: (port not in listened, port))[:limit]
        room = limit - len(listened.intersection(ranked))
        present = {port: float(after_s if port in ephemeral else 0) for port in listened.difference(ranked)}
        admitted = self._guard.admit(present, room=room, now=now)
        ranked = sorted([*ranked, *admitted], key=lambda port: (port not in listened, port))[:limit]
        return {port: seen.get(port, now) for port in ranked}

    def _remember(self, now: float) -> None:
        if self.seen.keys() == self._noted and now < self._note_at + _NOTE_S:
            return
        self._noted, self._note_at = set(self.seen), now
        waiting, spent = self._guard.ages(now)
        named = {port: int(now - when) for port, when in self.seen.items()}
        self.note = str(PortMemory(named=named, waiting=waiting, spent=spent))

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
