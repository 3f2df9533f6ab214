"""What happens to the spool when its file is damaged, gone, foreign or not to be written. Full disks: tests/disk."""

from __future__ import annotations

import errno
import logging
import os
import re
import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.circles import assert_gone_when_caught
from lab.spools import NOW, WEEK, append, drain, opened, sample, settle, value
from sender.errors import BusyError, DeniedError, FullError, SpoolError, TakenError
from sender.model import Item, Outcome
from sender.spool.database import Database, reading
from sender.spool.reader import read_status
from sender.spool.sample import Limits, Sample
from sender.text import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool is to be."""
    return tmp_path / "spool.db"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a closed spool in which 300 samples wait for main; it is copied, never opened."""
    path = tmp_path_factory.mktemp("template") / "spool.db"
    spool = opened(path)
    append(spool, *range(300))
    spool.close()
    return path


@pytest.fixture
def filled(path: Path, template: Path) -> Path:
    """Return a spool like it, of the test's own."""
    shutil.copy(template, path)
    path.with_name(f"{path.name}.lock").touch()  # as a daemon leaves it
    return path


def noise(path: Path) -> None:
    """Overwrite all of it."""
    path.write_bytes(os.urandom(path.stat().st_size))


def cut(path: Path) -> None:
    """Cut it in the middle of a page."""
    os.truncate(path, path.stat().st_size // 2 + 100)


def scratch(path: Path) -> None:
    """Overwrite a piece in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(5000))


def emptied(path: Path) -> None:
    """Cut it to nothing: a full disk leaves such a file too."""
    os.truncate(path, 0)


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    """What no daemon ever had, and is no SQLite file, is somebody else's: it is neither moved nor written."""
    path = tmp_path / "inventory.yaml"
    path.write_text("hosts: [web-01]\n")
    for _ in range(2):
        with pytest.raises(TakenError, match="is a file of another kind"):
            opened(path)
    assert [each.name for each in tmp_path.iterdir()] == ["inventory.yaml"]
    assert path.read_text() == "hosts: [web-01]\n"


def test_a_damaged_schema_is_damage(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A byte that makes a text of none in there is damage as any other."""
    content = bytearray(filled.read_bytes())
    content[content.index(b"CREATE TABLE destination") + 3] = 0xB5
    filled.write_bytes(content)
    spool = opened(filled)
    append(spool, 300)
    assert drain(spool)[-1] == 300
    assert f"spool {filled} is damaged" in caplog.text
    spool.close()


@pytest.mark.parametrize("page", range(2, 28, 3))
def test_a_page_in_the_place_of_another(filled: Path, caplog: pytest.LogCaptureFixture, page: int) -> None:
    """What a disk has written to the wrong place comes twice in the file, and once out of it; the new file is sound."""
    content = bytearray(filled.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    assert len(content) > 28 * size
    content[size * page : size * (page + 1)] = content[size * 27 : size * 28]
    filled.write_bytes(content)
    spool = opened(filled)
    append(spool, 300, 301)
    found = drain(spool)
    spool.close()
    assert found == sorted(set(found))
    assert found[-2:] == [300, 301]
    assert caplog.text.count("is damaged") <= 1


def test_damage_that_cannot_be_renamed_is_recovered_once(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried, as where another file system is mounted there, nothing is doubled, and nothing is lost."""
    scratch(filled)

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", busy)
        spool = opened(filled)
        for number in range(300, 304):
            append(spool, number)
        counted = spool.queued("main"), spool.dropped
    append(spool, 304)
    assert (spool.queued("main"), spool.dropped) == (counted[0] + 2, counted[1])
    found = drain(spool)
    assert found == sorted(set(found))
    assert found[-5:] == [300, 301, 302, 303, 304]
    spool.close()


def test_what_was_delivered_from_memory_is_not_delivered_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two destinations one has got all that came while the file could not be opened; then it gets what is in the file."""
    before = opened(path, "a", "b")
    append(before, 1)
    before.close()

    def full(_: str) -> None:
        raise FullError(f"{path}: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("sender.spool.spool.Database", full)
        spool = opened(path, "a", "b")
        append(spool, 2, 3)
        assert drain(spool, "a") == [2, 3]
    append(spool, 4)
    assert [spool.queued(name) for name in "ab"] == [4, 8]
    assert drain(spool, "a") == [1, 4]
    assert drain(spool, "b") == [1, 2, 3, 4]
    assert [spool.queued(name) for name in "ab"] == [0, 0]
    assert spool.dropped == 0
    spool.close()


@pytest.mark.parametrize(("damage", "recovered"), [(noise, False), (cut, False), (emptied, False), (scratch, True)])
def test_a_damaged_file_is_kept_and_a_new_one_begun(
    filled: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], *, recovered: bool
) -> None:
    """Found at the start: the file gets a name with its date, sampling goes on in a new one, and one line says so."""
    damage(filled)
    damaged = filled.read_bytes()
    spool = opened(filled)
    append(spool, 300)
    found = drain(spool)
    spool.close()
    (aside,) = filled.parent.glob("spool.db.2*Z")
    assert len(aside.read_bytes()) == len(damaged)
    assert found[-1] == 300
    assert found == sorted(set(found))
    assert (len(found) > 200) == recovered
    (message,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert f"spool {filled} is damaged" in message
    assert f"kept as {aside}" in message


def test_a_changed_byte_is_not_sent(filled: Path) -> None:
    """A value that is not what was written, though SQLite sees nothing wrong, is never delivered as one."""
    with closing(sqlite3.connect(filled)) as db:
        (body,) = db.execute("SELECT body FROM sample ORDER BY last DESC").fetchone()
    content = filled.read_bytes()
    place = content.index(body) + len(body) // 2
    filled.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with closing(sqlite3.connect(filled)) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert db.execute("SELECT body FROM sample ORDER BY last DESC").fetchone() != (body,)
    spool = opened(filled)
    values = set()
    while chunk := spool.read("main", max_values=100):
        values |= {(item.clock, item.value) for item in chunk.items}
        spool.settle("main", chunk, Outcome(accepted=len(chunk.items)))
    spool.close()
    assert values == {(NOW + number, value(2 * number + n)) for number in range(299) for n in range(2)}


@pytest.mark.parametrize("damage", [noise, cut, scratch])
def test_damage_under_a_running_daemon_does_not_stop_it(
    filled: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """Samples go on, what can be read is delivered in order, and what is lost is counted and said."""
    spool = opened(filled)
    damage(filled)
    append(spool, *range(300, 350))
    found = drain(spool)
    append(spool, 350)
    assert drain(spool) == [350]
    assert found == sorted(set(found))
    assert len(found) + spool.dropped // 2 == 350
    spool.close()
    if len(found) < 350:
        assert "is damaged" in caplog.text
    again = opened(filled)
    append(again, 7)
    assert drain(again) == [7]
    again.close()


@pytest.mark.parametrize("damage", [noise, cut, emptied])
def test_damage_is_noticed_though_all_is_in_memory(
    path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """SQLite would go on for days with the pages that it knows: what waits must be in a sound file with the next sample."""
    spool = opened(path)
    append(spool, *range(100))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint")  # what was written is in the file itself
    damage(path)
    append(spool, 100)
    assert "is damaged (truncated or overwritten)" in caplog.text
    assert "recovered 200 of 200 queued values" in caplog.text
    assert read_status(str(path))["main"].values == 202
    assert drain(spool) == list(range(101))
    spool.close()


def test_what_memory_cannot_hold_is_not_said_to_be_recovered(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a file that is removed, what goes over into the new one passes through memory; the log says how much did."""
    spool = opened(filled, limits=Limits(max_age_s=7 * 86400, max_bytes=2**28, max_memory=20_000))
    filled.unlink()
    append(spool, 300)
    left = drain(spool)
    (said,) = re.findall("recovered ([0-9]+) of 600 queued values", caplog.text)
    assert 0 < int(said) < 600
    assert 0 <= int(said) // 2 - (len(left) - 1) <= 1  # the new sample has taken the place of one
    assert spool.dropped == 602 - 2 * len(left)
    spool.close()


def test_a_daemon_that_is_killed_before_it_writes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The empty file that it leaves is no damage: nothing was in it."""
    path.touch()
    Path(f"{path}.lock").write_text("4711       0                    \n")
    spool = opened(path)
    append(spool, 1)
    assert drain(spool) == [1]
    spool.close()
    (record,) = caplog.records
    assert (record.levelname, "PID 4711" in record.getMessage()) == ("WARNING", True)


@pytest.mark.parametrize(("call", "code"), [("fcntl.flock", errno.ENOLCK), ("os.pread", errno.EIO)])
def test_a_lock_that_cannot_be_had(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, code: int
) -> None:
    """Nobody else has it: samples go on in memory, with the reason in the log, and to the disk once it can be had."""

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(call, fail)
    spool, lock = opened(path), Path(f"{path}.lock")
    append(spool, 1)
    assert (spool.in_memory, drain(spool)) == (1, [1])
    assert f"cannot write the spool: {lock}: {os.strerror(code)}. " in caplog.text
    assert lock.resolve() not in [each.resolve() for each in Path("/proc/self/fd").iterdir()]  # it is closed
    monkeypatch.undo()
    append(spool, 2)
    assert spool.in_memory == 0
    spool.close()


def test_a_directory_that_is_removed(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Removed while the daemon runs, it is made again, with all that waited and was still in the open file."""
    spool = opened(filled)
    shutil.rmtree(filled.parent)
    append(spool, 300)
    spool.close()
    assert "is damaged (removed or replaced)" in caplog.text
    assert "recovered 600 of 600 queued values" in caplog.text
    spool = opened(filled)
    assert drain(spool) == list(range(301))
    spool.close()


@pytest.mark.parametrize("put", [None, "something else"])
def test_a_journal_that_is_removed(filled: Path, caplog: pytest.LogCaptureFixture, put: str | None) -> None:
    """Removed or replaced while the daemon runs: what is in the open one is on the disk again with the next sample."""
    spool = opened(filled)
    append(spool, 300)
    journal = Path(f"{filled}-wal")
    journal.unlink()
    if put:
        journal.write_text(put)
    append(spool, 301)
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "sender.spool.messages")
    assert f"{journal} was deleted while in use; recreated without loss" in record.getMessage()
    with closing(sqlite3.connect(f"file:{filled}?mode=ro", uri=True)) as db:  # as after a kill
        assert db.execute("SELECT count(*) FROM sample").fetchone()[0] == 302
    assert read_status(str(filled))["main"].values == 604
    append(spool, 302)
    assert len(caplog.records) == 1
    assert drain(spool) == list(range(303))
    spool.close()


def test_a_file_that_is_replaced(filled: Path) -> None:
    """A file put in the place of the open one is moved aside, and what waited is delivered."""
    spool = opened(filled)
    filled.unlink()
    filled.write_text("something else")
    append(spool, 300)
    assert drain(spool) == list(range(301))
    spool.close()
    (aside,) = filled.parent.glob("spool.db.2*Z")
    assert aside.read_text() == "something else"


def test_an_outage_is_as_long_as_it_is_in_a_new_file(path: Path) -> None:
    """Where the file is removed during an outage, `status` and the next daemon still know since when it lasts, and why."""
    seconds = [0.0]
    spool = opened(path, elapsed=lambda: seconds[0])
    append(spool, 1)
    settle(spool, "main", Outcome(kept=2), "connection refused")
    since = read_status(str(path))["main"].cursor.failing_since
    seconds[0] = 500
    path.unlink()
    append(spool, 2)
    cursor = read_status(str(path))["main"].cursor
    spool.close()
    assert (cursor.failing_since, cursor.error) == (since, "connection refused")


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    """A path that leads to somebody else's database is an error, and the database is as it was."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(
        TakenError, match=r"spool\.db is a database of another program\. Give spool\.path a place of its own"
    ):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("schema", [1, 3])
def test_another_version_is_set_aside(filled: Path, caplog: pytest.LogCaptureFixture, schema: int) -> None:
    """After a downgrade the daemon runs, and what the newer one left is kept for it; so is what was before the first one."""
    with closing(sqlite3.connect(filled)) as db:
        db.execute(f"PRAGMA user_version = {schema}")
    spool = opened(filled)
    append(spool, 1)
    assert drain(spool) == [1]
    spool.close()
    assert f"is damaged (written by another version, with schema {schema} instead of 2)" in caplog.text
    assert len(list(filled.parent.glob("spool.db.2*Z"))) == 1


def test_a_place_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Samples are held in memory, delivered from there, and written as soon as there is a place for them."""
    caplog.set_level(logging.INFO)
    obstacle = tmp_path / "file"
    obstacle.touch()
    path = obstacle / "spool.db"
    spool = opened(path, "a", "b")
    append(spool, 1, 2)
    assert drain(spool, "a") == [1, 2]
    assert (spool.queued("a"), spool.queued("b"), spool.in_memory) == (0, 4, 2)
    append(spool, 3)
    obstacle.unlink()
    append(spool, 4)
    assert spool.in_memory == 0
    assert drain(spool, "a") == [3, 4]
    spool.close()
    spool = opened(path, "a", "b")
    assert drain(spool, "a") == []
    assert drain(spool, "b") == [1, 2, 3, 4]
    spool.close()
    complaint, relief, waits = (record.getMessage() for record in caplog.records)
    assert waits == f"b: 8 values queued from the previous run, oldest {moment(NOW + 1)}"
    assert f"cannot write the spool: {obstacle}: " in complaint
    assert "in memory (up to 16 MiB)" in complaint
    assert "writing the spool works again; 4 samples" in relief


def test_what_memory_holds_comes_after_what_the_file_holds(filled: Path) -> None:
    """Where the file could not be opened at the start and later can, nothing of either is lost, and the order is right."""
    away = filled.parent / "away"
    away.mkdir()
    filled.rename(away / "spool.db")
    filled.mkdir()  # a directory in the file's place cannot be opened as one
    spool = opened(filled)
    append(spool, 300, 301)
    chunk = spool.read("main", max_values=1)
    assert chunk is not None
    filled.rmdir()
    (away / "spool.db").rename(filled)
    append(spool, 302)
    spool.settle("main", chunk, Outcome(accepted=2))  # its numbers are void: it is sent again, after the older ones
    assert spool.queued("main") == 606
    assert drain(spool) == list(range(303))
    assert spool.dropped == 0
    spool.close()


def test_memory_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the disk cannot be written for too long, the oldest samples are dropped, counted and said."""
    (tmp_path / "file").touch()
    spool = opened(tmp_path / "file" / "spool.db", limits=Limits(max_age_s=1e9, max_bytes=2**28, max_memory=10_000))
    append(spool, *range(1000))
    found = drain(spool)
    assert found == list(range(found[0], 1000))
    assert 35 <= len(found) <= 45
    assert "the limit of samples in memory reached: dropping" in caplog.text
    assert spool.dropped == 2 * found[0]
    spool.close()


def test_a_spool_too_small_for_anything(path: Path) -> None:
    """Where not even one sample fits into spool.max_size, it falls out, is counted, and the next one is taken."""
    spool = opened(path, limits=Limits(max_age_s=1e9, max_bytes=1))
    append(spool, 1, 2)
    assert (drain(spool), spool.dropped, spool.trouble) == ([], 4, "")
    spool.close()


def test_a_name_too_long_to_be_renamed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damage that cannot be moved out of the way is said, and samples wait in memory."""
    path = tmp_path / f"{'spool' * 48}.db"
    path.write_bytes(b"noise" * 1000)
    path.with_name(f"{path.name}.lock").touch()  # a daemon had it
    spool = opened(path)
    append(spool, 1, 2)
    assert drain(spool) == [1, 2]
    spool.close()
    assert f"{path} is damaged and cannot be renamed: File name too long" in caplog.text
    assert path.read_bytes() == b"noise" * 1000


def test_a_file_that_goes_before_anything_was_in_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost, and nothing is said."""
    spool = opened(path)
    path.unlink()
    spool.serve(["main"], WEEK)
    append(spool, 1)
    assert drain(spool) == [1]
    spool.close()
    assert caplog.records == []
    assert path.exists()


def test_a_journal_that_is_cut_does_not_stop_it(path: Path) -> None:
    """SQLite's connection fails for ever then: the file is opened again, and what is lost is counted."""
    spool = opened(path)
    append(spool, *range(5))
    os.truncate(f"{path}-wal", 0)
    append(spool, 5, 6)
    found = drain(spool)
    assert found[-1] == 6
    assert len(found) + spool.dropped // 2 == 7
    assert spool.in_memory == 0
    spool.close()


@contextmanager
def no_room_in_files() -> Iterator[None]:
    """Let the kernel refuse every write to a file, as a broken disk would, which SQLite calls an I/O error."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_error_of_the_disk_that_passes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is opened again, is the one from before, and nothing is lost; meanwhile no other daemon may have it."""
    caplog.set_level(logging.INFO)
    spool = opened(path)
    append(spool, 1, 2, 3)
    with no_room_in_files():
        append(spool, 4, 5)
        assert spool.in_memory == 2
    with pytest.raises(TakenError):
        opened(path)
    append(spool, 6)
    assert spool.in_memory == 0
    assert drain(spool) == [1, 2, 3, 4, 5, 6]
    assert spool.dropped == 0
    spool.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_write_that_succeeded_though_it_failed(path: Path) -> None:
    """A sample that is in the file, though SQLite said that it could not write it, is delivered once."""
    spool = opened(path)
    append(spool, 1)
    with no_room_in_files():
        append(spool, 2)
    items = [Item(host="web-01", key=f"key[{n}]", value=value(4 + n), clock=NOW + 2, ns=1) for n in range(2)]
    row = Sample.of(items, last=4)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?)", (*astuple(row), row.crc))
    append(spool, 3)
    assert drain(spool) == [1, 2, 3]
    assert (spool.in_memory, spool.dropped) == (0, 0)
    spool.close()


