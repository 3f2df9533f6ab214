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
_MAX_PAUSE_S = 60.0
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
        self._failing_since: float | None = None
        self._cause: str | None = None  # of the failure that was logged last
        self._refused: int | None = None  # values in a row of refusals; None until the first answer

    @property
    def waiting(self) -> int:
        """How many values the destination has not settled."""
        return self._spool.waiting(self.name)

    def wake(self) -> None:
        """Something new waits in the spool, or it is time to stop."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set (and `wake` called), then once more if the destination was taking values."""
        pause_s = 1.0
        while not stop.is_set():
            if self.drain():
                pause_s = 1.0
                self._wake.wait()
                self._wake.clear()
            else:
                wait_s = pause_s * (0.5 + self._jitter() / 2)
                _LOG.debug("delivery to %s: next attempt in %.1f s", self.name, wait_s)
                stop.wait(wait_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        if self._failing_since is None:
            self.drain()

    def drain(self) -> bool:
        """Deliver all that waits, oldest first; False as soon as the destination does not answer."""
        delivered = 0
        while (chunk := self._spool.read(self.name, max_values=_MAX_VALUES)) is not None:
            try:
                outcome = self._send(chunk.items)
            except DeliveryError as error:
                self._spool.settle(self.name, chunk, Outcome(kept=len(chunk.items)))
                self._log_failure(error)
                return False
            self._spool.settle(self.name, chunk, outcome)
            delivered += outcome.accepted
            _LOG.debug("%s accepted %d values and refused %d", self.name, outcome.accepted, outcome.rejected)
            self._log_refusals(chunk, outcome)
        self._log_recovery(delivered)
        return True

    def _log_failure(self, error: DeliveryError) -> None:
        if self._failing_since is None:
            self._failing_since = self._monotonic()
        if str(error) != self._cause:
            self._cause = str(error)
            _LOG.error("delivery to %s failed, %d values undelivered: %s", self.name, self.waiting, error)

    def _log_recovery(self, delivered: int) -> None:
        if self._failing_since is not None:
            down_s = self._monotonic() - self._failing_since
            self._failing_since = self._cause = None
            _LOG.info("delivery to %s works again after %.0f s; %d values delivered", self.name, down_s, delivered)

    def _log_refusals(self, chunk: Chunk, outcome: Outcome) -> None:
        host, count, refused_before = chunk.items[0].host, len(chunk.items), self._refused
        if outcome.rejected:
            self._refused = (refused_before or 0) + outcome.rejected
            if not refused_before:
                which = "all" if outcome.rejected == count else f"{outcome.rejected} of"
                _LOG.error(
                    "%s refused %s %d values of host %r; they are lost. %s", self.name, which, count, host, _ADVICE
                )
        else:
            self._refused = 0
            if refused_before:
                _LOG.info("%s accepts every value of host %r again; %d were refused", self.name, host, refused_before)
            elif refused_before is None:
                _LOG.info("%s accepts every value of host %r", self.name, host)
