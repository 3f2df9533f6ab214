"""Keeps how long delivery to one destination fails and why, and logs when that begins, changes and ends. Sends nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sender.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.errors import SenderError

_LOG = logging.getLogger(__name__)
_LOG_AGAIN_S = 60.0
_REMIND_S = 86_400.0
_MAX_CAUSES = 10  # of one failure; more are mere chance, such as what an answer happens to hold


class Outage:
    """The present outage of delivery to `name`, if there is one; `failing_s` is how long it has lasted at the start.

    `queued` returns how many values are queued; it is called for a line of the log alone, as it may wait for the disk.
    One thread at a time may use an instance; `cause` may be read from any.
    """

    def __init__(
        self, name: str, failing_s: float | None, *, queued: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self.cause: str | None = None  # why delivery fails; None while it works
        self._name = name
        self._queued = queued
        self._monotonic = monotonic
        self._since = None if failing_s is None else monotonic() - failing_s  # on that clock; None while delivery works
        self._causes: list[str] = []  # those that were logged, at most _MAX_CAUSES,
        self._last_cause = ""  # the last one,
        self._log_at = 0.0  # and when one may be again
        self._delivered: int | None = None  # values since it ended, until the backlog is gone

    def fail(self, error: SenderError) -> None:
        """Take in a failed request. Log it when the outage begins, daily, and when the cause changes, but at a slow pace.

        Of two causes that alternate, one is logged every minute at most.
        """
        now, cause = self._monotonic(), str(error)
        if self._since is None:
            self._since = now
        is_new = cause not in self._causes and len(self._causes) < _MAX_CAUSES
        is_another = cause != self._last_cause
        if is_new or now >= self._log_at + (0 if is_another else _REMIND_S):
            if is_new:
                self._causes.append(cause)
            self._last_cause = cause
            self._log_at = now + _LOG_AGAIN_S
            lasts = now - self._since
            since = f" for {duration(lasts)}" if lasts >= 1 else ""
            _LOG.error("%s: delivery failed%s (%d values queued): %s", self._name, since, self._queued(), error)
        self.cause = cause

    def end(self) -> bool:
        """Take in that the destination has answered; return whether that ends an outage, and log it then."""
        if self._since is None:
            return False
        lasted = duration(self._monotonic() - self._since)
        self._since = self.cause = None
        self._causes.clear()
        self._delivered = 0
        _LOG.info("%s: delivery works again after %s (%d values queued)", self._name, lasted, self._queued())
        return True

    def count(self, delivered: int) -> None:
        """Count values that were delivered since the outage ended."""
        if self._delivered is not None:
            self._delivered += delivered

    def log_caught_up(self) -> None:
        """Log that the backlog of the outage is delivered, if it was not logged yet."""
        if self._delivered is not None:
            _LOG.info("%s: backlog delivered (%d values)", self._name, self._delivered)
            self._delivered = None
