"""Asks each destination for the host's active checks, as an agent does, so that a registration action can create the host.

Each destination is asked in a thread and over a connection of its own, so that values never wait for it. Knows no spool.
(Zabbix manual: Discovery, Active agent autoregistration; Appendix, Protocols, Zabbix agent protocol.)
"""

from __future__ import annotations

import logging
import reprlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sender.errors import DeliveryError
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.settings.schema import Destination, Settings

_LOG = logging.getLogger(__name__)
_MAX_QUOTE = 200  # characters of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often to ask, in s: again after a failure; soon where the host may be unknown; late in any case.

    Soon is what a server needs: it takes no second request within 120 s for one (AUTO_REGISTRATION_HEARTBEAT, active.c).
    """

    again_s: float = 10.0
    soon_s: float = 120.0
    late_s: float = 3600.0


_PACE = Pace()


class Registration:
    """The registration of `host` with `metadata` at destination `name`, which answers what `ask` is given.

    `run` belongs to one thread; `wake` and `stop` may be called from any.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        host: str,
        metadata: str,
        pace: Pace = _PACE,
    ) -> None:
        self._name = name
        self._ask = ask
        self._host = host
        self._request = {"request": "active checks", "host": host, "host_metadata": metadata}
        self._pace = pace
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._trouble = ""  # that was logged last; empty when there is none

    def wake(self) -> None:
        """Ask sooner: the destination may not know the host now."""
        self._wake.set()

    def stop(self) -> None:
        """Let `run` come to its end, after what it asks just now."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Ask at once, and then again: every hour, and sooner after a failure or `wake`."""
        while not self._stop.is_set():
            self._wake.clear()
            if self.register():
                self._stop.wait(self._pace.soon_s)
                self._wake.wait(self._pace.late_s - self._pace.soon_s)
            else:
                self._stop.wait(self._pace.again_s)
                self._wake.wait(self._pace.soon_s - self._pace.again_s)

    def register(self) -> bool:
        """Ask once; return whether there was an answer."""
        try:
            answer = self._ask(self._request)
        except DeliveryError as error:  # which is an error where it keeps values waiting: the delivery says so
            self._say(logging.INFO, f"{self._name}: could not ask for registration of host {self._host!r}: {error}")
            return False
        info = answer.get("info")
        if answer.get("response") == "success":
            if self._trouble:
                _LOG.info("%s: Zabbix knows host %r", self._name, self._host)
            self._trouble = ""
        elif info == f"host [{self._host}] not found":  # as it must be before a registration action has worked
            _LOG.debug("%s: Zabbix does not know host %r, and was asked to register it", self._name, self._host)
        else:
            said = info[:_MAX_QUOTE] if isinstance(info, str) and info.isprintable() else reprlib.repr(answer)
            self._say(logging.WARNING, f"{self._name}: Zabbix does not register host {self._host!r}: {said}")
        return True

    def _say(self, level: int, trouble: str) -> None:
        """Log `trouble` once, until it is another or none."""
        if trouble != self._trouble:
            _LOG.log(level, "%s", trouble)
        self._trouble = trouble


def registration(settings: Settings, destination: Destination) -> Registration | None:
    """Return the registration at a destination; None where `settings` ask for none."""
    if not settings.autoregistration:
        return None
    ask, metadata = Uplink(destination).ask, settings.autoregistration.metadata
    return Registration(destination.name, ask, host=settings.host, metadata=metadata)


class Registrations:
    """One registration, in a thread of its own, at each destination."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[object, Registration]] = {}  # by destination: made from what, and itself

    def apply(self, settings: Settings) -> None:
        """Begin the registrations that `settings` change or add, and end those that they change or drop."""
        before, running = dict(self._running), dict[str, tuple[object, Registration]]()
        for destination in settings.destinations:
            name, source = destination.name, (settings.host, settings.autoregistration, destination)
            if name in before and before[name][0] == source:
                running[name] = before.pop(name)
            elif new := registration(settings, destination):
                threading.Thread(target=new.run, name=f"registration at {name}", daemon=True).start()
                running[name] = source, new
        self._running = running
        for _, old in before.values():
            old.stop()

    def wake(self, name: str) -> None:
        """Ask destination `name` sooner: it may not know the host now. May be called from any thread."""
        if running := self._running.get(name):
            running[1].wake()

    def stop(self) -> None:
        """End all registrations, and wait for none."""
        for _, each in self._running.values():
            each.stop()
