"""Takes one sample from the kernel to the publisher. Logs when sampling fails, when it works again, and gaps.

Knows no scheduler: the daemon calls `tick` when a sample is due.
"""

from __future__ import annotations

import logging
import time
from itertools import zip_longest
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import KernelError
from sender.items import to_items
from sender.sampling.left_out import LeftOutLog
from sender.sampling.rare import RareValues

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import CountedPorts, Item, Snapshot, Vitals
    from sender.sampling.memory import Memory
    from sender.sampling.reporting import Reporting
    from sender.settings.schema import Settings

_LOG = logging.getLogger(__name__)


class Sampler:
    """The sampling of one host: `sample` asks the kernel, `vitals` the daemon, given its uptime in s; `publish` takes both.

    `reporting` says what is reported, by the clock `elapsed`.
    `tick` and `once` belong to one thread; `apply` may be called from another, `ended` and `trouble` be read from any.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sample: Callable[[CountedPorts], Snapshot],
        vitals: Callable[[int], Vitals],
        publish: Callable[[Sequence[Item]], None],
        reporting: Reporting,
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
        self._settings = settings
        self._reporting = reporting
        self._rare = RareValues()
        self._port_log, self._unit_log, self._namespace_log = LeftOutLog(), LeftOutLog(), LeftOutLog()
        self._host = ""  # of the last sample
        self._note = ""
        self._noted = tuple[object, ...]()  # what the note was made of, which is another when it has changed

    def apply(self, settings: Settings) -> None:
        """Take the next samples as these settings say."""
        self._reporting = self._reporting.with_settings(settings)
        self._settings = settings
        self._rare.reset()  # a destination may be new
        self._began = None

    def once(self) -> None:
        """Take and publish one sample. Raises KernelError."""
        settings, reporting = self._settings, self._reporting  # which a reload may change at any moment
        snapshot = self._sample(reporting.wanted)
        now = self._elapsed()
        vitals = self._vitals(int(now - self._started))
        if vitals.wants_discovery or settings.host != self._host:
            self._rare.reset()
            reporting.reset()
        self._host = settings.host
        tracked = reporting.track(snapshot, now=now, wants_discovery=vitals.wants_discovery)
        self._publish(self._rare.due(to_items(snapshot, vitals, host=settings.host, tracked=tracked), now))
        self._port_log.log_ports(reporting.ports.left_out, settings.ports, now)
        self._unit_log.log_units(reporting.units.left_out, settings.services, now)
        self._namespace_log.log_namespaces(reporting.namespaces.left_out, settings.namespaces, now)
        if settings.namespaces.report:
            self._namespace_log.log_trouble(snapshot.namespace_trouble)
            self._namespace_log.log_too_large(snapshot.too_large, settings.namespaces, now)

    def recall(self, memory: Memory) -> None:
        """Take in what is remembered of ports, units and namespaces, where it could not be read at the start."""
        self._reporting.recall(memory, self._elapsed())

    @property
    def note(self) -> str:
        """Return what is to be remembered over a restart."""
        memory = self._reporting.memory
        parts = (memory.ports, memory.units, memory.namespaces)
        if any(one is not other for one, other in zip_longest(parts, self._noted)):
            self._note, self._noted = str(memory), parts
        return self._note

    def tick(self) -> None:
        """Take and publish one sample, or log why there is none: a hole, never zeros."""
        now = self._elapsed()
        self._log_gap(now)
        self._began = now
        try:
            self.once()
        except KernelError as error:
            if not self._failures:
                _LOG.error("no sample, retrying at every interval: %s", error)
            self._failures += 1
            self.trouble = str(error)
        else:
            if self._failures:
                _LOG.info("sampling works again after %d missed samples", self._failures)
            self._failures, self.trouble = 0, None
            self._port_log.log_young(self._reporting.ports.left_out, self._settings.ports)
        finally:
            self._took_s = self._elapsed() - now
            self.ended = time.monotonic()

    def _log_gap(self, now: float) -> None:
        """Log what is missing between the last tick and this one, if anything is."""
        began = self._began  # which a reload may change at any moment
        if began is None:
            return
        interval_s = self._settings.interval
        missing = int((now - began) / interval_s + 0.05) - 1
        too_slow, before = missing > 0 and self._took_s > interval_s, self._too_slow
        self._too_slow = too_slow
        if too_slow and not before:
            _LOG.warning(
                "a sample took %.1f s, longer than the interval of %d s. While this lasts, samples that are due meanwhile are "
                "skipped. Choose a longer `interval`",
                *(self._took_s, interval_s),
            )
        elif before and not too_slow:
            _LOG.info("samples fit into the interval of %d s again", interval_s)
        elif missing > 0 and not too_slow:
            _LOG.warning(
                "%d samples are missing: this process did not run for %.0f s. It or the whole machine was suspended, stopped "
                "or too busy",
                *(missing, now - began),
            )
