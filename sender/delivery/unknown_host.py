"""Paces what is offered to a destination that rejects every value of a host, and says which samples stay queued.

Zabbix rejects everything for up to a minute after a host was created or enabled, a proxy for longer. So the samples stay
queued, and one is offered again, at first after seconds. Knows no spool and no protocol.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from sender.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.model import Chunk

_LOG = logging.getLogger(__name__)
_SOON_S, _LATE_S = 5.0, 120.0  # between two offers: from the second on, and in the end
_GROWTH = 1.5
_LOG_AGAIN_S = 600.0


class UnknownHost:
    """How long destination `name` has rejected every value of a host. `host` is the present one, `keep_s` for how long to wait.

    One thread at a time may use an instance; `host` and `keep_s` may be set, `retry_now` called and `is_waiting` read by any.
    """

    def __init__(
        self,
        name: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.host = ""
        self.keep_s = 3600.0
        self._name = name
        self._monotonic, self._jitter, self._now = monotonic, jitter, now
        self._since: float | None = None
        self._try_at = 0.0
        self._pause_s = 0.0  # the first time at once: a destination may change its mind with each request
        self._is_logged = False
        self._log_at: float | None = None  # when it may be logged again that samples stay queued

    @property
    def is_waiting(self) -> bool:
        """Return whether samples stay queued because every value of theirs is rejected."""
        return self._since is not None

    @property
    def due_s(self) -> float:
        """Return how long it is until the next offer is due; 0 where it is, and where nothing is waited for."""
        return max(0.0, self._try_at - self._monotonic()) if self.is_waiting else 0.0

    def postpones(self, chunk: Chunk) -> bool:
        """Return whether a rejected chunk stays queued at first: not one of a host name that is not used any more."""
        if not self.keep_s or chunk.items[0].host != (self.host or chunk.items[0].host):
            self.end()
            return False
        if self._since is None:
            self._since = self._monotonic()
            self._log_queued(chunk.items[0].host, self._since)
        return True

    def _log_queued(self, host: str, now: float) -> None:
        """Log that samples stay queued: seldom, where the destination changes its mind again and again."""
        if self._log_at is None or now >= self._log_at:
            self._log_at = now + _LOG_AGAIN_S
            _LOG.info(
                "%s: the samples of host %r stay queued for %s (spool.keep_rejected); one of them is offered again and again",
                *(self._name, host, duration(self.keep_s)),
            )

    def gives_up(self, chunk: Chunk) -> bool:
        """Return whether all of a chunk is too old to stay queued, and log it once.

        Nothing is before the destination has rejected every value for `keep_s`: a backlog may be older when that begins.
        """
        since, age_s = self._since, self._now() - chunk.items[-1].clock
        if since is None or self._monotonic() - since < self.keep_s or age_s <= self.keep_s:
            return False
        if not self._is_logged:
            self._is_logged = True
            _LOG.error(
                "%s: Zabbix has rejected all values of host %r for %s (spool.keep_rejected): samples older than that are "
                "rejected for good from now on, and counted in tcp.sender.rejected",
                *(self._name, chunk.items[0].host, duration(self.keep_s)),
            )
        return True

    def wait(self) -> None:
        """Let some time pass before the next offer, each time more."""
        self._try_at = self._monotonic() + self._pause_s * (0.5 + self._jitter() / 2)
        self._pause_s = min(max(_GROWTH * self._pause_s, _SOON_S), _LATE_S)

    def retry_now(self) -> None:
        """Make the next offer at once: something may have changed."""
        self._try_at, self._pause_s = 0.0, 0.0

    def end(self) -> None:
        """Take in that the destination accepts values of the host, or that the host is another."""
        self._since, self._is_logged = None, False
        self.retry_now()