def test_a_link_to_the_spool_is_the_spool(path: Path) -> None:
    """Two daemons do not share a spool either where one of them is given a symbolic link to it."""
    link = path.parent / "link.db"
    link.symlink_to(path)
    spool = opened(path)
    with pytest.raises(TakenError, match="is in use by process"):
        opened(link)
    spool.close()


def test_a_path_is_no_cause(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A spool in a directory whose name has words of errors behaves like any other, and gets no wrong advice."""
    said = []
    for name in ("plain", "readonly I/O full of permission, database is locked"):
        path = tmp_path / name / "spool.db"
        spool = opened(path)
        append(spool, 1)
        with no_room_in_files():
            append(spool, 2)
            assert spool.in_memory == 1
        append(spool, 3)
        assert drain(spool) == [1, 2, 3]
        spool.close()
        said.append([record.getMessage().replace(str(path), "PATH") for record in caplog.records])
        caplog.clear()
    plain, words = said
    assert plain == words
    assert len(plain) == 1
    assert "StateDirectory=" not in plain[0]


def test_advice_where_the_place_cannot_be_written(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where SQLite cannot open the file, the log says what the unit can write."""
    path.mkdir()
    opened(path).close()
    assert "Under the unit, only its StateDirectory= can be written" in caplog.text


def locked(path: Path) -> None:
    """Write a file that another connection writes."""
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path, timeout=0)) as other:
        one.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def too_long(path: Path) -> None:
    """Write more pages than a file may have."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA max_page_count = 1")
        db.execute("CREATE TABLE another (a)")


def read_only(path: Path) -> None:
    """Write a file that was opened for reading."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.execute("DELETE FROM sample")


