"""Who has got how far: arithmetic with the numbers of values. Knows no disk, no clock and no log.

Values are numbered from 1 in the order in which they were taken, over the whole life of a spool; a sample's number is
that of its last value. So the number of the last value that a destination is done with is its cursor, and differences
of numbers are counts of values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.model import Chunk, Outcome


@dataclass(slots=True)
class Cursor:
    """How far one destination has got: its cursor, values dropped and rejected, and moments in s since 1970, 0 for none.

    `known` are the ports of which it has the items, separated by commas.
    """

    name: str
    settled: int = 0
    dropped: int = 0
    rejected: int = 0
    succeeded_at: int = 0
    failing_since: int = 0
    error: str = ""
    known: str = ""


class Cursors:
    """Of these destinations. `newest` is the number of the newest value, `trimmed` of the last that fell to a limit."""

    def __init__(self, names: Sequence[str]) -> None:
        self.newest = 0
        self.trimmed = 0
        self.progress = {name: Cursor(name) for name in names}
        self.in_flight: dict[str, Chunk] = {}  # read and not settled yet, by destination

    @property
    def settled(self) -> int:
        """The number of the last value that every destination is done with."""
        return min(progress.settled for progress in self.progress.values())

    def waiting(self, name: str) -> int:
        """Values that this destination is not done with; 0 for one that is not served."""
        progress = self.progress.get(name)
        return self.newest - max(progress.settled, self.trimmed) if progress else 0

    @property
    def dropped(self) -> int:
        """Values that a destination will never get, over all destinations."""
        return sum(progress.dropped + self._falling(progress) for progress in self.progress.values())

    def begin(self, name: str) -> int:
        """The number after which this destination's next chunk begins."""
        progress = self.progress[name]
        self.in_flight.pop(name, None)
        self._count_dropped(progress)
        return progress.settled

    def settle(self, name: str, chunk: Chunk, outcome: Outcome, *, error: str, now: int) -> bool:
        """Note what became of `chunk`; False where it is not the one that is on its way, so that it says nothing."""
        progress = self.progress.get(name)
        if progress is None or self.in_flight.get(name) is not chunk:
            return False
        del self.in_flight[name]
        progress.rejected += outcome.rejected
        progress.error = error
        if outcome.kept:
            progress.failing_since = progress.failing_since or now
        else:
            progress.settled = max(progress.settled, chunk.last)
            progress.failing_since = 0
            if outcome.accepted:
                progress.succeeded_at = now
        self._count_dropped(progress)
        return True

    def learn(self, name: str, known: Iterable[str], rejected: int) -> bool:
        """Note which ports this destination has the items of, and values that it refused of others, which wait nowhere.

        Whether that is news.
        """
        progress = self.progress.get(name)
        if not progress:
            return False
        before, progress.known = progress.known, ",".join(sorted(known))
        progress.rejected += rejected
        return rejected > 0 or progress.known != before

    def known(self, name: str) -> list[str]:
        """What was learned."""
        progress = self.progress.get(name)
        return progress.known.split(",") if progress and progress.known else []

    def serve(self, names: Sequence[str]) -> list[Cursor]:
        """From now on these. A new one gets all that still waits for any other. Those that are gone."""
        start, before = self.settled, self.progress
        self.progress = {name: before.get(name) or Cursor(name, settled=start) for name in names}
        self.in_flight = {name: chunk for name, chunk in self.in_flight.items() if name in self.progress}
        return [progress for name, progress in before.items() if name not in self.progress]

    def resume(self, last: int, found: Mapping[str, Cursor]) -> list[Cursor]:
        """Go on where a file ends: all that is known so far comes after its value number `last`. Those that are gone."""
        if last:  # the numbers change: nothing can be settled or trimmed by those of before
            self.in_flight.clear()
            for progress in self.progress.values():
                self._count_dropped(progress)
            self.trimmed = 0
        oldest = min((progress.settled for progress in found.values()), default=last)
        for name, progress in self.progress.items():
            before = found.get(name, Cursor(name, settled=oldest))
            progress.settled = before.settled if before.settled < last else last + progress.settled
            if not progress.succeeded_at:
                progress.succeeded_at, progress.failing_since = before.succeeded_at, before.failing_since
                progress.error = before.error
            progress.known = progress.known or before.known
        self.newest += last
        return [progress for name, progress in found.items() if name not in self.progress]

    def lose(self, after: int, last: int) -> None:
        """The values with the numbers from `after` (exclusive) to `last` are gone."""
        for progress in self.progress.values():
            progress.dropped += max(0, last - max(progress.settled, after))

    def noted(self) -> list[Cursor]:
        """What a file should know."""
        return [replace(each, dropped=each.dropped + self._falling(each)) for each in self.progress.values()]

    def _falling(self, progress: Cursor) -> int:
        """Values that fell to a limit, and are not on the wire just now: those may still arrive."""
        in_flight = self.in_flight.get(progress.name)
        return max(0, self.trimmed - max(progress.settled, in_flight.last if in_flight else 0))

    def _count_dropped(self, progress: Cursor) -> None:
        if progress.name not in self.in_flight:
            progress.dropped += self._falling(progress)
            progress.settled = max(progress.settled, self.trimmed)
