"""One sample from the kernel to whoever publishes it. Logs when sampling starts to fail and when it works again."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

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
        host: str,
        *,
        sample: Callable[[], Snapshot],
        vitals: Callable[[int], Vitals],
        publish: Callable[[Sequence[Item]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._sample = sample
        self._vitals = vitals
        self._publish = publish
        self._monotonic = monotonic
        self._started = monotonic()
        self._failures = 0

    def once(self) -> None:
        """Take and publish one sample. Raises KernelError."""
        snapshot = self._sample()
        uptime_s = int(self._monotonic() - self._started)
        self._publish(to_items(snapshot, self._vitals(uptime_s), host=self._host))

    def tick(self) -> None:
        """Take and publish one sample, or log why there is none: a hole, never zeros."""
        try:
            self.once()
        except KernelError as error:
            if not self._failures:
                _LOG.error("no sample: %s; asking again at every interval", error)
            self._failures += 1
        else:
            if self._failures:
                _LOG.info("sampling works again after %d missed samples", self._failures)
            self._failures = 0