def missing(path: Path) -> None:
    """Read a file that is not there."""
    with closing(sqlite3.connect(f"file:{path}-not?mode=ro", uri=True)) as db:
        db.execute("SELECT 1")


def no_table(path: Path) -> None:
    """Read a table whose name is the text of another error."""
    with closing(sqlite3.connect(path)) as db:
        db.execute('SELECT * FROM "database is locked"')


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (locked, BusyError),
        (too_long, FullError),
        (read_only, DeniedError),
        (missing, DeniedError),
        (no_table, SpoolError),
    ],
)
def test_errors_have_kinds(path: Path, cause: Callable[[Path], None], kind: type[SpoolError]) -> None:
    """SQLite's errors are told by its codes, and by its own texts where Python gives no code."""
    opened(path).close()
    with pytest.raises(sqlite3.OperationalError) as caught:
        cause(path)
    for error in (caught.value, sqlite3.OperationalError(str(caught.value))):
        with pytest.raises(SpoolError) as ours, reading(str(path)):
            raise error
        assert type(ours.value) is kind


def test_an_error_keeps_nothing(tmp_path: Path) -> None:
    """When an error of the disk was told, nothing keeps what was to be written."""
    assert_gone_when_caught(DeniedError, lambda: Database(str(tmp_path / "none" / "spool.db")))


