"""One SQLite file: the queued samples, and how far each destination has got. Knows SQL and SQLite; knows no policy."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple
from typing import TYPE_CHECKING
from urllib.parse import quote

from sender.errors import BusyError, DamagedError, DeniedError, FullError, SpoolError, TakenError
from sender.spool.cursors import Backlog
from sender.spool.files import FileWatch, remove, size_of, spool_error
from sender.spool.rows import COLUMNS, cursor_of, moment, number, sample_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sender.spool.cursors import Cursor
    from sender.spool.sample import Sample

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
_NOTE_TABLE = "CREATE TABLE IF NOT EXISTS note (text TEXT)"
_PRAGMAS = (
    "journal_mode = WAL",  # `status` reads while the daemon writes
    "synchronous = FULL",  # what was said to be on the disk is there after a power failure
    "wal_autocheckpoint = 64",  # pages; a journal of the usual 4 MB would take a small disk from the samples
    "journal_size_limit = 262144",  # bytes; its space goes back too
)
_NEWEST = """SELECT max((SELECT coalesce(max(last), 0) FROM sample),
    (SELECT coalesce(max(settled), 0) FROM destination))"""
_SINCE = "SELECT clock FROM sample WHERE last > ? ORDER BY last LIMIT 1"
_CHUNK = """SELECT last, host, clock, ns, body, crc FROM sample WHERE last > :after AND last <= max(:after + :max_values,
    (SELECT last FROM sample WHERE last > :after ORDER BY last LIMIT 1)) ORDER BY last"""
_FORWARDS = "SELECT last, host, clock, ns, body, crc FROM sample WHERE last > ? ORDER BY last"
_TOO_OLD = """SELECT coalesce(max(last), 0) FROM sample WHERE last <
    coalesce((SELECT last FROM sample WHERE clock >= ? ORDER BY last LIMIT 1), 9e18)"""
_OLDEST = "SELECT coalesce(max(last), 0) FROM (SELECT last FROM sample ORDER BY last LIMIT ?)"
_BUSY_S = 0.25  # to wait for a lock of somebody else's, while samples are due
_TRIM = 64  # samples to drop at a time where the file is too large

# SQLite's result codes (sqlite.org/rescode.html) that have a meaning of their own, with its text for each
# (sqlite3_errstr), which is all that Python 3.10 gives.
_KINDS: dict[tuple[int, str], type[SpoolError]] = {
    (5, "database is locked"): BusyError,  # SQLITE_BUSY
    (8, "attempt to write a readonly database"): DeniedError,  # SQLITE_READONLY
    (13, "database or disk is full"): FullError,  # SQLITE_FULL
    (14, "unable to open database file"): DeniedError,  # SQLITE_CANTOPEN
}


class Database:
    """The open file at `path`; MEMORY is one that lives as long as this object.

    Each method is one transaction. Raises SpoolError: after one that is not a FullError, BusyError or DamagedError it is
    of no use any more. The constructor raises TakenError too.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        size = size_of(path)
        if size == 0:  # a full disk leaves one, and so does somebody who truncates it
            raise DamagedError("an empty file")
        self._watch: FileWatch | None = None
        self._note = ""  # in the file
        try:
            with _ErrorsOf(path):
                self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
                self._prepare()
                if path != MEMORY:
                    self._watch = FileWatch(path)
        except SpoolError:
            self.close()
            if size is None:  # a full disk takes an empty file, which would look like a loss at the next start
                remove(path)
            raise

    def _prepare(self) -> None:
        owner, version = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if owner != _APPLICATION_ID and self._number("SELECT count(*) FROM sqlite_master"):
            raise TakenError(
                f"{self.path} is a database of another program", advice="Give spool.path a place of its own."
            )
        if version not in (0, _SCHEMA):
            raise DamagedError(f"written by another version, with schema {version} instead of {_SCHEMA}")
        if not version:  # in a file that has it, this would be a write, which a full disk does not take
            self._db.execute("PRAGMA auto_vacuum = FULL")  # space goes back to the disk
        for pragma in _PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        if not version:
            with self._transaction():
                for statement in _TABLES:
                    self._db.execute(statement)

    def verify(self) -> None:
        """Read the whole file. Raises DamagedError unless it is sound."""
        with _ErrorsOf(self.path):
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedError(" ".join(str(found).split()))

    def is_whole(self) -> bool:
        """Return False where the journal was deleted: its content is in the file then, which must be opened again.

        To recover that through memory would lose what does not fit there. Raises DamagedError where it must be.
        """
        with _ErrorsOf(self.path):
            if self._watch and (damage := self._watch.damage):
                raise DamagedError(damage)
            if not self._watch or self._watch.has_journal:
                return True
            if self._number("PRAGMA wal_checkpoint(TRUNCATE)"):
                raise DamagedError("journal (-wal) removed or replaced, and another process reads it")
            return False

    def progress(self) -> tuple[int, dict[str, Cursor]]:
        """Return the number of the newest value that was ever in the file, and every destination's cursor by name."""
        with _ErrorsOf(self.path):
            newest = number(self._db.execute(_NEWEST).fetchone()[0])
            return newest, {cursor.name: cursor for cursor in cursors_in(self._db)}

    def note(self) -> str:
        """Return the note that was saved last; empty for none."""
        with _ErrorsOf(self.path):
            self._note = note_in(self._db)
            return self._note

    def backlog(self, cursor: Cursor) -> Backlog:
        """Return what is queued for the destination of `cursor`."""
        with _ErrorsOf(self.path):
            return backlog_of(cursor, self._db)

    def read(self, after: int, *, max_values: int) -> list[Sample]:
        """Return the samples after value number `after`, oldest first: of at most `max_values`, but at least one."""
        with _ErrorsOf(self.path):
            rows = self._db.execute(_CHUNK, {"after": after, "max_values": max_values}).fetchall()
        return [sample_of(row) for row in rows]

    def readable(self, after: int, *, backwards: bool = False) -> Iterator[Sample]:
        """Return the sound samples after value number `after` up to the first that SQLite cannot read, from either end."""
        with suppress(SpoolError), _ErrorsOf(self.path):
            for row in self._db.execute(f"{_FORWARDS}{' DESC' if backwards else ''}", [after]):
                with suppress(DamagedError):
                    yield sample_of(row)

    def save(
        self, samples: Iterable[Sample], cursors: Iterable[Cursor], note: str, *, oldest_clock: float, max_bytes: int
    ) -> tuple[int, int]:
        """Add samples, write cursors and the note, delete what every destination has settled, and what is past the limits.

        Return the numbers of the last values dropped for their age and for the file's size, 0 for none.
        """
        rows = [(*astuple(sample), sample.crc) for sample in samples]
        noted = list(cursors)
        with _ErrorsOf(self.path), self._transaction():
            self._db.executemany(
                "INSERT INTO sample (last, host, clock, ns, body, crc) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            self._delete(min(cursor.settled for cursor in noted))
            by_age = self._delete(self._number(_TOO_OLD, oldest_clock))  # a clock may have gone back in between
            by_size = self._trim_size(max_bytes)
            self._db.execute("DELETE FROM destination")
            self._db.executemany(
                f"INSERT INTO destination ({COLUMNS}) VALUES (?, max(?, ?), ?, ?, ?, ?, ?, ?)",  # noqa: S608
                [(each.name, max(by_age, by_size), *astuple(each)[1:]) for each in noted],
            )
            if note != self._note:
                self._db.execute(_NOTE_TABLE)  # not one of the others: an older file has none
                self._db.execute("DELETE FROM note")
                self._db.execute("INSERT INTO note (text) VALUES (?)", [note])
        self._note = note
        return by_age, by_size

    def _trim_size(self, max_bytes: int) -> int:
        page_size, trimmed = self._number("PRAGMA page_size"), 0
        while (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * page_size > max_bytes:
            last = self._number(_OLDEST, _TRIM)
            if not last:
                break
            trimmed = self._delete(last)
        return trimmed

    def _delete(self, last: int) -> int:
        self._db.execute("DELETE FROM sample WHERE last <= ?", [last])
        return last

    def close(self) -> None:
        """Close the file."""
        with suppress(AttributeError, sqlite3.Error):  # it may never have been opened
            self._db.close()
        if self._watch:
            self._watch.close()
            self._watch = None

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
            if self._watch:
                self._watch.note()


@contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection]:
    """Open the file at `path` for somebody who does not own it. Raises SpoolError and DamagedError."""
    with _ErrorsOf(path), closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)) as db:
        db.execute("BEGIN")
        yield db


