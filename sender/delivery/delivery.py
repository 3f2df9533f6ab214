"""Delivery policy for one destination: read, send, settle, back off. Logs what changes. Knows no protocol, no storage."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from sender.delivery.new_ports import NewPorts
from sender.delivery.rejections import Rejections
from sender.errors import DeliveryError, SenderError
from sender.items import DISCOVERIES
from sender.model import Outcome
from sender.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Chunk, Item
    from sender.spool.spool import Spool

_LOG = logging.getLogger(__name__)
_MAX_VALUES = 1_000  # in one request; 2,000 are a sixth faster and make the process 1 MB larger, for good; 250 are slow
_MIN_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_LAST_S = 2.5  # for a last attempt at a stop
_SAY_AGAIN_S = 60.0
_REMIND_S = 86_400.0
_MANY = 10  # causes of one failure; more are mere chance, such as what an answer happens to hold


class Delivery:
    """Brings what waits in `spool` for destination `name` there, by `send`, in order and at its own pace."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Item]], Outcome],
        spool: Spool,
        *,
        stop: threading.Event | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._send = send
        self._spool = spool
        self.offset_s = 0.0  # how long after a sample it is sent
        self._monotonic = monotonic
        self._jitter = jitter
        self._stop = stop or threading.Event()
        self._has_last_attempt = True
        self._wake = threading.Event()
        self._pause_s = _MIN_PAUSE_S
        failing_s = spool.failing_s(name)
        # On that clock; None while the destination takes values.
        self._failing_since = None if failing_s is None else monotonic() - failing_s
        self.cause: str | None = None  # why the destination takes nothing; None while it does
        self._answered = False
        self._caught_up: int | None = None  # values delivered since it works again, until nothing waits
        self._causes: list[str] = []  # those of this failure that were logged, the last one last,
        self._say_at = 0.0  # and when one of them may be again
        self._refusals = Rejections(name, monotonic)
        self.new_ports = NewPorts(name, spool.known(name), monotonic)
        self.wants_discovery = False  # ports are to be named to it anew
        self._was_refused = False  # all that was sent last

    @property
    def waiting(self) -> int:
        """How many values the destination has not settled."""
        return self._spool.queued(self.name)

    @property
    def state(self) -> str:
        """How it is, in a few words."""
        if self.cause:
            return f"{self.waiting} values wait: {self.cause}"
        state = self._refusals.summary or ("takes all values" if self._answered else "nothing was sent yet")
        held = self.new_ports.ports
        return f"{state}, those of {len(held)} new ports later" if held else state

    @property
    def was_refused(self) -> bool:
        """Whether all that was sent last is refused: the host is not known, say."""
        return self._was_refused

    @property
    def wants_probe(self) -> bool:
        """Whether the next sample would show which keys are refused."""
        return self._refusals.wants_probe

    def wake(self) -> None:
        """Something new waits in the spool."""
        self._wake.set()

    def stop(self, *, last_attempt: bool = True) -> None:
        """Let `run` come to its end, without a last attempt where another delivery takes over."""
        self._has_last_attempt = last_attempt
        self._stop.set()
        self._wake.set()

    def follow(self, before: Delivery) -> None:
        """Go on where `before`, which has ended, was: with the failure that it had logged, or what it had to catch up with."""
        self._failing_since, self._caught_up = before._failing_since, before._caught_up

    def pause(self, seconds: float) -> None:
        """Do nothing for a while, but end with `stop`."""
        self._stop.wait(seconds)

    def run(self) -> None:
        """Deliver until `stop`, then once more, for a while."""
        while not self._stop.is_set():
            if self.drain():
                self._wake.wait(self.new_ports.due_s)
                self._wake.clear()
                self._stop.wait(self.offset_s)
            else:
                wait_s = self._pause_s * (0.5 + self._jitter() / 2)
                _LOG.debug("delivery to %s: next attempt in %.1f s", self.name, wait_s)
                self._stop.wait(wait_s)
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        until = self._monotonic() + (_LAST_S if self._has_last_attempt else 0)
        self._deliver(lambda: self._monotonic() < until)

    def drain(self) -> bool:
        """Deliver all that waits, oldest first; False as soon as the destination does not answer."""
        return self._deliver(lambda: not self._stop.is_set())

    def _deliver(self, may_go_on: Callable[[], bool]) -> bool:
        while may_go_on():
            try:
                if not self._step():
                    return True
            except SenderError as error:
                self._log_failure(error)
                return False
        return True

    def _step(self) -> bool:
        """Deliver some of what waits, then of what is held; False when there is nothing more to do. Raises SenderError."""
        curious = self._refusals.wants_probe
        chunk = self._spool.read(self.name, max_values=1 if curious else _MAX_VALUES)
        if chunk:
            self._deliver_chunk(chunk, curious=curious and not self._lacks_suspects(chunk))
        self._deliver_new_ports()  # in a backlog too, of which more would be held than there is room for
        if not chunk and not self.new_ports.has_more:
            self._say_caught_up()
            return False
        return True

    def _deliver_chunk(self, chunk: Chunk, *, curious: bool) -> None:
        ready = self.new_ports.ready(chunk.items)
        outcome = self._offer(chunk, ready, curious=curious)
        self._log_recovery()
        if not curious:
            self._refusals.note(ready, outcome)
        self.new_ports.hold(chunk.items)
        self._learn(ready, outcome)
        self._spool.learn(self.name, self.new_ports.known)
        self._spool.settle(self.name, chunk, outcome, self._refusals.summary)
        self._answered = True
        self._pause_s = _MIN_PAUSE_S
        _LOG.debug("%s accepted %d values and refused %d", self.name, outcome.accepted, outcome.rejected)
        if self._caught_up is not None:
            self._caught_up += outcome.accepted

    def _offer(self, chunk: Chunk, ready: Sequence[Item], *, curious: bool) -> Outcome:
        try:
            if curious:
                return self._refusals.probe(ready, self._send, self._stop.wait)
            return self._send(ready)
        except DeliveryError as error:
            self._spool.settle(self.name, chunk, Outcome(kept=len(chunk.items)), str(error))
            raise

    def _lacks_suspects(self, chunk: Chunk) -> bool:
        """Whether discovery is awaited that may be what was refused, and is not in these."""
        return self.wants_discovery and not any(item.key in DISCOVERIES for item in chunk.items)

    def _learn(self, sent: Sequence[Item], outcome: Outcome) -> None:
        """Which ports have to wait for their items, and whether discovery is to be sent for them."""
        if not outcome.accepted:  # the host is unknown: to send discovery again and again would not help
            self._was_refused = True
            self.new_ports.mark_unknown(set(self.new_ports.known))
            return
        gone, has_discovery = self._refusals.gone, any(item.key in DISCOVERIES for item in sent)
        if gone or has_discovery or self._was_refused:
            # While it is to be seen which keys are refused: discovery's own are only in samples that have it.
            self.wants_discovery = bool(gone) or (self._was_refused and not has_discovery) or self._refusals.wants_probe
            self.new_ports.expect()
        self._was_refused = False
        self.new_ports.mark_unknown(gone)

    def _deliver_new_ports(self) -> None:
        """What is held of new ports may be delivered by now, if it is due. Raises DeliveryError."""
        self.new_ports.has_more = False
        if self.new_ports.due_s == 0:
            before = self.new_ports.rejected
            try:
                self.new_ports.offer(self._send)
            finally:
                self._spool.learn(self.name, self.new_ports.known, rejected=self.new_ports.rejected - before)
            self._log_recovery()

    def _say_caught_up(self) -> None:
        if self._caught_up is not None:
            _LOG.info("%s has all that waited for it: %d values", self.name, self._caught_up)
            self._caught_up = None

    def _log_failure(self, error: SenderError) -> None:
        """When it begins, once a day, and when its cause changes; two that take turns, not more than once a minute."""
        now, cause = self._monotonic(), str(error)
        if self._failing_since is None:
            self._failing_since = now
        is_new = cause not in self._causes and len(self._causes) < _MANY
        is_another = bool(self._causes) and cause != self._causes[-1]
        if is_new or now >= self._say_at + (0 if is_another else _REMIND_S):
            self._causes.append(cause)
            self._say_at = now + _SAY_AGAIN_S
            lasts = f", for {duration(now - self._failing_since)} now" if now - self._failing_since >= 1 else ""
            _LOG.error("delivery to %s fails%s; %d values wait: %s", self.name, lasts, self.waiting, error)
        self.cause = cause

    def _log_recovery(self) -> None:
        if self._failing_since is not None:
            lasted = duration(self._monotonic() - self._failing_since)
            self._failing_since = self.cause = None
            self._causes.clear()
            self._caught_up = 0
            _LOG.info("delivery to %s works again after %s; %d values to deliver", self.name, lasted, self.waiting)
