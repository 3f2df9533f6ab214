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

from sender.items import discovered
from sender.model import Outcome
from sender.spool_sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item

_LOG = logging.getLogger(__name__)
_MOST = 480  # samples held of one port: four hours of them, every 30 s
_AT_ONCE = 200  # samples of one port in one request
_SOON_S, _LATE_S = 5.0, 600.0  # between two attempts: at first, and in the end
_SAY_AFTER_S = 300.0


@dataclass(slots=True)
class _Held:
    """What is held of one port, oldest first; since when, and when to try again."""

    since: float
    try_at: float
    is_said: bool = False
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=_MOST))


class Newcomers:
    """At destination `name`, which is known to have the items of the ports in `known` (see `sender.items.discovered`).

    What falls out of memory is the oldest of values that were never taken: the graphs of a new port begin later, without
    a hole.
    """

    def __init__(self, name: str, known: Iterable[str] = (), monotonic: Callable[[], float] = time.monotonic) -> None:
        self.known = set(known)
        self._name = name
        self._monotonic = monotonic
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
        """Those of the host as a whole, and of ports that are known."""
        return [item for item in items if self._is_ready(discovered(item.key))]

    def _is_ready(self, port: str | None) -> bool:
        return port is None or (port in self.known and port not in self._held)

    def hold(self, items: Sequence[Item]) -> None:
        """Take in whole samples, of which `ready` was sent: hold the rest, and forget ports that are not in the last."""
        now = self._monotonic()
        last = (items[-1].clock, items[-1].ns)
        ports = {discovered(item.key) for item in items if (item.clock, item.ns) == last}
        for (port, _), group in groupby(items, key=lambda item: (discovered(item.key), (item.clock, item.ns))):
            if port and not self._is_ready(port):
                self._held.setdefault(port, _Held(now, now)).samples.append(Sample.of(list(group), last=0))
        self.known &= {port for port in ports if port}  # not before: what was sent by it is not to be held

    def doubt(self, ports: Iterable[str]) -> None:
        """The destination has refused every value of these: it may have to make their items first."""
        self.known.difference_update(ports)

    def offer(self, send: Callable[[Sequence[Item]], Outcome]) -> Outcome:
        """Try what is due, and deliver what is held of each port that is taken. What `send` raises ends it, without loss.

        Values that are refused are held on, and count for nothing.
        """
        accepted = rejected = 0
        for port in [port for port, held in self._held.items() if held.try_at <= self._monotonic()]:
            held = self._held[port]
            if port not in self.known:
                outcome = send(list(held.samples[0].items()))
                if not outcome.accepted:
                    self._try_later(held)
                    continue
                self.known.add(port)
                held.samples.popleft()
                accepted, rejected = accepted + outcome.accepted, rejected + outcome.rejected
                if held.is_said:
                    _LOG.info("%s has the items of port %s now; what was held for them is delivered", self._name, port)
            while held.samples:
                batch = list(held.samples)[:_AT_ONCE]
                outcome = send(list(chain.from_iterable(sample.items() for sample in batch)))
                accepted, rejected = accepted + outcome.accepted, rejected + outcome.rejected
                for _ in batch:
                    held.samples.popleft()
            del self._held[port]
        self._say_who_is_missing()
        return Outcome(accepted=accepted, rejected=rejected)

    def _try_later(self, held: _Held) -> None:
        """After half of the time that it has waited so far."""
        now = self._monotonic()
        held.try_at = now + min(max((now - held.since) / 2, _SOON_S), _LATE_S)

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
                *(self._name, ", ".join(missing), _SAY_AFTER_S / 60, _MOST, _LATE_S / 60),
            )