def unreadable(path: Path) -> None:
    """Overwrite the table of destinations."""
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'destination'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))


def nonsense(path: Path) -> None:
    """Write a text where a number belongs, which SQLite takes."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE destination SET settled = 'all'")


@pytest.mark.parametrize("damage", [unreadable, nonsense])
def test_samples_are_recovered_though_nobody_knows_who_had_them(
    filled: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """Where the table of destinations is damaged, every destination gets every sample that is still in the file."""
    damage(filled)
    spool = opened(filled, "main", "other")
    append(spool, 300)
    assert drain(spool) == drain(spool, "other") == list(range(301))
    spool.close()
    assert "recovered 600 queued values" in caplog.text


def test_damage_of_the_note_alone_sends_nothing_twice(path: Path) -> None:
    """Who has got how far is read before the note, so that a destination which has got all gets nothing again."""
    spool = opened(path, "main", "slow")
    append(spool, 1, 2, 3)
    drain(spool, "main")
    spool.append(sample(4), "a note")
    drain(spool, "main")
    spool.close()
    with closing(sqlite3.connect(path)) as db:
        (page,), (size,) = (
            db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'note'").fetchone(),
            db.execute("PRAGMA page_size").fetchone(),
        )
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    with closing(opened(path, "main", "slow")) as spool:
        assert (spool.queued("main"), spool.queued("slow")) == (0, 8)
