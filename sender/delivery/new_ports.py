"""Ports of which one destination may not have the items yet: their values are held until it takes one.

Zabbix makes the items of a port from discovery, and knows them up to a minute later; a proxy after its ConfigFrequency,
an hour before 6.4. Values that come before are refused, and Zabbix does not say why. Knows no spool and no retry policy.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from sender.spool.sample import Sample
from sender.text import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome

_LOG = logging.getLogger(__name__)
_MOST = 480  # samples held of one port: four hours of them, every 30 s
_MOST_OF_ALL = 48_000  # of all ports together: 11 MB
_GIVE_UP_S = 3600.0  # after a port's last value, if it is not reported any more: what a proxy may need for its items
_SLICE_S = 0.25  # of offering, after which fresh samples have their turn: a thousand ports may be new at once
_AT_ONCE = 70  # samples of one port in one request: as many values as Delivery sends in one
_SOON_S, _LATE_S = 5.0, 600.0  # between two attempts: at first, and in the end
_SAY_AFTER_S = 300.0


@dataclass(slots=True)
class _Held:
    """What is held of one port, oldest first; since when, up to when, and when to try again."""

    since: float
    until: float
    try_at: float
    is_said: bool = False
    samples: deque[Sample] = field(default_factory=deque)


class NewPorts:
    """At destination `name`, which is known to have the items of the ports in `known` (see `Item.port`).

    What falls out of memory is the oldest of values that were never taken: the graphs of a new port begin later, without
    a hole. `rejected` counts the values that were refused of ports that are known. `has_more`: the last `offer` has left
    something that is due.
    """

    def __init__(self, name: str, known: Iterable[str] = (), monotonic: Callable[[], float] = time.monotonic) -> None:
        self.known = set(known)
        self.rejected = 0
        self.has_more = False
        self._name = name
        self._monotonic = monotonic
        self._host = ""  # whose items are meant; empty before the first sample
        self._last: set[str] = set()  # ports of the newest sample
        self._held: dict[str, _Held] = {}

    @property
    def ports(self) -> list[str]:
        """Those of which values are held."""
        return list(self._held)

    @property
    def due_s(self) -> float | None:
        """How long until `offer` is due; None while nothing is held."""
        if not self._held:
            return None
        return max(0.0, min(held.try_at for held in self._held.values()) - self._monotonic())

    def ready(self, items: Sequence[Item]) -> list[Item]:
        """Those of the host as a whole, and of ports that are known. All are of one host; another one begins anew."""
        if items[0].host != self._host:
            self._leave_host()
            self._host = items[0].host
        return [item for item in items if self._is_ready(item.port)]

    def _is_ready(self, port: str) -> bool:
        return not port or (port in self.known and port not in self._held)

    def _leave_host(self) -> None:
        """Nothing that was learned of one host is true of another, and a request has the values of one alone."""
        if not self._host:
            return
        if self._held:
            _LOG.warning(
                "the values held for %s until it has the items of host %r for port %s are lost: the host is another now",
                *(self._name, self._host, some_of(self._held)),
            )
        self._held.clear()
        self.known.clear()

    def hold(self, items: Sequence[Item]) -> None:
        """Take in whole samples, of which `ready` was sent: hold the rest, and forget ports that are not in the last."""
        now = self._monotonic()
        last = (items[-1].clock, items[-1].ns)
        ports = {item.port for item in items if (item.clock, item.ns) == last}
        self._last = {port for port in ports if port}
        for (port, _), group in groupby(items, key=lambda item: (item.port, (item.clock, item.ns))):
            if port and not self._is_ready(port):
                held = self._held.setdefault(port, _Held(now, now, now))
                held.samples.append(Sample.of(list(group), last=0))
                held.until = now
                while len(held.samples) > min(_MOST, max(1, _MOST_OF_ALL // len(self._held))):
                    held.samples.popleft()
        self.known &= self._last  # not before: what was sent by it is not to be held

    def expect(self) -> None:
        """The destination has got discovery, or a host that it did not know: items may be there soon."""
        now = self._monotonic()
        for held in self._held.values():
            held.since = held.try_at = now

    def mark_unknown(self, ports: Iterable[str]) -> None:
        """The destination has refused every value of these: it may have to make their items first."""
        self.known.difference_update(ports)

    def offer(self, send: Callable[[Sequence[Item]], Outcome]) -> None:
        """Try what is due, and deliver what is held of each port that is taken. What `send` raises ends it, without loss.

        Values that are refused are held on, and count for nothing.
        """
        began = self._monotonic()
        due = sorted((held.try_at, port) for port, held in self._held.items() if held.try_at <= began)
        for tried, (_, port) in enumerate(due):
            self.has_more = tried > 0 and self._monotonic() >= began + _SLICE_S
            if self.has_more:
                break
            self._offer(port, send)
        else:
            self.has_more = False
        self._give_up()
        self._say_who_is_missing()

    def _offer(self, port: str, send: Callable[[Sequence[Item]], Outcome]) -> None:
        held = self._held[port]
        if port not in self.known:
            outcome = send(list(held.samples[0].items()))
            if not outcome.accepted:  # again after half of the time that it has waited so far
                now = self._monotonic()
                held.try_at = now + min(max((now - held.since) / 2, _SOON_S), _LATE_S)
                return
            self.known.add(port)
            held.samples.popleft()
            self.rejected += outcome.rejected
            if held.is_said:
                _LOG.info("%s has the items of port %s now; what was held for them is delivered", self._name, port)
        while held.samples:
            batch = list(held.samples)[:_AT_ONCE]
            self.rejected += send(list(chain.from_iterable(sample.items() for sample in batch))).rejected
            for _ in batch:
                held.samples.popleft()
        del self._held[port]

    def _give_up(self) -> None:
        """Let go of ports that are not reported any more: Zabbix has not made their items, and will not."""
        over = self._monotonic() - _GIVE_UP_S
        gone = [port for port, held in self._held.items() if port not in self._last and held.until <= over]
        for port in gone:
            del self._held[port]
        if gone:
            _LOG.info(
                "%s has no items of port %s, and will not get them, as these are not reported any more: what was held for "
                "them is given up",
                *(self._name, some_of(gone)),
            )

    def _say_who_is_missing(self) -> None:
        now = self._monotonic()
        missing = {
            port: held
            for port, held in self._held.items()
            if port not in self.known and not held.is_said and now - held.since >= _SAY_AFTER_S
        }
        for held in missing.values():
            held.is_said = True
        if missing:
            _LOG.warning(
                "%s has no items of port %s, %.0f minutes after their discovery; the newest %d samples of each are held, "
                "and one is offered every %.0f minutes. Does the filter of the discovery rule leave them out "
                "({$TCP.PORT.NOT_MATCHES} and its like; `ports.exclude` here spares the attempts), is the rule disabled, or "
                "does a proxy read its configuration less often (ConfigFrequency)?",
                *(self._name, some_of(missing), _SAY_AFTER_S / 60, _MOST, _LATE_S / 60),
            )
