"""What can still be read in a damaged spool, and what that means for the cursors. Knows no SQL and no log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.spool.cursors import Cursor
from sender.spool.sample import MemoryQueue, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.spool.cursors import Cursors
    from sender.spool.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The samples that were read, with `values` values, of `queued` ones; None where nobody knows how many there were.

    `trimmed` is the number of the last value for which memory had no room, 0 for none.
    """

    samples: MemoryQueue
    values: int
    queued: int | None
    trimmed: int


def recover(file: Database | None, cursors: Cursors, newer: MemoryQueue, *, on_file: int, max_bytes: int) -> Recovered:
    """Return what can be read in `file`, None for one that cannot be opened, and count what cannot.

    `on_file` is the number of its newest value; 0 where the file does not say who has got how far: then everybody gets
    everything, and `newer` samples are renumbered to follow.
    """
    samples, gaps, trimmed = MemoryQueue(max_bytes), list[tuple[int, int]](), 0
    start = reached = cursors.settled if on_file else None
    for sample in _samples(file, start or 0, max_bytes) if file else ():
        begin = _begin(sample)
        start, reached = begin if start is None else start, begin if reached is None else reached
        gaps.append((reached, begin))
        trimmed = samples.add(sample) or trimmed
        reached = sample.last
    start, end = start or 0, max(reached or 0, on_file)
    gaps.append((reached or 0, end))
    if not on_file:
        cursors.resume(end, {name: Cursor(name, settled=start) for name in cursors.by_name})
        newer.renumber(end)
    values = end - max(start, trimmed)
    for after, last in gaps:
        values -= max(0, last - max(after, trimmed))
        cursors.drop(max(after, trimmed), last)
    return Recovered(samples=samples, values=values, queued=end - start if on_file else None, trimmed=trimmed)


def _samples(file: Database, after: int, max_bytes: int) -> Iterator[Sample]:
    """Return samples, oldest first: those before damage, and those behind it, from the end back.

    The latter are at most half of what memory holds: what the next samples push out would be counted twice.
    """
    for sample in file.readable(after):
        if _begin(sample) >= after:  # else a page stands in another's place, too, and what is in it comes twice
            yield sample
            after = sample.last
    behind, room, end = list[Sample](), max_bytes // 2, float("inf")
    for sample in file.readable(after, backwards=True):
        if not after <= _begin(sample) < sample.last <= end:
            continue
        room -= len(sample.body)
        if room < 0:
            break
        behind.append(sample)
        end = _begin(sample)
    yield from reversed(behind)


def _begin(sample: Sample) -> int:
    """Return the number after which a sample's values begin."""
    return sample.last - len(list(sample.items()))
