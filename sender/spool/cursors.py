"""Who has got how far: arithmetic with the numbers of values. Knows no disk, no clock and no log.

Values are numbered from 1 in the order in which they were taken, over the whole life of a spool; a sample's number is
that of its last value. So the number of the last value that a destination has settled is its cursor, and differences
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
    """How far one destination has got: the last value it settled, values dropped and rejected, and what delivery met with.

    Moments are s since 1970, 0 for none. `known` are the ports whose items exist there, separated by commas.
    """

    name: str
    settled: int = 0
    dropped: int = 0
    rejected: int = 0
    succeeded_at: int = 0
    failing_since: int = 0
    error: str = ""
    known: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is queued for one destination: how many values, and the moment of the oldest, s since 1970, None for none."""

    cursor: Cursor
    values: int
    since: int | None


class Cursors:
    """Delivery progress of each destination.

    `newest` is the number of the latest value, `trimmed` that of the last value a limit removed.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.newest = 0
        self.trimmed = 0
        self.by_name = {name: Cursor(name) for name in names}
        # The sums of those that were removed: figures that fell would hide what comes next.
        self._removed = Cursor("")
        self.in_flight: dict[str, Chunk] = {}  # read and not settled yet, by destination
        # Numbers, from the first (exclusive) to the last, that a destination has settled ahead of what a file had for it:
        # they were delivered from memory while the file could not be opened.
        self._ahead: dict[str, tuple[int, int]] = {}

    @property
    def settled(self) -> int:
        """Return the number of the last value that every destination has settled."""
        return min(cursor.settled for cursor in self.by_name.values())

    @property
    def dropped(self) -> int:
        """Return how many values a destination will never get, over all destinations, removed ones too."""
        return self._removed.dropped + sum(
            cursor.dropped + self._dropped_by_limit(cursor) for cursor in self.by_name.values()
        )

    @property
    def rejected(self) -> int:
        """Return how many values were rejected, over all destinations, removed ones too."""
        return self._removed.rejected + sum(cursor.rejected for cursor in self.by_name.values())

    def queued(self, name: str) -> int:
        """Return how many values this destination has not settled; 0 for one that is not configured."""
        cursor = self.by_name.get(name)
        return self._lacking(name, max(cursor.settled, self.trimmed), self.newest) if cursor else 0

    def begin(self, name: str) -> int:
        """Return the number after which this destination's next chunk begins."""
        cursor = self.by_name[name]
        self.in_flight.pop(name, None)
        self._count_dropped(cursor)
        after, last = self._ahead.get(name, (0, 0))
        if after and cursor.settled >= after:
            del self._ahead[name]
            cursor.settled = max(cursor.settled, last)
        return cursor.settled

    def end(self, name: str) -> float:
        """Return the number up to which this destination's next chunk may go: what is behind it may be settled already."""
        return self._ahead[name][0] if name in self._ahead else float("inf")

    def settle(self, name: str, chunk: Chunk, outcome: Outcome, *, error: str, now: int) -> bool:
        """Record what became of `chunk`. Return False, and record nothing, where it is not the one in flight."""
        cursor = self.by_name.get(name)
        if cursor is None or self.in_flight.get(name) is not chunk:
            return False
        del self.in_flight[name]
        cursor.rejected += outcome.rejected
        cursor.error = error
        if outcome.kept:
            cursor.failing_since = cursor.failing_since or now
        elif outcome.postponed:
            cursor.failing_since = 0
        else:
            cursor.settled = max(cursor.settled, chunk.last)
            cursor.failing_since = 0
            if outcome.accepted:
                cursor.succeeded_at = now
        self._count_dropped(cursor)
        return True

    def learn(self, name: str, known: Iterable[str], rejected: int) -> bool:
        """Record the ports whose items this destination has, and values of other ports that it rejected.

        Return whether anything changed.
        """
        cursor = self.by_name.get(name)
        if not cursor:
            return False
        before, cursor.known = cursor.known, ",".join(sorted(known))
        cursor.rejected += rejected
        return rejected > 0 or cursor.known != before

    def known(self, name: str) -> list[str]:
        """Return the ports whose items this destination has."""
        cursor = self.by_name.get(name)
        return cursor.known.split(",") if cursor and cursor.known else []

    def serve(self, names: Sequence[str]) -> list[Cursor]:
        """Replace the set of destinations. A new one starts at the oldest value still queued for any other.

        Return the cursors removed.
        """
        start, before = max(self.settled, self.trimmed), self.by_name
        removed = [cursor for name, cursor in before.items() if name not in names]
        self._removed.dropped += sum(cursor.dropped + self._dropped_by_limit(cursor) for cursor in removed)
        self._removed.rejected += sum(cursor.rejected for cursor in removed)
        self.by_name = {name: before.get(name) or Cursor(name, settled=start) for name in names}
        self.in_flight = {name: chunk for name, chunk in self.in_flight.items() if name in self.by_name}
        self._ahead = {name: numbers for name, numbers in self._ahead.items() if name in self.by_name}
        return removed

    def resume(self, last: int, found: Mapping[str, Cursor]) -> list[Cursor]:
        """Renumber what is in memory to follow value `last` of a file just opened, and merge its cursors.

        Return those no longer configured.
        """
        if last:  # the numbers change: nothing can be settled or trimmed by those of before
            self.in_flight.clear()
            for cursor in self.by_name.values():
                self._count_dropped(cursor)
            self.trimmed = 0
        oldest = min((cursor.settled for cursor in found.values()), default=last)
        for name, cursor in self.by_name.items():
            before = found.get(name, Cursor(name, settled=oldest))
            if before.settled < last and cursor.settled:
                self._ahead[name] = last, last + cursor.settled
            cursor.settled = before.settled if before.settled < last else last + cursor.settled
            if not cursor.succeeded_at:
                cursor.succeeded_at = before.succeeded_at
                cursor.failing_since = before.failing_since or cursor.failing_since
                cursor.error = cursor.error or before.error
            cursor.known = cursor.known or before.known
        self.newest += last
        return [cursor for name, cursor in found.items() if name not in self.by_name]

    def drop(self, after: int, last: int) -> None:
        """Count the values with the numbers from `after` (exclusive) to `last` as dropped: they are gone."""
        for cursor in self.by_name.values():
            cursor.dropped += self._lacking(cursor.name, max(cursor.settled, after), last)

    def noted(self) -> list[Cursor]:
        """Return what a file should know."""
        return [replace(each, dropped=each.dropped + self._dropped_by_limit(each)) for each in self.by_name.values()]

    def _dropped_by_limit(self, cursor: Cursor) -> int:
        """Return the values removed by a limit before delivery, without the chunk in flight: it may still be accepted."""
        in_flight = self.in_flight.get(cursor.name)
        return self._lacking(cursor.name, max(cursor.settled, in_flight.last if in_flight else 0), self.trimmed)

    def _lacking(self, name: str, after: int, last: int) -> int:
        """Return how many of the values with the numbers from `after` (exclusive) to `last` a destination has not settled."""
        begin, end = self._ahead.get(name, (0, 0))
        return max(0, last - after) - max(0, min(last, end) - max(after, begin))

    def _count_dropped(self, cursor: Cursor) -> None:
        if cursor.name not in self.in_flight:
            cursor.dropped += self._dropped_by_limit(cursor)
            cursor.settled = max(cursor.settled, self.trimmed)
