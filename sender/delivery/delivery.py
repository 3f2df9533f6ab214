"""Delivery policy for one destination: read, send, acknowledge, back off. Knows no protocol and no storage.

Each chunk goes through its parts in this order, which matters:
1. `NewPorts.ready` picks the values that can be sent now. They are sent, or probed where it is to be seen which are rejected.
2. `Rejections.record` takes in what became of whole samples (a probe has recorded it already).
3. `NewPorts.hold` keeps what `ready` left out: not before the request is answered, since a request that fails is made again.
4. `NewPorts.mark_unknown` and `retry_now`, by the verdict: after `hold`, or values that were just sent would be held too.
5. `Spool.learn` and then `Spool.settle`: what memory alone would know must not be lost when the chunk is gone.

Threads: `run`, `drain` and all the parts above belong to the thread of the delivery. `wake`, `use`, `retire` and `stop` may
be called from any thread. So may `state`, `cause`, `queued`, `verdict`, `wants_discovery` and `new_ports.ports`, which are
read in one step each. The spool has a lock of its own.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from sender.delivery.new_ports import NewPorts
from sender.delivery.outage import Outage
from sender.delivery.probe import Verdict
from sender.delivery.rejections import Rejections
from sender.delivery.unknown_host import UnknownHost
from sender.errors import DeliveryError, SenderError
from sender.items import DISCOVERIES
from sender.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Chunk, Item
    from sender.spool.spool import Spool

    Send = Callable[[Sequence[Item]], Outcome]

_LOG = logging.getLogger(__name__)
_MAX_VALUES = 1_000  # in one request; 2,000 are a sixth faster and make the process 1 MB larger, for good; 250 are slow
_MIN_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_LAST_S = 2.5  # for a last attempt at a stop


class _RetiredError(DeliveryError):
    """The destination was removed: nothing more is sent to it."""


class Delivery:
    """Delivers what is queued in `spool` for destination `name` with `send`, in order and at its own pace.

    `on_unknown` is called when the destination may not know the host: it rejected every value, or it works again.
    `interrupt` ends every pause.
    """

    def __init__(
        self,
        name: str,
        send: Send,
        spool: Spool,
        *,
        interrupt: threading.Event | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.offset_s = 0.0  # how long after a sample it is sent
        self.unknown_host = UnknownHost(name, monotonic=monotonic, jitter=jitter)
        self.on_unknown: Callable[[], object] = _nothing
        self._send = send
        self._spool = spool
        self._monotonic = monotonic
        self._jitter = jitter
        self._interrupt = interrupt or threading.Event()
        self._wake = threading.Event()
        self._is_stopping = self._is_retired = False
        self._pause_s = _MIN_PAUSE_S
        self._outage = Outage(name, spool.failing_s(name), queued=lambda: spool.queued(name), monotonic=monotonic)
        self._rejections = Rejections(name, monotonic)
        self.new_ports = NewPorts(name, spool.known(name), monotonic)
        self.wants_discovery = False  # the destination needs discovery anew

    @property
    def queued(self) -> int:
        """Return how many values are queued for the destination."""
        return self._spool.queued(self.name)

    @property
    def cause(self) -> str | None:
        """Return why delivery fails; None while it works."""
        return self._outage.cause

    @property
    def state(self) -> str:
        """Return how delivery goes, in a few words."""
        if self.cause:
            return f"delivery fails, {self.queued} values queued: {self.cause}"
        parts = [self._rejections.state]
        if self.unknown_host.is_waiting:
            parts.append(f"{self.queued} values queued, one sample is offered again and again")
        if held := len(self.new_ports.ports):
            parts.append(f"values of {held} new ports or units held")
        return "; ".join(parts)

    @property
    def verdict(self) -> Verdict:
        """Return what the destination made of the values that it was sent last."""
        return self._rejections.verdict

    @property
    def wants_probe(self) -> bool:
        """Return whether the next sample would show which keys are rejected."""
        return self._rejections.wants_probe

    def wake(self) -> None:
        """Tell it that something new is queued."""
        self._wake.set()

    def use(self, send: Send) -> None:
        """Send with `send` from the next request on, now if there is a pause; undo `retire`. A request in flight goes on."""
        self._send = send
        self._is_retired = False
        self.unknown_host.retry_now()
        self._interrupt.set()
        self._wake.set()

    def retire(self) -> None:
        """Let `run` end after the request in flight, as the destination was removed. `use` undoes it."""
        self._is_retired = True
        self._interrupt.set()
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end after a last attempt."""
        self._is_stopping = True
        self._interrupt.set()
        self._wake.set()

    @property
    def is_ending(self) -> bool:
        """Return whether `run` ends, or has ended."""
        return self._is_stopping or self._is_retired

    def pause(self, seconds: float) -> bool:
        """Do nothing for a while; return whether `use`, `retire` or `stop` cut it short."""
        return self._interrupt.wait(seconds)

    def run(self) -> None:
        """Deliver until `stop`, then once more, for a while; or until `retire`."""
        while True:
            self._interrupt.clear()  # before the look at what it may mean: what comes after that look sets it again
            if self.is_ending:
                break
            if self.drain():
                self._wake.wait(self.unknown_host.due_s if self.unknown_host.is_waiting else self.new_ports.due_s)
                self._wake.clear()
                self.pause(self.offset_s)
            else:
                self._back_off()
        until = self._monotonic() + _LAST_S
        self._deliver(lambda: not self._is_retired and self._monotonic() < until)

    def drain(self) -> bool:
        """Deliver all that is queued, oldest first; return False as soon as the destination does not answer."""
        return self._deliver(lambda: not self.is_ending)

    def _back_off(self) -> None:
        wait_s = self._pause_s * (0.5 + self._jitter() / 2)
        _LOG.debug("%s: next delivery attempt in %.1f s", self.name, wait_s)
        self._pause_s = _MIN_PAUSE_S if self.pause(wait_s) else min(2 * self._pause_s, _MAX_PAUSE_S)

    def _deliver(self, may_go_on: Callable[[], bool]) -> bool:
        while may_go_on():
            try:
                if not self._deliver_some():
                    return True
            except _RetiredError:
                return True
            except SenderError as error:
                if not self._is_retired:
                    self._outage.fail(error)
                return False
        return True

    def _deliver_some(self) -> bool:
        """Deliver a chunk of the queue, then held values; return False when there is nothing more. Raises SenderError."""
        if self.unknown_host.due_s:
            return False
        is_probe = self._rejections.wants_probe
        is_one = is_probe or self.unknown_host.is_waiting
        chunk = self._spool.read(self.name, max_values=1 if is_one else _MAX_VALUES)
        if chunk:
            self._deliver_chunk(chunk, is_probe=is_probe and not self._lacks_suspects(chunk))
        else:
            self.unknown_host.end()
        self._deliver_new_ports()  # in a backlog too, of which more would be held than there is room for
        if not chunk and not self.new_ports.has_more:
            self._outage.log_caught_up()
            return False
        return True

    def _deliver_chunk(self, chunk: Chunk, *, is_probe: bool) -> None:
        ready, before = self.new_ports.ready(chunk.items), self.verdict
        outcome = self._offer(chunk, ready, is_probe=is_probe)
        self._end_outage()
        if not is_probe:
            self._rejections.record(ready, outcome)
        if self.verdict is Verdict.ALL:
            self._learn_host_is_unknown()
            if self.unknown_host.postpones(chunk):
                self._postpone(chunk)
                return
        else:
            self.unknown_host.end()
        self.new_ports.hold(chunk.items)
        if self.verdict is Verdict.ALL:
            self._rejections.count(outcome.rejected)
        else:
            self._learn_ports(ready, was_unknown=before is Verdict.ALL)
        self._spool.learn(self.name, self.new_ports.created)
        self._spool.settle(self.name, chunk, outcome, self._rejections.summary)
        self._pause_s = _MIN_PAUSE_S
        _LOG.debug("%s: accepted %d values, rejected %d", self.name, outcome.accepted, outcome.rejected)
        self._outage.count(outcome.accepted)

    def _offer(self, chunk: Chunk, ready: Sequence[Item], *, is_probe: bool) -> Outcome:
        try:
            if is_probe:
                return self._rejections.probe(ready, self._request, self.pause)
            return self._request(ready)
        except _RetiredError:
            raise
        except DeliveryError as error:
            self._spool.settle(self.name, chunk, Outcome(kept=len(chunk.items)), str(error))
            raise

    def _postpone(self, chunk: Chunk) -> None:
        """Leave the chunk queued. After an hour of that, reject for good what has become too old."""
        self._spool.learn(self.name, self.new_ports.created)
        queued: Chunk | None = chunk
        while queued and not self.is_ending and self.unknown_host.gives_up(queued):
            self._rejections.count(len(queued.items))
            self._spool.settle(self.name, queued, Outcome(rejected=len(queued.items)), self._rejections.summary)
            queued = self._spool.read(self.name, max_values=1)
        if queued:
            self._spool.settle(self.name, queued, Outcome(postponed=len(queued.items)), self._rejections.summary)
        self.unknown_host.wait()

    def _end_outage(self) -> None:
        if self._outage.end():
            self.on_unknown()

    def _request(self, items: Sequence[Item]) -> Outcome:
        """Send `items` with what `use` has set last. Raises DeliveryError."""
        if self._is_retired:
            raise _RetiredError("removed from the configuration")
        return self._send(items)

    def _lacks_suspects(self, chunk: Chunk) -> bool:
        """Return True while discovery may be what is rejected and `chunk` has none: a probe would not find it."""
        return self.wants_discovery and not _has_discovery(chunk.items)

    def _learn_host_is_unknown(self) -> None:
        """Doubt every port, and ask for no discovery: to send it again and again would not help."""
        self.new_ports.mark_unknown(set(self.new_ports.created))
        self.wants_discovery = False
        self.on_unknown()

    def _learn_ports(self, sent: Sequence[Item], *, was_unknown: bool) -> None:
        """Learn which ports lack their items, and whether discovery is to be sent for them."""
        lacking, has_discovery = self._rejections.ports, _has_discovery(sent)
        if lacking or has_discovery or was_unknown:
            # While it is to be seen which keys are rejected: discovery's own are only in samples that have it.
            self.wants_discovery = bool(lacking) or (was_unknown and not has_discovery) or self._rejections.wants_probe
            self.new_ports.retry_now()
        self.new_ports.mark_unknown(lacking)

    def _deliver_new_ports(self) -> None:
        """Retry the held values of new ports whose retry time has come. Raises DeliveryError."""
        self.new_ports.has_more = False
        if self.new_ports.due_s == 0:
            before = self.new_ports.rejected
            try:
                self.new_ports.offer(self._request)
            finally:
                self._spool.learn(self.name, self.new_ports.created, rejected=self.new_ports.rejected - before)
            self._end_outage()


def _nothing() -> None:
    """Do nothing."""


def _has_discovery(items: Sequence[Item]) -> bool:
    return any(item.key in DISCOVERIES for item in items)
