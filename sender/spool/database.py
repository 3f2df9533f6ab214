"""One SQLite file: the samples that wait, and how far each destination has got. Knows SQL and files; knows no policy."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sender.errors import DamagedError, FullError, SpoolError, TakenError
from sender.spool.cursors import Cursor
from sender.spool.files import FileWatch
from sender.spool.lock import Lock
from sender.spool.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MEMORY = ":memory:"
_APPLICATION_ID = 0x74637073  # "tcps", in the place where SQLite lets a file say whose it is
_SCHEMA = 2
_TABLES = (
    "CREATE TABLE sample (last INTEGER PRIMARY KEY, host TEXT, clock INTEGER, ns INTEGER, body BLOB, crc INTEGER)",
    """CREATE TABLE destination (name TEXT PRIMARY KEY, settled INTEGER, dropped INTEGER, rejected INTEGER,
    succeeded_at INTEGER, failing_since INTEGER, error TEXT, known TEXT)""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA}",
)
_FROM_1 = ("ALTER TABLE destination ADD COLUMN known TEXT NOT NULL DEFAULT ''", f"PRAGMA user_version = {_SCHEMA}")
_PRAGMAS = (
    "journal_mode = WAL",  # `status` reads while the daemon writes
    "synchronous = FULL",  # what was said to be on the disk is there after a power failure
    "wal_autocheckpoint = 64",  # pages; a journal of the usual 4 MB would take a small disk from the samples
    "journal_size_limit = 262144",  # bytes; its space goes back too
)
NEWEST = """SELECT max((SELECT coalesce(max(last), 0) FROM sample),
    (SELECT coalesce(max(settled), 0) FROM destination))"""
SINCE = "SELECT clock FROM sample WHERE last > ? ORDER BY last LIMIT 1"
_BUSY_S = 0.25  # to wait for a lock of somebody else's, while samples are due
_BROKEN = ("I/O", "readonly")  # errors after which a connection of SQLite's is of no use
_TRIM = 64  # samples to throw away at a time where the file is too large


