"""A sample as the spool keeps it, how much it keeps, and the queue of what the disk has not taken yet. Knows no disk."""

from __future__ import annotations

import json
import zlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sender.items import port_of
from sender.model import Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_FAST = 1  # zlib's level
_PLAIN = b"["  # how a body begins that was written before bodies were compressed
MAX_HELD = 16 * 2**20  # bytes: 40,000 samples without ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a spool keeps at most: s of age, bytes on the disk, and bytes in memory of what the disk does not take."""

    max_age_s: float
    max_bytes: int
    max_held: int = MAX_HELD


@dataclass(frozen=True, slots=True)
class Sample:
    """The number of its last value, its host and moment, and its values as compressed JSON: [[key, value], ...].

    With many ports, most of it is the same few words again and again: a tenth of the size is left.
    """

    last: int
    host: str
    clock: int
    ns: int
    body: bytes

    @classmethod
    def of(cls, items: Sequence[Item], *, last: int) -> Sample:
        """From items that share host and moment."""
        first = items[0]
        body = json.dumps([[item.key, item.value] for item in items], separators=(",", ":"))
        return cls(last, first.host, first.clock, first.ns, zlib.compress(body.encode(), _FAST))

    def items(self) -> Iterator[Item]:
        """What it was made of."""
        body = zlib.decompress(self.body) if self.body[:1] != _PLAIN else self.body
        for key, value in json.loads(body):
            yield Item(host=self.host, key=key, value=value, clock=self.clock, ns=self.ns, port=port_of(key))

    @property
    def crc(self) -> int:
        """A checksum over all of it."""
        return zlib.crc32(self.body, zlib.crc32(repr((self.last, self.host, self.clock, self.ns)).encode()))


class MemoryQueue:
    """A queue of samples of at most `max_bytes`; past that, the oldest fall out."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._samples: deque[Sample] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def add(self, sample: Sample) -> int:
        """Take the newest; the number of the last value that fell out for it, 0 if none did."""
        self._samples.append(sample)
        self._bytes += len(sample.body)
        fallen = 0
        while self._bytes > self._max_bytes:
            fallen = self._pop().last
        return fallen

    def forget(self, last: int) -> None:
        """Let go of all up to value number `last`."""
        while self._samples and self._samples[0].last <= last:
            self._pop()

    def renumber(self, shift: int) -> None:
        """Add `shift` to every number."""
        self._samples = deque(replace(sample, last=sample.last + shift) for sample in self._samples)

    def _pop(self) -> Sample:
        sample = self._samples.popleft()
        self._bytes -= len(sample.body)
        return sample
