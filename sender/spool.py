"""Samples on their way to each destination, in memory. Knows nothing of Zabbix, of time or of retry policy.

One append per sample, a cursor per destination; a sample is gone when every destination has settled it. Past
MAX_SAMPLES the oldest fall out, and are counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from sender.model import Chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.model import Item, Outcome

_LOG = logging.getLogger(__name__)
MAX_SAMPLES = 2_880  # a day at one sample every 30 s, 7 MB


class Spool:
    """Safe for one appending thread and one thread per destination."""

    def __init__(self, destinations: Sequence[str], *, max_samples: int = MAX_SAMPLES) -> None:
        self._lock = threading.Lock()
        self._samples: deque[Sequence[Item]] = deque()
        self._first = 0  # the number of the oldest sample held; samples are numbered from 0
        self._next = dict.fromkeys(destinations, 0)  # the number of the sample that each destination gets next
        self._max_samples = max_samples
        self._full = False
        self._dropped = 0
        self._rejected = 0

    def append(self, items: Sequence[Item]) -> None:
        """Take one sample for every destination; if there is no room, the oldest falls out for it, and is counted."""
        with self._lock:
            self._samples.append(items)
            full = len(self._samples) > self._max_samples
            if full:
                self._dropped += len(self._samples[0])  # still held, so not settled by every destination
                self._forget(self._first + 1)
            if full and not self._full:
                _LOG.warning(
                    "%d samples wait, as many as are held: each new one now costs the oldest", self._max_samples
                )
            self._full = full

    def read(self, destination: str, *, max_values: int) -> Chunk | None:
        """The oldest samples that `destination` has not settled, at least one, of one host; None if there is none."""
        with self._lock:
            start = self._next[destination]
            waiting = islice(self._samples, start - self._first, None)
            first = next(waiting, None)
            if first is None:
                return None
            samples, values = [first], len(first)
            for sample in takewhile(lambda sample: sample[0].host == first[0].host, waiting):
                values += len(sample)
                if values > max_values:
                    break
                samples.append(sample)
            return Chunk(items=tuple(item for sample in samples for item in sample), last=start + len(samples) - 1)

    def settle(self, destination: str, chunk: Chunk, outcome: Outcome) -> None:
        """What was accepted or rejected is done with; if anything is to be kept, the whole chunk is read again."""
        with self._lock:
            self._rejected += outcome.rejected
            if not outcome.kept:
                self._next[destination] = max(self._next[destination], chunk.last + 1)
                self._forget(min(self._next.values()))

    def _forget(self, before: int) -> None:
        while self._first < before:
            self._samples.popleft()
            self._first += 1
        for destination, number in self._next.items():
            self._next[destination] = max(number, self._first)

    def waiting(self, destination: str) -> int:
        """How many values `destination` has not settled."""
        with self._lock:
            return sum(map(len, islice(self._samples, self._next[destination] - self._first, None)))

    @property
    def backlog(self) -> int:
        """Values waiting at the worst destination, that is, all that are still held."""
        with self._lock:
            return sum(map(len, self._samples))

    @property
    def dropped(self) -> int:
        """Values that fell out before every destination had settled them."""
        return self._dropped

    @property
    def rejected(self) -> int:
        """Values that a destination refused."""
        return self._rejected
