"""Samples on their way to each destination: on the disk, and in memory while the disk does not take them.

One durable append per sample, a cursor per destination; a sample is gone when every destination has settled it, or when
it falls to a limit, which is counted and logged. Knows nothing of Zabbix or of retry policy. The numbers stand in
spool_ledger, SQL in spool_file.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone
from itertools import takewhile
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import DamagedError, FullError, SpoolError, TakenError
from sender.model import Chunk
from sender.spool_file import SpoolFile, remove, set_aside
from sender.spool_ledger import Ledger
from sender.spool_sample import Held, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome
    from sender.spool_ledger import Progress
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
        self._ledger = Ledger(destinations)
        self._file: SpoolFile | None = None
        self._on_file = 0  # the number of the newest value that the file has taken
        self._held = Held(limits.max_held)  # newer samples, which it has not
        self.trouble = ""  # why the disk takes no samples; empty while it does
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
            self._ledger.newest += len(items)
            self._hold([Sample.of(items, last=self._ledger.newest)])
            self._save()

    def read(self, destination: str, *, max_values: int) -> Chunk | None:
        """The oldest samples that `destination` has not settled, at least one, of one host; None if there is none.

        Raises SpoolError where the disk cannot be read.
        """
        with self._lock:
            if destination not in self._ledger.progress:
                return None
            samples = self._after(self._ledger.begin(destination), max_values)
            if not samples:
                return None
            samples = list(takewhile(lambda sample: sample.host == samples[0].host, samples))
            chunk = Chunk(items=tuple(item for sample in samples for item in sample.items()), last=samples[-1].last)
            self._ledger.flying[destination] = chunk
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
            if self._ledger.settle(destination, chunk, outcome, error=error, now=int(self._now())):
                self._save()

    def serve(self, destinations: Sequence[str], limits: Limits) -> None:
        """From now on, these destinations and limits hold. A new destination gets all that still waits for any other."""
        with self._lock:
            self._limits = limits
            self._say_goodbye(self._ledger.serve(destinations), self._ledger.newest)
            self._save()

    def waiting(self, destination: str) -> int:
        """How many values `destination` has not settled."""
        with self._lock:
            return self._ledger.waiting(destination)

    def failing_s(self, destination: str) -> float | None:
        """For how long `destination` has taken nothing, over restarts; None when it took something last."""
        with self._lock:
            progress = self._ledger.progress.get(destination)
            return max(0.0, self._now() - progress.failing_since) if progress and progress.failing_since else None

    @property
    def backlog(self) -> int:
        """Values waiting at the worst destination."""
        with self._lock:
            return max(map(self._ledger.waiting, self._ledger.progress))

    @property
    def dropped(self) -> int:
        """Values that fell to a limit, or to damage, before a destination had settled them, over all destinations."""
        with self._lock:
            return self._ledger.dropped

    @property
    def rejected(self) -> int:
        """Values that a destination refused, over all destinations."""
        with self._lock:
            return sum(progress.rejected for progress in self._ledger.progress.values())

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
            fallen = self._held.add(sample)
            if fallen:
                self._ledger.trimmed = fallen
                self._say_dropped()

    def _save(self) -> None:
        """Bring to the disk what memory holds and knows. Where that cannot be, memory goes on, and it is said."""
        self._held.forget(self._ledger.settled)
        try:
            try:
                self._write()
            except DamagedError as error:
                self._begin_anew(error)
                self._write()
        except FullError as error:
            self._complain(error)
            if (
                self._file and self._ledger.settled >= self._on_file
            ):  # nothing in it is needed; without it there is room
                self.close()
                self._on_file = 0
                remove(self.path)
        except SpoolError as error:
            self._complain(error)

    def _write(self) -> None:
        if self._file and not self._file.is_in_place:
            self._begin_anew(DamagedError("it was removed or replaced"))
        file = self._file or self._open()
        oldest = self._began + self._elapsed() - self._limits.max_age_s
        noted = self._ledger.noted()
        trimmed = file.save(self._held, noted, oldest_clock=oldest, max_bytes=self._limits.max_bytes)
        if self.trouble:
            self.trouble = ""
            _LOG.info("the spool takes samples again, and the %d that memory held are in it", len(self._held))
        self._on_file = self._ledger.newest
        self._held = Held(self._limits.max_held)
        if trimmed:
            self._ledger.trimmed = max(self._ledger.trimmed, trimmed)
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
        self._say_what_waits(file)
        return file

    def _adopt(self, file: SpoolFile) -> None:
        """Go on where the file's last daemon ended: what memory knows comes after all that is in it."""
        last, found = file.newest, file.progress()
        if file.was_empty:
            _LOG.warning("spool %s was an empty file: if anything waited in it, it is lost", self.path)
        self._say_goodbye(self._ledger.resume(last, found), last)
        self._held.renumber(last)
        self._on_file = last

    def _begin_anew(self, error: SpoolError) -> None:
        """Give up the file, and keep what can still be read in it."""
        file, on_file = self._file, self._on_file
        self._file, self._on_file = None, 0
        saved = ""
        if file:
            start = reached = self._ledger.settled
            newer, self._held = self._held, Held(self._limits.max_held)
            for sample in file.rescue(start) if on_file else ():
                self._hold([sample])
                reached = sample.last
            self._hold(newer)
            self._ledger.lose(reached, on_file)
            saved = f"; of {max(0, on_file - start)} values that waited in it, {reached - start} could be saved"
            file.close()
        aside = set_aside(self.path)
        kept = f"; it is kept as {aside}" if aside else ""
        _LOG.error("spool %s is void: %s. A new one is begun%s%s", self.path, error, saved, kept)

    def _complain(self, error: SpoolError) -> None:
        if str(error) != self.trouble:
            self.trouble = str(error)
            _LOG.error(
                "the spool takes no samples: %s. Until it does they are held in memory, up to %d MiB of them, are "
                "delivered from there, and would be lost with the daemon",
                *(error, self._limits.max_held >> 20),
            )

    def _say_what_waits(self, file: SpoolFile) -> None:
        if file.left_by:
            _LOG.warning(
                "the last daemon (process %s) did not end in order; nothing in the spool is lost", file.left_by
            )
        for name, progress in self._ledger.progress.items():
            clock = file.oldest_clock(progress.settled)
            if clock is not None:
                since = datetime.fromtimestamp(clock, timezone.utc)
                _LOG.info("%d values from %s on wait for %s", self._on_file - progress.settled, since, name)

    def _say_goodbye(self, gone: Sequence[Progress], last: int) -> None:
        for progress in gone:
            if progress.settled < last:
                _LOG.warning(
                    "destination %s is not configured any more; %d values that waited for it go to the others only",
                    *(progress.name, last - progress.settled),
                )

    def _say_dropped(self) -> None:
        if self._elapsed() >= self._say_dropped_at:
            self._say_dropped_at = self._elapsed() + _SAY_AGAIN_S
            _LOG.warning(
                "the spool has reached its limit (spool.max_age or spool.max_size): the oldest samples are thrown away, "
                "%d values so far; the next such line comes in an hour",
                self.dropped,
            )
