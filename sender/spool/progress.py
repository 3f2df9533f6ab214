"""Each destination's progress, for whoever asks, from any thread: values queued, dropped and rejected. Owns the lock under which it changes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sender.spool.cursors import Cursors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Progress:
    """The progress of these destinations; `now` is the wall clock."""

    def __init__(self, destinations: Sequence[str], now: Callable[[], float]) -> None:
        self._lock, self._now = threading.RLock(), now
        self._cursors = Cursors(destinations)

    def known(self, destination: str) -> list[str]:
        """Return the ports whose items `destination` has, as recorded before the last start too."""
        with self._lock:
            return self._cursors.known(destination)

    def queued(self, destination: str) -> int:
        """Return how many values `destination` has not settled."""
        with self._lock:
            return self._cursors.queued(destination)

    def failing_s(self, destination: str) -> float | None:
        """Return for how long delivery to `destination` has failed, over restarts; None where it does not."""
        with self._lock:
            cursor = self._cursors.by_name.get(destination)
            return max(0.0, self._now() - cursor.failing_since) if cursor and cursor.failing_since else None

    @property
    def backlog(self) -> int:
        """Return how many values are queued for the destination that is furthest behind."""
        with self._lock:
            return max(map(self._cursors.queued, self._cursors.by_name))

    @property
    def dropped(self) -> int:
        """Return how many values a limit or damage dropped before a destination got them, over all destinations, removed ones too."""
        with self._lock:
            return self._cursors.dropped

    @property
    def rejected(self) -> int:
        """Return how many values were rejected, over all destinations, removed ones too."""
        with self._lock:
            return self._cursors.rejected
