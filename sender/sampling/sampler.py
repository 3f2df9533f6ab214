"""Takes one sample from the kernel to the publisher. Logs when sampling fails, when it works again, and gaps.

Knows no scheduler: the daemon calls `tick` when a sample is due.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import KernelError
from sender.items import to_items
from sender.sampling.guard import DAY_S
from sender.sampling.rare import RareValues
from sender.settings.values import MOST_PORTS
from sender.text import duration, some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import CountedPorts, Item, Snapshot, Vitals
    from sender.sampling.port_memory import PortMemory
    from sender.sampling.ports import PortTracker
    from sender.settings.schema import PortSettings, Settings

_LOG = logging.getLogger(__name__)
_LOG_AGAIN_S = 3600.0


def how_to_report_more(ports: PortSettings) -> str:
    """Return what to do where `ports.limit` leaves ports out."""
    if ports.limit < MOST_PORTS:
        return "Raise ports.limit, or name some in ports.exclude"
    return "More cannot be reported: name in ports.exclude those that matter least, or those that matter in ports.local"


class Sampler:
    """The sampling of one host: `sample` asks the kernel, `vitals` the daemon, given its uptime in s; `publish` takes both.

    `ports` are those to be reported, by the clock `elapsed`.
    `tick` and `once` belong to one thread; `apply` may be called from another, `ended` and `trouble` be read from any.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sample: Callable[[CountedPorts], Snapshot],
        vitals: Callable[[int], Vitals],
        publish: Callable[[Sequence[Item]], None],
        ports: PortTracker,
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
        self._left_out: Sequence[int] = ()  # the ports that were logged last,
        self._log_left_out_at = 0.0  # and when others may be
        self._log_budget_at = 0.0  # when it may be logged again that the budget of new ports is used up
        self._is_young_logged = False
        self._settings = settings
        self._ports = ports
        self._rare = RareValues()
        self._host = ""  # of the last sample

    def apply(self, settings: Settings) -> None:
        """Take the next samples as these settings say."""
        self._ports = self._ports.with_settings(settings.ports)
        self._settings = settings
        self._rare.reset()  # a destination may be new
        self._began = None

    def once(self) -> None:
        """Take and publish one sample. Raises KernelError."""
        host, ports, rare = self._settings.host, self._ports, self._rare  # which a reload may change at any moment
        snapshot = self._sample(replace(ports.wanted, counters=self._settings.counters))
        now = self._elapsed()
        vitals = self._vitals(int(now - self._started))
        tracked = ports.track(snapshot, now=now, wants_discovery=vitals.wants_discovery)
        if vitals.wants_discovery or host != self._host:
            rare.reset()
        self._host = host
        self._publish(rare.due(to_items(snapshot, vitals, host=host, tracked=tracked), now))
        self._log_left_out(ports.left_out.over_limit, now)
        self._log_budget(ports.left_out.over_budget, now)

    def recall_ports(self, memory: PortMemory) -> None:
        """Take in what is remembered of ports, where it could not be read at the start."""
        self._ports.recall(memory, self._elapsed())

    @property
    def port_note(self) -> str:
        """Return what is to be remembered of ports over a restart."""
        return self._ports.note

    def _log_budget(self, ports: Sequence[int], now: float) -> None:
        """Log once a day that the budget of new ports is used up."""
        if ports and now >= self._log_budget_at:
            self._log_budget_at = now + DAY_S
            _LOG.warning(
                "ports.new_per_day of %d reached: %d new listening ports are not reported for now: %s. Does something listen on "
                "ever another port? Name its range in ports.exclude. Are these services that stay? Name them in ports.local, or "
                "raise ports.new_per_day (repeated daily)",
                *(self._settings.ports.new_per_day, len(ports), some_of(ports)),
            )

    def _log_young(self, ports: Sequence[int]) -> None:
        """Log once that some ports are too new."""
        if ports and not self._is_young_logged:
            self._is_young_logged = True
            _LOG.info(
                "ports of the kernel's ephemeral range are reported after %s of listening (ports.ephemeral_after); now %s. Name "
                "a service of yours in ports.local",
                *(duration(self._settings.ports.ephemeral_after), some_of(ports)),
            )

    def _log_left_out(self, ports: Sequence[int], now: float) -> None:
        if ports != self._left_out and (now >= self._log_left_out_at or not ports):
            self._left_out, self._log_left_out_at = ports, now + _LOG_AGAIN_S
            if ports:
                _LOG.warning(
                    "ports.limit of %d reached: %d listening ports are not reported: %s. %s",
                    *(self._settings.ports.limit, len(ports), some_of(ports), how_to_report_more(self._settings.ports)),
                )
            else:
                _LOG.info("no listening port is over ports.limit any more")

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
            self._log_young(self._ports.left_out.young)
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
