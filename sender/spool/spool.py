"""Samples on their way to each destination: on the disk, and in memory while the disk does not take them.

One durable append per sample, a cursor per destination; a sample is gone when every destination has settled it, or when
it falls to a limit, which is counted and logged. Knows nothing of Zabbix or of retry policy. The numbers stand in
spool_ledger, SQL in spool_file.
"""

from __future__ import annotations

import os
import threading
import time
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import DamagedError, FullError, SpoolError, TakenError
from sender.model import Chunk
from sender.spool import messages
from sender.spool.cursors import Cursor, Cursors
from sender.spool.database import MEMORY, Database
from sender.spool.place import remove, rename_damaged
from sender.spool.sample import MemoryQueue, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome
    from sender.spool.sample import Limits

_SAY_AGAIN_S = 3600.0
_AT_ONCE = 64  # held samples in one write: on a full disk all at once would cost more and more


class Spool:
    """Safe for one appending thread and one thread per destination. Raises TakenError for a file that is not ours.

    A `path` of ":memory:" is a spool that ends with the process. Ages are measured by `elapsed`, from where the wall clock
    `now` says that it began, or has said since, whichever is earliest: a wall clock that jumps must not throw anything away.
    """

    def __init__(
        self,
        path: str,
        destinations: Sequence[str],
        limits: Limits,
        *,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = boottime,
    ) -> None:
        self.path = path if path == MEMORY else os.path.realpath(path)  # its lock and its journal stand beside it
        self._lock = threading.RLock()
        self._limits = limits
        self._now, self._elapsed = now, elapsed
        self._began = now() - elapsed()
        self._cursors = Cursors(destinations)
        self._file: Database | None = None
        self._on_file = 0  # the number of the newest value that the file has taken
        self._held = MemoryQueue(limits.max_held)  # newer samples, which it has not
        self.trouble = ""  # why the disk takes no samples; empty while it does
        self._say_dropped_at = elapsed()
        try:
            self._open()
        except TakenError:
            raise
        except SpoolError as error:
            self._complain(error)

    def append(self, items: Sequence[Item]) -> None:
        """Take one sample, whose items share host and moment, for every destination. It is on the disk, or it is said."""
        with self._lock:
            self._cursors.newest += len(items)
            self._hold([Sample.of(items, last=self._cursors.newest)])
            self._save()

    def read(self, destination: str, *, max_values: int) -> Chunk | None:
        """The oldest samples that `destination` has not settled, at least one, of one host; None if there is none.

        Raises SpoolError where the disk cannot be read.
        """
        with self._lock:
            if destination not in self._cursors.progress:
                return None
            samples = self._after(self._cursors.begin(destination), max_values)
            if not samples:
                return None
            samples = list(takewhile(lambda sample: sample.host == samples[0].host, samples))
            chunk = Chunk(items=tuple(item for sample in samples for item in sample.items()), last=samples[-1].last)
            self._cursors.in_flight[destination] = chunk
            return chunk

    def _after(self, number: int, max_values: int) -> list[Sample]:
        if self._file and number < self._on_file:
            try:
                return self._file.read(number, max_values=max_values)
            except DamagedError as error:
                self._begin_anew(error)
                self._save()
                return self._after(number, max_values)
        held = [sample for sample in self._held if sample.last > number]
        return list(takewhile(lambda sample: sample is held[0] or sample.last <= number + max_values, held))

    def settle(self, destination: str, chunk: Chunk, outcome: Outcome, error: str = "") -> None:
        """What was accepted or rejected is done with; if anything is to be kept, because of `error`, all is read again.

        A chunk that is not the last one read says nothing: its destination was given up, or its numbers have changed.
        """
        with self._lock:
            if self._cursors.settle(destination, chunk, outcome, error=error, now=int(self._now())):
                self._save()

    def serve(self, destinations: Sequence[str], limits: Limits) -> None:
        """From now on, these destinations and limits hold. A new destination gets all that still waits for any other."""
        with self._lock:
            self._limits = limits
            messages.gone(self._cursors.serve(destinations), self._cursors.newest)
            self._save()

    def learn(self, destination: str, known: Iterable[str], *, rejected: int = 0) -> None:
        """Remember, for the next start too, the ports `destination` has the items of, and values refused of others'."""
        with self._lock:
            if self._cursors.learn(destination, known, rejected):
                self._save()

    def known(self, destination: str) -> list[str]:
        """What was learned of `destination`, before the last start too."""
        with self._lock:
            return self._cursors.known(destination)

    def waiting(self, destination: str) -> int:
        """How many values `destination` has not settled."""
        with self._lock:
            return self._cursors.waiting(destination)

    def failing_s(self, destination: str) -> float | None:
        """For how long `destination` has taken nothing, over restarts; None when it took something last."""
        with self._lock:
            progress = self._cursors.progress.get(destination)
            return max(0.0, self._now() - progress.failing_since) if progress and progress.failing_since else None

    @property
    def backlog(self) -> int:
        """Values waiting at the worst destination."""
        with self._lock:
            return max(map(self._cursors.waiting, self._cursors.progress))

    @property
    def dropped(self) -> int:
        """Values that fell to a limit, or to damage, before a destination had settled them, over all destinations."""
        with self._lock:
            return self._cursors.dropped

    @property
    def rejected(self) -> int:
        """Values that a destination refused, over all destinations."""
        with self._lock:
            return sum(progress.rejected for progress in self._cursors.progress.values())

    @property
    def held(self) -> int:
        """Samples that the disk has not taken, which end with the process."""
        with self._lock:
            return len(self._held)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file:
                self._file.close()
            self._file = None

    def _hold(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            if fallen := self._held.add(sample):
                self._cursors.trimmed = fallen
                self._say_dropped()

    def _save(self) -> None:
        """Bring to the disk what memory holds and knows. Where that cannot be, memory goes on, and it is said."""
        self._held.forget(self._cursors.settled)
        try:
            try:
                self._write()
            except DamagedError as error:
                self._begin_anew(error)
                self._write()
        except FullError as error:
            self._complain(error)
            if self._file and self._cursors.settled >= self._on_file:  # nothing in it is needed; it has the room
                self.close()
                self._on_file = 0
                remove(self.path)
        except SpoolError as error:
            self._complain(error)

    def _write(self) -> None:
        if self._file and (damage := self._file.damage):
            self._begin_anew(DamagedError(damage))
        elif self._file and self._file.mend_journal():
            messages.lacked_journal(self.path)
        held = len(self._held)
        while self._write_some(self._file or self._open()):
            pass
        if self.trouble:
            self.trouble = ""
            messages.takes_again(held)

    def _write_some(self, file: Database) -> bool:
        """Write the oldest that are held; whether any is left."""
        samples = list(islice(self._held, _AT_ONCE))
        self._began = min(self._began, self._now() - self._elapsed())  # set back, it gives samples that only look old
        oldest = self._began + self._elapsed() - self._limits.max_age_s
        trimmed = file.save(samples, self._cursors.noted(), oldest_clock=oldest, max_bytes=self._limits.max_bytes)
        self._on_file = samples[-1].last if samples else self._cursors.newest
        self._held.forget(self._on_file)
        if trimmed:
            self._cursors.trimmed = max(self._cursors.trimmed, trimmed)
            self._say_dropped()
        return len(self._held) > 0

    def _open(self) -> Database:
        try:
            file = self._file = Database(self.path)
            self._adopt(file)
            file.verify()
        except DamagedError as error:
            self._begin_anew(error)
            file = self._file = Database(self.path)
            self._adopt(file)
        self._say_what_waits(file)
        return file

    def _adopt(self, file: Database) -> None:
        """Go on where the file's last daemon ended: what memory knows comes after all that is in it."""
        last, found = file.newest(), file.progress()
        if file.was_empty:
            messages.was_empty(self.path)
        if file.left_by:
            messages.left_by(file.left_by)
        if file.left_at > last and not file.was_empty:
            messages.lost_journal(self.path, file.left_at - last)
        self._resume(last, found)

    def _resume(self, last: int, found: dict[str, Cursor]) -> None:
        messages.gone(self._cursors.resume(last, found), last)
        self._held.renumber(last)
        self._on_file = last

    def _begin_anew(self, error: SpoolError) -> None:
        """Give up the file, and keep what can still be read in it."""
        saved = self._rescue(self._file) if self._file else "; what waited in it, if anything did, cannot be read"
        self.close()
        self._on_file = 0
        aside = rename_damaged(self.path)
        if not aside and not self._cursors.newest:
            return  # there was nothing, and nothing is lost
        messages.unusable(self.path, error, saved, aside)

    def _rescue(self, file: Database) -> str:
        """Hold what can be read in the file; what became of what waited in it, in words."""
        is_known = self._on_file > 0
        newer, self._held = self._held, MemoryQueue(self._limits.max_held)
        start = reached = self._cursors.settled if is_known else 0
        counts: dict[int, int] = {}  # values of each sample, by its number
        # Half of what memory holds: what fell out again with the next samples would be counted twice.
        for sample in file.rescue(start, max_bytes=self._limits.max_held // 2):
            values = len(list(sample.items()))
            if not is_known and not self._held:
                start = reached = sample.last - values
            self._cursors.lose(reached, sample.last - values)
            self._hold([sample])
            reached, counts[sample.last] = sample.last, values
        saved = f"{sum(counts[sample.last] for sample in self._held)} could be saved"  # what did not fit, was not
        if is_known:
            self._cursors.lose(reached, self._on_file)
            waited = max(0, self._on_file - start)
            saved = f"; of {waited} values that waited in it, {saved}" if waited else "; nothing waited in it"
        else:  # nobody knows who had got how far: everybody gets everything
            saved = f"; how many values waited in it cannot be told, {saved}"
            rescued, self._held = self._held, newer
            self._resume(reached, {name: Cursor(name, settled=start) for name in self._cursors.progress})
            newer, self._held = self._held, rescued
        self._hold(newer)
        return saved

    def _complain(self, error: SpoolError) -> None:
        if str(error) != self.trouble:
            self.trouble = str(error)
            messages.takes_nothing(error, self._limits.max_held)

    def _say_what_waits(self, file: Database) -> None:
        for name, progress in self._cursors.progress.items():
            clock = file.oldest_clock(progress.settled)
            if clock is not None:
                messages.waits(name, self._on_file - progress.settled, clock)

    def _say_dropped(self) -> None:
        if self._elapsed() >= self._say_dropped_at:
            self._say_dropped_at = self._elapsed() + _SAY_AGAIN_S
            messages.dropped(self.dropped)
