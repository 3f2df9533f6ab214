"""A sample as the spool keeps it, the limits of what it keeps, and a bounded queue of samples in memory. Knows no disk."""

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
_MAX_MEMORY = 16 * 2**20  # bytes: 40,000 samples without ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a spool keeps at most: s of age, bytes on the disk, and bytes in memory of what is not on the disk."""

    max_age_s: float
    max_bytes: int
    max_memory: int = _MAX_MEMORY


@dataclass(frozen=True, slots=True)
class Sample:
    """The number of its last value, its host and moment, and its values as compressed JSON: [[key, value], ...].

    A value of the sample before (sender/sampling/rare.py) has clock and ns of its own behind it. With many ports, most of it is the same few words again and again: a tenth of the size is left.
    """

    last: int
    host: str
    clock: int
    ns: int
    body: bytes

    @classmethod
    def of(cls, items: Sequence[Item], *, last: int) -> Sample:
        """Pack the items of one sample: one host, and the moment of the last item."""
        host, clock, ns = items[-1].host, items[-1].clock, items[-1].ns
        rows = [
            [item.key, item.value]
            if (item.clock, item.ns) == (clock, ns)
            else [item.key, item.value, item.clock, item.ns]
            for item in items
        ]
        return cls(last, host, clock, ns, zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), _FAST))

    def items(self) -> Iterator[Item]:
        """Yield the items that it was made of."""
        for key, value, *moment in json.loads(zlib.decompress(self.body)):
            clock, ns = moment or (self.clock, self.ns)
            yield Item(host=self.host, key=key, value=value, clock=clock, ns=ns, port=port_of(key))

    @property
    def crc(self) -> int:
        """Return a checksum over all of it."""
        return zlib.crc32(self.body, zlib.crc32(repr((self.last, self.host, self.clock, self.ns)).encode()))


class MemoryQueue:
    """A queue of samples of at most `max_bytes`; past that, the oldest are dropped."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._samples: deque[Sample] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def add(self, sample: Sample) -> int:
        """Add the newest sample. Return the number of the last value dropped for it, 0 for none."""
        self._samples.append(sample)
        self._bytes += len(sample.body)
        dropped = 0
        while self._bytes > self._max_bytes:
            dropped = self._pop().last
        return dropped

    def forget(self, last: int) -> None:
        """Remove the samples up to value number `last`."""
        while self._samples and self._samples[0].last <= last:
            self._pop()

    def renumber(self, shift: int) -> None:
        """Add `shift` to every number."""
        self._samples = deque(replace(sample, last=sample.last + shift) for sample in self._samples)

    def _pop(self) -> Sample:
        sample = self._samples.popleft()
        self._bytes -= len(sample.body)
        return sample
