"""Spools of thousands of samples: their size, what is left of them when a page is damaged, and who makes them shorter."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lab.spools import append, drain, numbers, opened, sample, settle
from sender.spool.sample import Limits


def test_past_its_size_the_oldest_fall_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file stays within max_size however long a destination is away; the newest are kept; each lost value counts."""
    path = tmp_path / "spool.db"
    subject = opened(path, limits=Limits(max_age_s=1e9, max_bytes=2**20))
    for number in range(4000):
        subject.append(sample(number, values=20, value=random.randbytes(300).hex()))  # noqa: S311  no secret
    kept = numbers(settle(subject, "main"))
    subject.close()
    assert path.stat().st_size <= 2**20
    assert kept[-1] == 3999
    assert kept == [number for number in range(kept[0], 4000) for _ in range(20)]
    assert subject.dropped == kept[0] * 20 > 0
    assert len(caplog.records) == 1


def test_space_is_given_back(tmp_path: Path) -> None:
    """After a backlog was delivered, the file is as small as at the beginning."""
    path = tmp_path / "spool.db"
    subject = opened(path)
    for number in range(2000):
        subject.append(sample(number, values=20))
    settle(subject, "main")
    subject.close()
    assert path.stat().st_size < 40_000
    assert not Path(f"{path}-wal").exists()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the spool is to be."""
    return tmp_path / "spool.db"


def test_one_damaged_page_costs_what_is_on_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What lies before it and behind it is saved, in order; what is lost is counted."""
    spool = opened(path)
    append(spool, *range(2000))
    spool.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 10 // 4096 * 4096)  # a page of SQLite's
        file.write(os.urandom(4096))
    spool = opened(path)
    append(spool, 2000)
    found = drain(spool)
    spool.close()
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, 2000)
    assert 1900 < len(found) < 2001
    assert spool.dropped == 2 * (2001 - len(found))
    assert f"recovered {2 * len(found) - 2} of 4000 queued values" in caplog.text


def test_what_is_saved_fits_into_memory(path: Path) -> None:
    """Of what lies behind a damaged page, the newest is saved, half of what memory may hold; the rest is counted, once."""
    spool = opened(path)
    append(spool, *range(2000))
    spool.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 10 // 4096 * 4096)  # a page of SQLite's
        file.write(os.urandom(4096))
    spool = opened(path, limits=Limits(max_age_s=7 * 86400, max_bytes=2**28, max_memory=100_000))
    append(spool, 2000)
    found = drain(spool)
    spool.close()
    behind = [number for number in found if number > 1000]
    assert found == [*range(len(found) - len(behind)), *range(behind[0], 2001)]
    assert 100 < len(behind) < 400
    assert spool.dropped == 2 * (2001 - len(found))


@pytest.mark.parametrize("doing", [[], ["VACUUM"]])
def test_somebody_else_may_make_it_shorter(path: Path, caplog: pytest.LogCaptureFixture, doing: list[str]) -> None:
    """What an admin does with sqlite3 leaves a sound file, though a shorter one: nothing is wrong, and nothing is said."""
    spool = opened(path)
    append(spool, *range(1000))
    assert drain(spool) == list(range(1000))
    append(spool, 1000)
    before = path.stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in (*doing, "PRAGMA wal_checkpoint(TRUNCATE)"):
            db.execute(statement)
    assert path.stat().st_size < before
    append(spool, 1001)
    assert drain(spool) == [1000, 1001]
    spool.close()
    assert caplog.records == []
