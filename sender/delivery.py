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
        self._refusing: bool | None = None  # None until the first answer

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
                stop.wait(pause_s * (0.5 + self._jitter() / 2))
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
            self._log_refusals(chunk, outcome)
        self._log_recovery(delivered)
        return True

    def _log_failure(self, error: DeliveryError) -> None:
        if self._failing_since is None:
            self._failing_since = self._monotonic()
            waiting = self._spool.waiting(self.name)
            _LOG.warning("delivery to %s failed: %s; %d values are not delivered yet", self.name, error, waiting)
        else:
            _LOG.debug("delivery to %s still fails: %s", self.name, error)

    def _log_recovery(self, delivered: int) -> None:
        if self._failing_since is not None:
            down_s = self._monotonic() - self._failing_since
            self._failing_since = None
            _LOG.info("delivery to %s works again after %.0f s; %d values delivered", self.name, down_s, delivered)

    def _log_refusals(self, chunk: Chunk, outcome: Outcome) -> None:
        host, before = chunk.items[0].host, self._refusing
        self._refusing = outcome.rejected > 0
        if self._refusing and not before:
            _LOG.warning(
                "%s accepted %d of %d values of host %r and refused %d, which are lost. Zabbix does not say why. Likely: "
                "no host of exactly this name (case matters), the template 'TCP states by Zabbix trapper' not linked to "
                "it or linked less than a minute ago, host or items disabled, the host monitored by another proxy, or "
                "encryption required of it",
                *(self.name, outcome.accepted, len(chunk.items), host, outcome.rejected),
            )
        elif not self._refusing and before is not False:
            _LOG.info("%s accepts every value of host %r", self.name, host)
