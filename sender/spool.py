"""Samples on their way to each destination: on the disk, and in memory while the disk does not take them.

One durable append per sample, a cursor per destination; a sample is gone when every destination has settled it, or when
it falls to a limit, which is counted and logged. Knows nothing of Zabbix or of retry policy; SQL stands in spool_file.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import DamagedError, FullError, SpoolError, TakenError
from sender.model import Chunk
from sender.spool_file import Progress, SpoolFile, remove, set_aside
from sender.spool_sample import Held, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome
    from sender.spool_sample import Limits

_LOG = logging.getLogger(__name__)
_SAY_AGAIN_S = 3600.0


class Spool:
    """Safe for one appending thread and one thread per destination. Raises TakenError for a file that is not ours.

    A `path` of ":memory:" is a spool that ends with the process. Ages are measured from where the wall clock `now` stood
    at the start, by `elapsed`: a wall clock that jumps must not throw anything away.
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
        self.path = path
        self._lock = threading.RLock()
        self._limits = limits
        self._now, self._elapsed = now, elapsed
        self._began = now() - elapsed()
        self._file: SpoolFile | None = None
        self._on_file = 0  # the number of the newest value that the file has taken
        self._held = Held(limits.max_held)  # newer samples, which it has not
        self._newest = 0  # the number of the newest value
        self._trimmed = 0  # the number of the last value that fell to a limit
        self._progress = {name: Progress(name) for name in destinations}
        self._flying: dict[str, Chunk] = {}  # read and not settled yet, by destination
        self._trouble = ""
        self._say_dropped_at = elapsed()
        with self._lock:
            try:
                self._open()
            except TakenError:
                raise
            except SpoolError as error:
                self._complain(error)

    def append(self, items: Sequence[Item]) -> None:
        """Take one sample, whose items share host and moment, for every destination. It is on the disk, or it is said."""
        with self._lock:
            self._newest += len(items)
            self._hold([Sample.of(items, last=self._newest)])
            self._save()

    def read(self, destination: str, *, max_values: int) -> Chunk | None:
        """The oldest samples that `destination` has not settled, at least one, of one host; None if there is none."""
        with self._lock:
            progress = self._progress.get(destination)
            samples = self._unsettled(progress, max_values) if progress else []
            if not samples:
                return None
            samples = list(takewhile(lambda sample: sample.host == samples[0].host, samples))
            items = tuple(item for sample in samples for item in sample.items())
            self._flying[destination] = Chunk(items=items, last=samples[-1].last)
            return self._flying[destination]

    def _unsettled(self, progress: Progress, max_values: int) -> list[Sample]:
        self._count_dropped(progress)
        if self._file and progress.settled < self._on_file:
            try:
                return self._file.read(progress.settled, max_values=max_values)
            except DamagedError as error:
                self._begin_anew(error)
                self._save()
                return self._unsettled(progress, max_values)
        limit = progress.settled + max_values
        held = [sample for sample in self._held if sample.last > progress.settled]
        return list(takewhile(lambda sample: sample is held[0] or sample.last <= limit, held))

    def settle(self, destination: str, chunk: Chunk, outcome: Outcome, error: str = "") -> None:
        """What was accepted or rejected is done with; if anything is to be kept, because of `error`, all is read again."""
        with self._lock:
            progress = self._progress.get(destination)
            if progress is None or self._flying.get(destination) is not chunk:
                return  # the destination was given up meanwhile, or the numbers have changed: it is read again
            del self._flying[destination]
            progress.rejected += outcome.rejected
            progress.error = error
            if outcome.kept:
                progress.failing_since = progress.failing_since or int(self._now())
            else:
                progress.settled = max(progress.settled, chunk.last)
                progress.succeeded_at, progress.failing_since = int(self._now()), 0
            self._count_dropped(progress)
            self._save()

    def serve(self, destinations: Sequence[str], limits: Limits) -> None:
        """From now on, these destinations and limits hold. A new destination gets all that still waits for any other."""
        with self._lock:
            self._limits = limits
            start = min(progress.settled for progress in self._progress.values())
            before = self._progress
            self._progress = {name: before.get(name) or Progress(name, settled=start) for name in destinations}
            self._say_goodbye(before, self._newest)
            self._save()

    def waiting(self, destination: str) -> int:
        """How many values `destination` has not settled."""
        with self._lock:
            progress = self._progress.get(destination)
            return self._newest - max(progress.settled, self._trimmed) if progress else 0

    @property
    def backlog(self) -> int:
        """Values waiting at the worst destination."""
        with self._lock:
            return max(map(self.waiting, self._progress))

    @property
    def dropped(self) -> int:
        """Values that fell to a limit, or to damage, before a destination had settled them, over all destinations."""
        with self._lock:
            return sum(progress.dropped + self._falling(progress) for progress in self._progress.values())

    @property
    def rejected(self) -> int:
        """Values that a destination refused, over all destinations."""
        with self._lock:
            return sum(progress.rejected for progress in self._progress.values())

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

    def _falling(self, progress: Progress) -> int:
        """Values that fell to a limit, and are not on the wire just now: those may still arrive."""
        flying = self._flying.get(progress.name)
        return max(0, self._trimmed - max(progress.settled, flying.last if flying else 0))

    def _count_dropped(self, progress: Progress) -> None:
        if progress.name not in self._flying:
            progress.dropped += self._falling(progress)
            progress.settled = max(progress.settled, self._trimmed)

    def _hold(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            fallen = self._held.add(sample)
            if fallen:
                self._trimmed = fallen
                self._say_dropped()

    def _save(self) -> None:
        """Bring to the disk what memory holds and knows. Where that cannot be, memory goes on, and it is said."""
        settled = min(progress.settled for progress in self._progress.values())
        self._held.forget(settled)
        try:
            try:
                self._write()
            except DamagedError as error:
                self._begin_anew(error)
                self._write()
        except FullError as error:
            self._complain(error)
            if self._file and settled >= self._on_file:  # nothing in it is needed, and without it there may be room
                self.close()
                self._on_file = 0
                remove(self.path)
        except SpoolError as error:
            self._complain(error)

    def _write(self) -> None:
        if self._file and not self._file.is_in_place:
            self._begin_anew(DamagedError("it was removed or replaced"))
        file = self._file or self._open()
        progress = [replace(each, dropped=each.dropped + self._falling(each)) for each in self._progress.values()]
        oldest = self._began + self._elapsed() - self._limits.max_age_s
        trimmed = file.save(self._held, progress, oldest_clock=oldest, max_bytes=self._limits.max_bytes)
        if self._trouble:
            self._trouble = ""
            _LOG.info("the spool takes samples again, and the %d that memory held are in it", len(self._held))
        self._on_file = self._newest
        self._held = Held(self._limits.max_held)
        if trimmed:
            self._trimmed = max(self._trimmed, trimmed)
            self._say_dropped()

    def _open(self) -> SpoolFile:
        try:
            file = self._file = SpoolFile(self.path)
            self._adopt(file)
            file.verify()
        except DamagedError as error:
            self._begin_anew(error)
            file = self._file = SpoolFile(self.path)
            self._adopt(file)
        return file

    def _adopt(self, file: SpoolFile) -> None:
        """Go on where the file's last daemon ended: what memory knows comes after all that is in it."""
        last, found = file.newest, file.progress()
        if file.was_empty:
            _LOG.warning("spool %s was an empty file: if anything waited in it, it is lost", self.path)
        if last:  # memory's numbers change, so that nothing in it can be settled or trimmed by those of before
            self._flying.clear()
            for progress in self._progress.values():
                self._count_dropped(progress)
            self._trimmed = 0
        oldest = min((progress.settled for progress in found.values()), default=last)
        for name, progress in self._progress.items():
            before = found.get(name, Progress(name, settled=oldest))
            progress.settled = before.settled if before.settled < last else last + progress.settled
            if not progress.succeeded_at:
                progress.succeeded_at, progress.failing_since = before.succeeded_at, before.failing_since
                progress.error = before.error
        self._say_goodbye(found, last)
        self._held.renumber(last)
        self._newest += last
        self._on_file = last

    def _begin_anew(self, error: SpoolError) -> None:
        """Give up the file, and keep what can still be read in it."""
        file, on_file = self._file, self._on_file
        self._file, self._on_file = None, 0
        saved = ""
        if file:
            start = reached = min(progress.settled for progress in self._progress.values())
            newer, self._held = self._held, Held(self._limits.max_held)
            for sample in file.rescue(start) if on_file else ():
                self._hold([sample])
                reached = sample.last
            self._hold(newer)
            for progress in self._progress.values():
                progress.dropped += max(0, on_file - max(progress.settled, reached))
            saved = f"; of {max(0, on_file - start)} values that waited in it, {reached - start} could be saved"
            file.close()
        aside = set_aside(self.path)
        kept = f"; it is kept as {aside}" if aside else ""
        _LOG.error("spool %s is void: %s. A new one is begun%s%s", self.path, error, saved, kept)

    def _complain(self, error: SpoolError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            _LOG.error(
                "the spool takes no samples: %s. Until it does they are held in memory, up to %d MiB of them, are "
                "delivered from there, and would be lost with the daemon",
                *(error, self._limits.max_held >> 20),
            )

    def _say_goodbye(self, before: dict[str, Progress], last: int) -> None:
        for name, progress in before.items():
            if name not in self._progress and progress.settled < last:
                _LOG.warning(
                    "destination %s is not configured any more; %d values that waited for it go to the others only",
                    *(name, last - progress.settled),
                )

    def _say_dropped(self) -> None:
        if self._elapsed() >= self._say_dropped_at:
            self._say_dropped_at = self._elapsed() + _SAY_AGAIN_S
            _LOG.warning(
                "the spool has reached its limit (spool.max_age or spool.max_size): the oldest samples are thrown away, "
                "%d values so far; the next such line comes in an hour",
                self.dropped,
            )
