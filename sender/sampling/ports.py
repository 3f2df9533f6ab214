"""Tracks which ports are reported, and what discovery says of them. Pure: knows no kernel, clock, log or table of services.

A port that is not listened on any more stays for KEEP_S, and then until no socket is left on it, so that its items in
Zabbix end with what is true, which is zeros; a service that is restarted keeps its items.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sender.items import LOCAL, REMOTE
from sender.model import CONTAINER, CountedPorts, Listener, ReportedPorts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sender.model import Snapshot
    from sender.settings.schema import PortSettings

KEEP_S = 86_400.0
_ANY = Listener().scope
_AGAIN_S = 3600.0  # between two discoveries of the same
_WANTED_S = 10.0  # the same, where a destination needs one


class PortTracker:
    """The ports that are reported as `settings` say.

    `seen` are ports discovered before, with the moment at which each was last listened on, in s of a clock that nobody
    sets. `service` returns the name of the service on a port, without delay: it is called for each port in each sample.
    """

    def __init__(self, settings: PortSettings, seen: dict[int, float], *, service: Callable[[int], str]) -> None:
        self._settings = settings
        self._service = service
        self._configured = set(settings.local)
        self._excluded = self._configured.union(*(range(first, last + 1) for first, last in settings.exclude))
        self.seen = {port: when for port, when in seen.items() if settings.listening and port not in self._excluded}
        self._scopes: dict[int, str] = {}  # those tracked, when they were listened on last
        self._sent: dict[str, str] = {}
        self._sent_at = 0.0
        self.left_out: tuple[int, ...] = ()  # listened on, but over the limit, in the last sample

    def with_settings(self, settings: PortSettings) -> PortTracker:
        """Return a tracker for other settings that knows what this one knows of each port."""
        ports = PortTracker(settings, self.seen, service=self._service)
        ports._scopes = self._scopes
        return ports

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
            seen = {**self.seen, **dict.fromkeys(listened, now)}  # a new one: a reload may be reading the other
            used = {port for port, _ in snapshot.local}
            self.seen = {port: when for port, when in seen.items() if now - when <= KEEP_S or port in used}
            ranked = sorted(self.seen, key=lambda port: (port not in listened, port))
            found = ranked[: self._settings.limit]
            left_out = [port for port in ranked[self._settings.limit :] if port in listened]
        else:
            found, left_out = [], []
        self.left_out = tuple(left_out)
        return sorted(self._configured.union(found))

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
