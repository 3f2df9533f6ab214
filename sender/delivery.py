"""Delivery policy for one destination: read, send, settle, back off. Logs what changes. Knows no protocol, no storage."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from sender.errors import DeliveryError
from sender.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Chunk, Item
    from sender.spool import Spool

_LOG = logging.getLogger(__name__)
_MAX_VALUES = 1_000  # in one request; from 250 up the size hardly matters
_MIN_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_ADVICE = (
    "Zabbix does not say why; look there: a host of exactly this name (case matters), enabled; the template 'TCP states "
    "by Zabbix trapper' linked to it (a server takes up to a minute to know, a proxy up to its ConfigFrequency, an hour "
    "before 6.4); monitored by this very server or proxy; 'Connections from host' not without 'No encryption'; 'Allowed "
    "hosts' of the items"
)


class Delivery:
    """Brings what waits in `spool` for destination `name` there, by `send`, in order and at its own pace."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Item]], Outcome],
        spool: Spool,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._send = send
        self._spool = spool
        self._monotonic = monotonic
        self._jitter = jitter
        self._wake = threading.Event()
        self._pause_s = _MIN_PAUSE_S
        self._failing_since: float | None = None
        self._cause: str | None = None  # of the failure that was logged last
        self._refusing: str | None = None  # all, some or none of the last chunk; None before the first answer
        self._refused = 0  # values, since every value was accepted last

    @property
    def waiting(self) -> int:
        """How many values the destination has not settled."""
        return self._spool.waiting(self.name)

    def wake(self) -> None:
        """Something new waits in the spool, or it is time to stop."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set (and `wake` called), then once more if the destination was taking values."""
        while not stop.is_set():
            if self.drain():
                self._wake.wait()
                self._wake.clear()
            else:
                wait_s = self._pause_s * (0.5 + self._jitter() / 2)
                _LOG.debug("delivery to %s: next attempt in %.1f s", self.name, wait_s)
                stop.wait(wait_s)
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        if self._failing_since is None:
            self.drain()

    def drain(self) -> bool:
        """Deliver all that waits, oldest first; False as soon as the destination does not answer."""
        while (chunk := self._spool.read(self.name, max_values=_MAX_VALUES)) is not None:
            try:
                outcome = self._send(chunk.items)
            except DeliveryError as error:
                self._spool.settle(self.name, chunk, Outcome(kept=len(chunk.items)))
                self._log_failure(error)
                return False
            self._log_recovery()
            self._spool.settle(self.name, chunk, outcome)
            self._pause_s = _MIN_PAUSE_S
            _LOG.debug("%s accepted %d values and refused %d", self.name, outcome.accepted, outcome.rejected)
            self._log_refusals(chunk, outcome)
        return True

    def _log_failure(self, error: DeliveryError) -> None:
        if self._failing_since is None:
            self._failing_since = self._monotonic()
        if str(error) != self._cause:
            self._cause = str(error)
            _LOG.error("delivery to %s failed, %d values undelivered: %s", self.name, self.waiting, error)

    def _log_recovery(self) -> None:
        if self._failing_since is not None:
            down_s = self._monotonic() - self._failing_since
            self._failing_since = self._cause = None
            _LOG.info("delivery to %s works again after %.0f s; %d values to deliver", self.name, down_s, self.waiting)

    def _log_refusals(self, chunk: Chunk, outcome: Outcome) -> None:
        host, count, before = chunk.items[0].host, len(chunk.items), self._refusing
        self._refusing = "all" if outcome.rejected == count else "some" if outcome.rejected else "none"
        self._refused += outcome.rejected
        if self._refusing == before:
            return
        if outcome.rejected:
            which = "all" if self._refusing == "all" else f"{outcome.rejected} of"
            _LOG.error("%s refused %s %d values of host %r; they are lost. %s", self.name, which, count, host, _ADVICE)
        elif self._refused:
            _LOG.info("%s accepts every value of host %r again; %d were refused", self.name, host, self._refused)
            self._refused = 0
        else:
            _LOG.info("%s accepts every value of host %r", self.name, host)
