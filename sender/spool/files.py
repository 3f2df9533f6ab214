"""The spool's files on the disk: whether they are still those that were opened, and what becomes of damaged ones.

Knows their names, their sizes and how they begin; knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from sender.errors import DeniedError, SpoolError

# How each of SQLite's files begins; bytes 16 and 17 are its page size, 28 to 31 how many pages it has.
# sqlite.org/fileformat.html
_MAGIC = b"SQLite format 3\0"
_DENIED = (errno.EACCES, errno.EROFS)


class FileWatch:
    """A watch on the file at `path`, and on its journal, while SQLite has them open. Raises OSError.

    Its descriptor stays open as long as SQLite's: to close one would end SQLite's locks (fcntl(2)).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._bytes = 0
        self._journal: os.stat_result | None = None
        self.note()

    def note(self) -> None:
        """Record the file's size after our own write: if it is smaller later, somebody else truncated it."""
        self._bytes = os.fstat(self._file).st_size
        if not self._journal:
            with suppress(OSError):
                self._journal = os.stat(f"{self._path}-wal")  # noqa: PTH116

    @property
    def damage(self) -> str:
        """Return what somebody did to the file, "" for nothing. SQLite goes on with the pages that it has in memory."""
        found = os.fstat(self._file)
        if not is_at(self._path, found):
            return "removed or replaced"
        head = os.pread(self._file, 32, 0)
        page = int.from_bytes(head[16:18], "big")
        said = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
        # It says that it is shorter where somebody else has brought the journal's content into it, or VACUUMed it.
        is_whole = head.startswith(_MAGIC) and found.st_size >= min(self._bytes, said)
        return "" if is_whole else "truncated or overwritten"

    @property
    def has_journal(self) -> bool:
        """Return whether the journal that SQLite has open, if it has one, is still in its place."""
        return not self._journal or is_at(f"{self._path}-wal", self._journal)

    def close(self) -> None:
        """Close the descriptor, after SQLite has closed its own."""
        os.close(self._file)


def is_at(path: str, file: os.stat_result) -> bool:
    """Return whether `file` stands at `path`; True where nobody may look there."""
    try:
        return os.path.samestat(os.stat(path), file)  # noqa: PTH116
    except OSError as error:
        return not isinstance(error, (FileNotFoundError, NotADirectoryError))


def size_of(path: str) -> int | None:
    """Return how long the file at `path` is in bytes; None where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def is_foreign(path: str) -> bool:
    """Return whether there is a file that does not begin as SQLite's do, and is not empty."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError:
        return False
    return bool(head) and head != _MAGIC


def rename_damaged(path: str) -> str:
    """Add the date to the name of the file at `path`, which must be closed. Return its new name, "" where there is no file.

    Raises SpoolError.
    """
    renamed = f"{path}.{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    if not os.path.lexists(path):
        return ""
    try:
        os.replace(path, renamed)  # noqa: PTH105
        with suppress(FileNotFoundError):
            os.replace(f"{path}-wal", f"{renamed}-wal")  # noqa: PTH105  its journal belongs to it
    except OSError as error:
        raise spool_error(f"{path} is damaged and cannot be renamed", error) from error
    return renamed


def remove(path: str) -> None:
    """Delete the file at `path`, which must be closed, and its journal; leave what cannot be deleted."""
    with suppress(OSError):
        for part in (path, f"{path}-wal"):
            Path(part).unlink(missing_ok=True)


def spool_error(what: str, error: OSError) -> SpoolError:
    """Return the error of `what` that the kernel's `error` means for the spool."""
    kind = DeniedError if error.errno in _DENIED else SpoolError
    return kind(f"{what}: {error.strerror}")