def cursors_in(db: sqlite3.Connection) -> list[Cursor]:
    """Return every destination's cursor."""
    return [cursor_of(row) for row in db.execute(f"SELECT {COLUMNS} FROM destination")]  # noqa: S608


def note_in(db: sqlite3.Connection) -> str:
    """Return the note; empty for none, and for one that is no text."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'note'").fetchone():
        return ""
    row = db.execute("SELECT text FROM note").fetchone()
    return row[0] if row and isinstance(row[0], str) else ""


def backlog_of(cursor: Cursor, db: sqlite3.Connection) -> Backlog:
    """Return what is queued for the destination of `cursor`."""
    newest, oldest = db.execute(_NEWEST).fetchone()[0], db.execute(_SINCE, [cursor.settled]).fetchone()
    since = moment(oldest[0]) if oldest else None
    return Backlog(cursor=cursor, values=number(newest) - cursor.settled, since=since)


class _ErrorsOf:
    """Turns SQLite's errors, and the kernel's, into ours while the context lasts.

    A class, as what @contextmanager makes would keep the error, and all that was to be written, until Python looks for circles.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Begin: there is nothing to do."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match error:
            case sqlite3.Error():
                kind = _kind(error)
                raise kind(str(error) if kind is DamagedError else f"{self._path}: {error}") from error
            case UnicodeDecodeError():  # of a text that is none
                raise DamagedError(f"holds a text that is none: {error.reason}") from error
            case OSError():
                raise spool_error(self._path, error) from error


def _kind(error: sqlite3.Error) -> type[SpoolError]:
    """Return what SQLite's error means. Its OperationalError, a full disk say, is a DatabaseError too, as is real damage."""
    if not isinstance(error, (sqlite3.OperationalError, sqlite3.InterfaceError)):
        return DamagedError
    code = getattr(error, "sqlite_errorcode", None)
    for (primary, text), kind in _KINDS.items():
        if text == str(error) if code is None else primary == code & 0xFF:  # the rest of the code is a detail
            return kind
    return SpoolError
