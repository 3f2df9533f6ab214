"""Samples on their way to each destination: on the disk, and in memory while the disk cannot be written.

A sample is gone when every destination has settled it, or when a limit drops it. Knows nothing of Zabbix or retry policy.
"""

from __future__ import annotations

import os
import time
from itertools import islice, takewhile
from typing import TYPE_CHECKING, TypeVar

from sender.clock import boottime
from sender.errors import BusyError, DamagedError, FullError, SpoolError, TakenError
from sender.model import Chunk
from sender.spool import messages
from sender.spool.database import MEMORY, Database
from sender.spool.files import remove, rename_damaged, size_of
from sender.spool.lock import Lock, is_anothers
from sender.spool.progress import Progress
from sender.spool.recovery import recover
from sender.spool.sample import MemoryQueue, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome
    from sender.spool.sample import Limits

_SAY_AGAIN_S = 3600.0
_AT_ONCE = 64  # samples in one write: on a full disk all at once would cost more and more
_T = TypeVar("_T")


class Spool(Progress):
    """A durable queue, safe for one appending thread and one thread per destination.

    Raises TakenError for a file that is not ours. With `path` ":memory:" it ends with the process. Ages are measured by
    `elapsed`, from the earliest moment at which the wall clock `now` said it began: a clock that jumps must drop nothing.
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
        super().__init__(destinations, now)
        self._limits = limits
        self._elapsed = elapsed
        self._began = now() - elapsed()
        self._process_lock: Lock | None = None
        self._file: Database | None = None
        self._is_closed = self._is_damaged = False  # the file at `path` may be, and must be renamed first
        self._on_file = 0  # the number of the newest value in the file; 0 too while nothing is known of it
        self._memory = MemoryQueue(limits.max_memory)  # newer samples, which are not in the file
        self.note = ""  # what sampling remembers, of the last sample or of the previous run; empty for nothing
        self.trouble = ""  # why samples cannot be written; empty while they can
        self._say_dropped_at: dict[str, float] = {}  # by limit
        try:
            self._use(lambda _: None)
        except TakenError:
            self.close()
            raise
        except SpoolError as error:
            self._complain(error)

    def append(self, items: Sequence[Item], note: str = "") -> None:
        """Queue one sample (same host and moment) for every destination, and `note` for the next start; log where that fails."""
        with self._lock:
            self.note = note or self.note
            self._cursors.newest += len(items)
            self._keep([Sample.of(items, last=self._cursors.newest)])
            self._save()

    def read(self, destination: str, *, max_values: int) -> Chunk | None:
        """Return the oldest samples that `destination` has not settled, at least one, of one host; None if there is none.

        Raises SpoolError where the disk cannot be read.
        """
        with self._lock:
            if (
                self._is_closed
                or destination not in self._cursors.by_name
                or not (samples := self._oldest(destination, max_values))
            ):
                return None
            host, end = samples[0].host, self._cursors.end(destination)
            samples = list(takewhile(lambda sample: sample.host == host and sample.last <= end, samples))
            chunk = Chunk(items=tuple(item for sample in samples for item in sample.items()), last=samples[-1].last)
            self._cursors.in_flight[destination] = chunk
            return chunk

    def _oldest(self, destination: str, max_values: int) -> list[Sample]:
        begin = self._cursors.begin  # asked each time: to open the file may change the numbers
        is_on_file = begin(destination) < self._on_file
        if is_on_file and (found := self._use(lambda file: file.read(begin(destination), max_values=max_values))):
            return found
        number = begin(destination)
        newer = [sample for sample in self._memory if sample.last > number]
        return list(takewhile(lambda sample: sample is newer[0] or sample.last <= number + max_values, newer))

    def settle(self, destination: str, chunk: Chunk, outcome: Outcome, error: str = "") -> None:
        """Record what became of a chunk: if any of it is kept, because of `error`, all of it is read again.

        A chunk that is not the last one read changes nothing: its destination was removed, or its numbers have changed.
        """
        with self._lock:
            if self._cursors.settle(destination, chunk, outcome, error=error, now=int(self._now())):
                self._save()

    def serve(self, destinations: Sequence[str], limits: Limits) -> None:
        """Apply new destinations and limits. A new destination receives everything still queued for any other."""
        with self._lock:
            self._limits = limits
            messages.removed(self._cursors.serve(destinations), self._cursors.newest)
            self._save()

    def learn(self, destination: str, known: Iterable[str], *, rejected: int = 0) -> None:
        """Record the ports whose items `destination` has, and values of other ports that it rejected."""
        with self._lock:
            if self._cursors.learn(destination, known, rejected):
                self._save()

    @property
    def in_memory(self) -> int:
        """Return how many samples are not on the disk, and end with the process."""
        with self._lock:
            return len(self._memory)

    def close(self) -> None:
        """Close the file for good, and let another daemon have it. What is told afterwards is not recorded."""
        with self._lock:
            self._is_closed = True
            self._release()

    def _release(self) -> None:
        if self._file:
            self._file.close()
        if self._process_lock:
            self._process_lock.release()
        self._file = self._process_lock = None

    def _disconnect(self) -> None:
        if self._file and self.path != MEMORY:
            self._file.close()
            self._file = None

    def _keep(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            self._trim("the limit of samples in memory", self._memory.add(sample))

    def _trim(self, limit: str, last: int) -> None:
        """Note, and say once an hour, that `limit` has removed the values up to number `last`, 0 for none."""
        if last:
            self._cursors.trimmed = max(self._cursors.trimmed, last)
            if self._elapsed() >= self._say_dropped_at.get(limit, 0):
                self._say_dropped_at[limit] = self._elapsed() + _SAY_AGAIN_S
                messages.dropped(limit, self.dropped)

    def _save(self) -> None:
        """Bring to the disk what memory holds and knows. Where that fails, go on in memory, and say so."""
        if self._is_closed:
            return
        self._memory.forget(self._cursors.settled)
        try:
            self._use(self._write)
        except SpoolError as error:
            self._complain(error)
            if isinstance(error, FullError) and self._file and self._cursors.settled >= self._on_file:
                self._disconnect()  # nothing in the file is needed; it has the room
                self._note(0)
                remove(self.path)

    def _write(self, file: Database) -> None:
        if not file.is_whole():
            self._disconnect()
            messages.journal_deleted(self.path)
            file = self._open()
        samples = len(self._memory)
        self._write_some(file)
        while self._memory:
            self._write_some(file)
        if self.trouble:
            self.trouble = ""
            messages.writes_again(samples)

    def _write_some(self, file: Database) -> None:
        samples = list(islice(self._memory, _AT_ONCE))
        self._began = min(self._began, self._now() - self._elapsed())  # set back, it gives samples that only look old
        oldest, most = self._began + self._elapsed() - self._limits.max_age_s, self._limits.max_bytes
        by_age, by_size = file.save(samples, self._cursors.noted(), self.note, oldest_clock=oldest, max_bytes=most)
        self._note(samples[-1].last if samples else self._cursors.newest)
        self._trim("spool.max_age", by_age)
        self._trim("spool.max_size", by_size)

    def _use(self, action: Callable[[Database], _T]) -> _T:
        """Return what `action` makes of the open file, or of a new one where that one is damaged."""
        try:
            return self._attempt(action)
        except DamagedError as error:
            self._start_anew(error)
            return self._attempt(action)

    def _attempt(self, action: Callable[[Database], _T]) -> _T:
        """Do `action`. After an error that a connection may not get over, close the file: the next one opens it again."""
        try:
            return action(self._file or self._open())
        except SpoolError as error:
            if not isinstance(error, (BusyError, DamagedError, FullError)):
                self._disconnect()
            raise

    def _open(self) -> Database:
        if self.path != MEMORY and not (self._process_lock and self._process_lock.is_in_place):
            self._release()  # its directory was removed, and the lock with it
            if is_anothers(self.path):
                raise TakenError(f"{self.path} is a file of another kind", advice="Give spool.path a place of its own.")
            lock = self._process_lock = Lock(self.path)
            if lock.left_by:
                messages.unclean_shutdown(lock.left_by)
                if not lock.noted and not size_of(self.path):
                    remove(self.path)  # it was killed before there was anything in the file
        if self._is_damaged:
            self._rename()
        file = self._file = Database(self.path)
        try:
            self._adopt(file)
        except (BusyError, FullError):
            self._disconnect()
            raise
        return file

    def _adopt(self, file: Database) -> None:
        """Go on with what is in the file: if it is the one from before, its numbers stay, else they come first."""
        last, found = file.progress()
        written = self._on_file or (self._process_lock.noted if self._process_lock else 0)
        if last < written:
            messages.newest_lost(self.path, written - last)
        if self._on_file and last <= self._cursors.newest:
            self._cursors.drop(last, self._on_file)
            self._note(last)  # where it is more than before, SQLite wrote what it said that it had not
            return
        self._cursors.trimmed, self._on_file = max(self._cursors.trimmed, self._on_file), 0  # of another file
        messages.removed(self._cursors.resume(last, found), last)
        self._memory.renumber(last)
        self._note(last)
        self.note = file.note() or self.note  # not before it is known who has got how far: it may be damaged
        file.verify()
        for name, cursor in self._cursors.by_name.items():
            if (backlog := file.backlog(cursor)).since:
                messages.queued(name, backlog.values, backlog.since)

    def _start_anew(self, error: DamagedError) -> None:
        """Rename the damaged file, and keep in memory what can be read in it, for the new one."""
        newer, limit = self._memory, self._limits.max_memory
        found = recover(self._file, self._cursors, newer, on_file=self._on_file, max_bytes=limit)
        self._disconnect()
        self._note(0)
        self._memory = found.samples
        self._trim("the limit of samples in memory", found.trimmed)
        self._keep(newer)
        self._is_damaged = True  # until it has another name: what was read in it must not be read again
        renamed = self._rename()
        if renamed or self._cursors.newest:  # else there was nothing, and nothing is lost
            messages.damaged(self.path, error, recovered=found.values, queued=found.queued, renamed=renamed)

    def _rename(self) -> str:
        renamed = rename_damaged(self.path)
        self._is_damaged = False
        return renamed

    def _note(self, number: int) -> None:
        """Note that the file has all up to value `number`, for the next daemon too if this one is killed."""
        if self._process_lock and number != self._process_lock.noted:
            self._process_lock.note(number)
        self._on_file = number
        self._memory.forget(number)

    def _complain(self, error: SpoolError) -> None:
        if str(error) != self.trouble:
            self.trouble = str(error)
            messages.cannot_write(error, self._limits.max_memory)
