"""One sample from the kernel to whoever publishes it. Logs when sampling starts to fail, when it works again, and gaps."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import KernelError
from sender.items import to_items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item, Snapshot, Vitals

_LOG = logging.getLogger(__name__)


class Sampling:
    """`sample` asks the kernel, `vitals` the daemon (given its uptime in s); `publish` takes the items of both."""

    def __init__(
        self,
        *,
        sample: Callable[[], Snapshot],
        vitals: Callable[[int], Vitals],
        publish: Callable[[Sequence[Item]], None],
        elapsed: Callable[[], float] = boottime,
    ) -> None:
        self._sample = sample
        self._vitals = vitals
        self._publish = publish
        self._elapsed = elapsed
        self._started = elapsed()
        self._failures = 0
        self._began: float | None = None  # the last tick
        self._too_slow = False
        self._took_s = 0.0  # by that tick
        self.ended = time.monotonic()  # when it did, by the clock of systemd's watchdog, which a suspend stops
        self.trouble: str | None = None  # why there is no sample; None while there are
        self.serve("", 0)

    def serve(self, host: str, interval_s: int) -> None:
        """From now on, samples are of this host, and ticks come at this interval."""
        self._host, self._interval_s = host, interval_s
        self._began = None

    def once(self) -> None:
        """Take and publish one sample. Raises KernelError."""
        snapshot = self._sample()
        uptime_s = int(self._elapsed() - self._started)
        self._publish(to_items(snapshot, self._vitals(uptime_s), host=self._host))

    def tick(self) -> None:
        """Take and publish one sample, or log why there is none: a hole, never zeros."""
        now = self._elapsed()
        self._look_back(now)
        self._began = now
        try:
            self.once()
        except KernelError as error:
            if not self._failures:
                _LOG.error("no sample: %s; asking again at every interval", error)
            self._failures += 1
            self.trouble = str(error)
        else:
            if self._failures:
                _LOG.info("sampling works again after %d missed samples", self._failures)
            self._failures, self.trouble = 0, None
        finally:
            self._took_s = self._elapsed() - now
            self.ended = time.monotonic()

    def _look_back(self, now: float) -> None:
        """Say what is missing between the last tick and this one, if anything is."""
        began = self._began  # which a reload may change at any moment
        if began is None:
            return
        missing = int((now - began) / self._interval_s + 0.05) - 1
        too_slow, before = missing > 0 and self._took_s > self._interval_s, self._too_slow
        self._too_slow = too_slow
        if too_slow and not before:
            _LOG.warning(
                "a sample took %.1f s, longer than the interval of %d s: those due meanwhile are skipped, for as long as "
                "this lasts; a longer `interval` would fit",
                *(self._took_s, self._interval_s),
            )
        elif before and not too_slow:
            _LOG.info("samples fit into the interval of %d s again", self._interval_s)
        elif missing > 0 and not too_slow:
            _LOG.warning(
                "%d samples are missing: for %.0f s this process did not run; it or the whole machine was suspended, "
                "stopped or too busy",
                *(missing, now - began),
            )
