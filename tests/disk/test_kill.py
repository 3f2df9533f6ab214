"""kill -9 at any moment: the spool is whole, what was taken in does not come back, and nothing else is gone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING

from lab import spool_user

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 200
APPENDED, MOST_KILLS = 10 * KILLS, 10 * KILLS  # on a busy machine a process comes less far, and there are more of them
LONGEST_S = 0.15  # from the start of a process to its end: the first ms of it open the spool


class Cursors:
    """What the record of all processes says so far, and whether that can be right."""

    def __init__(self) -> None:
        self.appended = 0
        self._taken_in: dict[str, int] = defaultdict(int)  # the last sample, by destination
        self._acknowledged: dict[str, int] = defaultdict(int)
        self.repeated = 0

    def enter(self, lines: list[str]) -> None:
        """Take in what one process has put down until it was killed."""
        fresh = set(spool_user.DESTINATIONS)
        for line in lines:
            who, *numbers = line.split()
            if who == "a":
                assert int(numbers[0]) > self.appended, line
                self.appended = int(numbers[0])
            elif numbers[0] == "done":
                assert int(numbers[1]) == self._acknowledged[who], line
                self._taken_in[who] = self._acknowledged[who]
            else:
                self._acknowledge(who, *map(int, numbers), fresh=who in fresh)
                fresh.discard(who)

    def _acknowledge(self, who: str, first: int, last: int, *, fresh: bool) -> None:
        """In order and without a gap; only what was in flight at the kill may come again, at the first request."""
        again = fresh and first == self._taken_in[who] + 1 <= self._acknowledged[who]
        assert again or first == self._acknowledged[who] + 1, (
            f"{who} got {first} to {last}, and had got {self._acknowledged[who]}, and {self._taken_in[who]} taken in"
        )
        assert last >= self._acknowledged[who] if again else last >= first
        self.repeated += again
        if not again:  # that it goes on shows that what came before was taken in, put down or not
            self._taken_in[who] = self._acknowledged[who]
        self._acknowledged[who] = last

    @property
    def newest(self) -> int:
        """The newest sample of which anything is known."""
        return max(self.appended, *self._acknowledged.values(), 0)

    def compare(self, waiting: list[int], first: int) -> None:
        """Of all that was appended, what not everybody has acknowledged must be among the samples that wait.

        The last process has begun with `first`: what the ones before it had not put down has a lower number.
        """
        assert waiting == list(range(waiting[0], waiting[-1] + 1) if waiting else ())
        slowest = min(self._acknowledged[who] for who in spool_user.DESTINATIONS)
        missing = set(range(slowest + 1, self.appended + 1)) - set(waiting)
        assert not missing, f"{sorted(missing)} are gone"
        assert not waiting or waiting[-1] <= max(
            self.newest + 1, first
        )  # the one that it was killed before it could put it down


def whole(path: Path, scratch: Path) -> list[int]:
    """Check a copy of the spool, journal and all; the samples in it."""
    for end in ("", "-wal"):
        (scratch / f"copy{end}").unlink(missing_ok=True)
        if (source := path.with_name(path.name + end)).exists():
            shutil.copy(source, scratch / f"copy{end}")
    with closing(sqlite3.connect(scratch / "copy")) as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return []  # killed before the tables were made
        return [clock for (clock,) in db.execute("SELECT clock FROM sample ORDER BY last")]


def killed(parent: subprocess.Popen[str], first: int, seed: int, after_s: float) -> None:
    """Let a process use the spool for a moment, and return when it is dead."""
    assert parent.stdin
    assert parent.stdout
    parent.stdin.write(f"{first} {seed}\n")
    parent.stdin.flush()
    process = int(parent.stdout.readline())
    time.sleep(after_s)
    os.kill(process, signal.SIGKILL)
    assert parent.stdout.readline() == f"ended by signal {signal.SIGKILL:d}\n"


def test_killed_anywhere_the_spool_is_whole(tmp_path: Path) -> None:
    """Killed 200 times and more while it appends and delivers to two as fast as it can: whole, in order, nothing lost or doubled.

    What a destination has acknowledged in the ms before the kill may come once more: one request, the first one.
    """
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311  no secret
    path, record, log = tmp_path / "spool.db", tmp_path / "record", tmp_path / "log"
    record.touch()
    cursors, first = Cursors(), 1
    command = [sys.executable, spool_user.__file__, str(path), str(record)]
    with (
        log.open("wb") as errors,
        record.open() as lines,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as parent,
    ):
        kill = 0
        while kill < KILLS or (cursors.appended <= APPENDED and kill < MOST_KILLS):
            kill += 1
            try:
                killed(parent, first, chance.randrange(2**32), chance.uniform(0, LONGEST_S))
                cursors.enter(lines.readlines())
                waiting = whole(path, tmp_path)
                cursors.compare(waiting, first)
            except Exception as error:
                raise AssertionError(f"seed {seed}, kill {kill}: {error}") from error
            first = max([cursors.newest, *waiting]) + 1
        assert parent.stdin
        parent.stdin.close()
    assert cursors.appended > APPENDED
    assert cursors.repeated <= kill
    said = log.read_text().splitlines()
    assert [line for line in said if "did not shut down cleanly" not in line] == []
    assert len(said) <= kill