class Database:
    """The file at `path`, locked against other daemons; MEMORY is one that lives as long as this object.

    Each method is one transaction. Raises SpoolError when the disk does not let it, DamagedError when the content makes
    no sense; the constructor also raises TakenError.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = None if path == MEMORY else Lock(path)
        self.left_by, self.left_at = (self._lock.left_by, self._lock.left_at) if self._lock else ("", 0)
        before = _bytes(path)
        self.was_empty = before == 0
        self._newest = 0  # as far as is known here
        self._is_broken = False  # SQLite's connection is of no use any more
        self._guard: FileWatch | None = None
        try:
            self._connect()
            if path != MEMORY:
                with _errors_of(path):
                    self._guard = FileWatch(path)
        except SpoolError:
            self.close()
            if before is None:  # a full disk takes an empty file, which would look like a loss at the next start
                with suppress(OSError):
                    Path(path).unlink(missing_ok=True)
            raise

    def _connect(self) -> None:
        self._disconnect()
        if self._guard:
            self._guard.forget_journal()
        with _errors_of(self.path):
            self._db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._prepare()
            if self._guard:
                self._guard.note()

    def _prepare(self) -> None:
        owner, version = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if owner != _APPLICATION_ID and self._number("SELECT count(*) FROM sqlite_master"):
            raise TakenError(f"{self.path} is a database of another program; give spool.path a place of its own")
        if version > _SCHEMA:
            raise DamagedError(f"it was written by a newer version (schema {version}; this one knows {_SCHEMA})")
        if not version:  # in a file that has it, this would be a write, which a full disk does not take
            self._db.execute("PRAGMA auto_vacuum = FULL")  # space goes back to the disk
        for pragma in _PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        if version < _SCHEMA:
            with self._transaction():
                for statement in _FROM_1 if version else _TABLES:
                    self._db.execute(statement)

    def verify(self) -> None:
        """Read the whole file; raises DamagedError unless it is sound."""
        with _errors_of(self.path):
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedError(" ".join(str(found).split()))

    @property
    def damage(self) -> str:
        """What somebody has done to the file, "" if nothing: SQLite goes on with the pages that it has in memory."""
        with _errors_of(self.path):
            return self._guard.damage if self._guard else ""

    def mend_journal(self) -> bool:
        """Where the journal was removed, bring what is in the open one into the file and begin another; whether it was."""
        if self._is_broken or not self._guard or self._guard.has_journal:
            return False
        with self._in_use():
            if self._number("PRAGMA wal_checkpoint(TRUNCATE)"):
                raise DamagedError("its journal (-wal) was removed or replaced while somebody reads it")
            self._connect()
            newest = self._number(NEWEST)
        if newest < self._newest:
            raise DamagedError("its journal (-wal) was removed or replaced")
        return True

    def newest(self) -> int:
        """The number of the newest value that was ever in the file."""
        with self._in_use():
            self._newest = self._number(NEWEST)
            return self._newest

    def progress(self) -> dict[str, Cursor]:
        """Of every destination, by name."""
        with self._in_use():
            return {row[0]: Cursor(*row) for row in self._db.execute("SELECT * FROM destination")}

    def oldest_clock(self, after: int) -> int | None:
        """The moment of the sample that follows value number `after`, s since 1970; None where there is none."""
        with self._in_use():
            found = self._db.execute(SINCE, [after]).fetchone()
            return int(found[0]) if found else None

    def read(self, after: int, *, max_values: int) -> list[Sample]:
        """The samples that follow value number `after`, oldest first: those with at most `max_values`, but at least one."""
        sql = "SELECT * FROM sample WHERE last > :after AND last <= max(:after + :max_values,"
        sql += " (SELECT last FROM sample WHERE last > :after ORDER BY last LIMIT 1)) ORDER BY last"
        with self._in_use():
            rows = self._db.execute(sql, {"after": after, "max_values": max_values}).fetchall()
        return [_checked(row) for row in rows]

    def rescue(self, after: int, *, max_bytes: int) -> Iterator[Sample]:
        """What can be read after value number `after`, oldest first: up to damage, and from the end back, to `max_bytes`."""
        for sample in self._readable("last", after):
            yield sample
            after = sample.last
        behind: list[Sample] = []
        for sample in self._readable("last DESC", after):
            max_bytes -= len(sample.body)
            if max_bytes < 0:
                break
            behind.append(sample)
        yield from reversed(behind)

    def _readable(self, order: str, after: int) -> Iterator[Sample]:
        with suppress(SpoolError), _errors_of(self.path):
            for row in self._db.execute(f"SELECT * FROM sample WHERE last > ? ORDER BY {order}", [after]):  # noqa: S608
                with suppress(DamagedError):
                    yield _checked(row)

    def save(
        self, samples: Iterable[Sample], progress: Iterable[Cursor], *, oldest_clock: float, max_bytes: int
    ) -> int:
        """Add samples, note progress, delete what every destination has settled, and what is past the limits.

        Limits: samples before `oldest_clock` (s since 1970), and the oldest of what is more than `max_bytes`. The number
        of the last value that fell to them, 0 if none did.
        """
        rows = [(*astuple(sample), sample.crc) for sample in samples]
        noted = [astuple(each) for each in progress]
        with self._in_use(), self._transaction():
            self._db.executemany("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._delete(min(each[1] for each in noted))
            trimmed = max(self._trim_age(oldest_clock), self._trim_size(max_bytes))
            self._db.execute("DELETE FROM destination")
            places = ((name, max(settled, trimmed), *others) for name, settled, *others in noted)
            self._db.executemany("INSERT INTO destination VALUES (?, ?, ?, ?, ?, ?, ?, ?)", places)
        if rows:
            self._newest = rows[-1][0]
            if self._lock:
                self._lock.note(self._newest)
        return trimmed

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Turn SQLite's errors into ours. After one that it does not get over by itself, open the file again first."""
        if self._is_broken:
            if damage := self.damage:
                raise DamagedError(damage)
            self._connect()
            with _errors_of(self.path):
                newest = self._number(NEWEST)
            if newest < self._newest:
                raise DamagedError("the newest samples in it are gone")
            self._is_broken = False
        try:
            with _errors_of(self.path):
                yield
        except SpoolError as error:
            self._is_broken = any(words in str(error) for words in _BROKEN)
            raise

    def _trim_age(self, oldest_clock: float) -> int:
        """Oldest first, up to the first sample that is young enough: a clock may have gone back in between."""
        young = "SELECT last FROM sample WHERE clock >= ? ORDER BY last LIMIT 1"
        sql = f"SELECT coalesce(max(last), 0) FROM sample WHERE last < coalesce(({young}), 9e18)"  # noqa: S608
        return self._delete(self._number(sql, oldest_clock))

    def _trim_size(self, max_bytes: int) -> int:
        page_size, trimmed = self._number("PRAGMA page_size"), 0
        while (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * page_size > max_bytes:
            oldest = "SELECT last FROM sample ORDER BY last LIMIT ?"
            last = self._number(f"SELECT coalesce(max(last), 0) FROM ({oldest})", _TRIM)  # noqa: S608
            if not last:
                break
            trimmed = self._delete(last)
        return trimmed

    def _delete(self, last: int) -> int:
        self._db.execute("DELETE FROM sample WHERE last <= ?", [last])
        return last

    def close(self) -> None:
        """Let go of the file."""
        self._disconnect()
        if self._guard:
            self._guard.close()
            self._guard = None
        if self._lock:
            self._lock.release()
            self._lock = None

    def _disconnect(self) -> None:
        with suppress(AttributeError, sqlite3.Error):  # it may never have been opened
            self._db.close()

    def _number(self, sql: str, *parameters: float) -> int:
        return int(self._db.execute(sql, parameters).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have rolled it back already
                self._db.execute("ROLLBACK")
            raise
        finally:
            if self._guard:
                self._guard.note()


@contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection]:
    """The file at `path` as it is now, for somebody who does not own it. Raises SpoolError and DamagedError."""
    with _errors_of(path), closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)) as db:
        db.execute("BEGIN")
        yield db


def _checked(row: tuple[int, str, int, int, bytes, int]) -> Sample:
    """SQLite does not notice every changed byte, and a wrong number is worse than none. Raises DamagedError."""
    last, host, clock, ns, body, crc = row
    sample = Sample(last, host, clock, ns, body)
    if not isinstance(body, bytes) or sample.crc != crc:
        raise DamagedError("a sample in it is not what was written")
    return sample


def _bytes(path: str) -> int | None:
    """How long the file is; None where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ours. OperationalError, a full disk say, is a DatabaseError too, as is real damage."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
        kind = FullError if "full" in str(error) else SpoolError  # Python 3.10 does not give SQLite's number
        raise kind(f"{path}: {error}") from error
    except sqlite3.Error as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror}") from error
