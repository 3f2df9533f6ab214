"""Holds the values of newly discovered ports, units and namespaces until one destination has their items.

Knows no spool and no retry policy.
Units and namespaces are held as ports are: where this says port, it says all three.

Zabbix creates the items of a port from discovery and knows them within a minute; a proxy after its ConfigFrequency, an hour
before 6.4. It rejects values that come before, and does not say why. One thread at a time may use an instance; `ports` may
be read from any.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from sender.items import named
from sender.spool.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome

_LOG = logging.getLogger(__name__)
_MAX_SAMPLES = 480  # samples held of one port: four hours of them, every 30 s
_MAX_OF_ALL = 48_000  # of all ports together: 11 MB
# After a port's last value, if it is not reported any more: what a proxy may need for its items. Those that it has are kept by
# Zabbix for days, and a namespace whose turn it is not, or a unit while owners are unknown, has no value in a sample.
_DROP_AFTER_S = 3600.0
_SLICE_S = 0.25  # of offering, after which fresh samples have their turn: a thousand ports may be new at once
_AT_ONCE = 70  # samples of one port in one request: as many values as Delivery sends in one
_SOON_S, _LATE_S = 5.0, 600.0  # between two attempts: at first, and in the end
_LOG_AFTER_S = 300.0


@dataclass(slots=True)
class _Held:
    """The samples held of one port, oldest first; since when, and when to try again."""

    since: float
    try_at: float
    is_logged: bool = False
    samples: deque[Sample] = field(default_factory=deque)


class NewPorts:
    """The ports of one host at destination `name`: those in `created` have their items there (see `Item.port`).

    Past the limits of memory the oldest held values are dropped: the graphs of a new port begin later, without a hole.
    `rejected` counts the values of created ports that `offer` saw rejected. `has_more`: the last `offer` has left
    something that is due.
    """

    def __init__(self, name: str, created: Iterable[str] = (), monotonic: Callable[[], float] = time.monotonic) -> None:
        self.created = set(created)
        self.rejected = 0
        self.has_more = False
        self._name = name
        self._monotonic = monotonic
        self._host = ""  # whose items are meant; empty before the first sample
        self._last: set[str] = set()  # ports of the newest sample
        self._seen = dict.fromkeys(self.created, monotonic())  # when the last value of each came
        self._held: dict[str, _Held] = {}

    @property
    def ports(self) -> list[str]:
        """Return the ports of which values are held."""
        return list(self._held)

    @property
    def due_s(self) -> float | None:
        """Return how long it is until `offer` is due; None while nothing is held."""
        if not self._held:
            return None
        return max(0.0, min(held.try_at for held in self._held.values()) - self._monotonic())

    def ready(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that can be sent now: those of the host as a whole, and of created ports.

        `items` are of one host. A new host name resets what was learned.
        """
        if items[0].host != self._host:
            self._leave_host()
            self._host = items[0].host
        return [item for item in items if self._is_ready(item.port)]

    def _is_ready(self, port: str) -> bool:
        return not port or (port in self.created and port not in self._held)

    def _leave_host(self) -> None:
        """Drop what is held and known: nothing of it is true of another host, and a request has the values of one alone."""
        if not self._host:
            return
        if self._held:
            _LOG.warning(
                "%s: host name changed: dropped the values held for new %s of host %r",
                *(self._name, named(self._held), self._host),
            )
        self._held.clear()
        self.created.clear()

    def hold(self, items: Sequence[Item]) -> None:
        """Hold what `ready` left out of these whole samples, and forget ports of which none has come for long."""
        now = self._monotonic()
        last = (items[-1].clock, items[-1].ns)
        self._last = {item.port for item in items if item.port and (item.clock, item.ns) == last}
        self._seen.update(dict.fromkeys((item.port for item in items if item.port), now))
        # By port alone: values of the host stand between two samples, and a value of the sample before is no sample.
        for port, group in groupby(items, key=lambda item: item.port):
            if port and not self._is_ready(port):
                held = self._held.setdefault(port, _Held(now, now))
                held.samples.append(Sample.of(list(group), last=0))
                while len(held.samples) > min(_MAX_SAMPLES, max(1, _MAX_OF_ALL // len(self._held))):
                    held.samples.popleft()
        over = now - _DROP_AFTER_S
        self._seen = {port: seen for port, seen in self._seen.items() if seen > over or port in self._held}
        self.created &= self._seen.keys()

    def retry_now(self) -> None:
        """Begin to retry anew: the destination has got discovery, or knows the host now, so items may be there soon."""
        now = self._monotonic()
        for held in self._held.values():
            held.since = held.try_at = now

    def mark_unknown(self, ports: Iterable[str]) -> None:
        """Hold the next values of these ports: every value was rejected, so their items may have to be created first."""
        self.created.difference_update(ports)

    def offer(self, send: Callable[[Sequence[Item]], Outcome]) -> None:
        """Send what is due, one sample of each port first, and all that is held of a port which accepts that.

        Rejected values of other ports stay held and are not counted. What `send` raises ends it, without loss.
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
        self._drop_unreported()
        self._log_missing()

    def _offer(self, port: str, send: Callable[[Sequence[Item]], Outcome]) -> None:
        held = self._held[port]
        if port not in self.created:
            outcome = send(list(held.samples[0].items()))
            if not outcome.accepted:  # again after half of the time that it has waited so far
                now = self._monotonic()
                held.try_at = now + min(max((now - held.since) / 2, _SOON_S), _LATE_S)
                return
            self.created.add(port)
            held.samples.popleft()
            self.rejected += outcome.rejected
            if held.is_logged:
                _LOG.info(
                    "%s: Zabbix has created the items of %s; delivering its held values", self._name, named([port])
                )
        while held.samples:
            batch = list(held.samples)[:_AT_ONCE]
            self.rejected += send(list(chain.from_iterable(sample.items() for sample in batch))).rejected
            for _ in batch:
                held.samples.popleft()
        del self._held[port]

    def _drop_unreported(self) -> None:
        """Drop what is held of ports that are not reported any more: Zabbix has not created their items, and will not."""
        over = self._monotonic() - _DROP_AFTER_S
        gone = [port for port in self._held if port not in self._last and self._seen[port] <= over]
        for port in gone:
            del self._held[port]
        if gone:
            _LOG.info(
                "%s: dropped the values held for %s: Zabbix never created its items, and it is not reported any more",
                *(self._name, named(gone)),
            )

    def _log_missing(self) -> None:
        now = self._monotonic()
        missing = {
            port: held
            for port, held in self._held.items()
            if port not in self.created and not held.is_logged and now - held.since >= _LOG_AFTER_S
        }
        for held in missing.values():
            held.is_logged = True
        if missing:
            _LOG.warning(
                "%s: Zabbix has not created the items of %s, %.0f minutes after their discovery. The newest %d samples "
                "of each are held, and one is tried every %.0f minutes. Does the filter of the discovery rule leave them out "
                "({$TCP.PORT.NOT_MATCHES} and its like)? Then name them in `ports.exclude` or `services.exclude`. Is the rule disabled? Does a proxy "
                "read its configuration less often (ConfigFrequency)?",
                *(self._name, named(missing), _LOG_AFTER_S / 60, _MAX_SAMPLES, _LATE_S / 60),
            )
