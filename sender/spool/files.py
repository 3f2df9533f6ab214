"""Whether the spool's file and journal are those that were opened, with what was written; knows nothing of what is in them."""

from __future__ import annotations

import os
from contextlib import suppress

# How each of SQLite's files begins; bytes 16 and 17 are its page size, 28 to 31 how many pages it has.
# sqlite.org/fileformat.html
_MAGIC = b"SQLite format 3\0"


class FileWatch:
    """Of the file at `path`, from now on. Raises OSError where it cannot be opened.

    Its descriptor stays open as long as SQLite's: to close one would end SQLite's locks (fcntl(2)).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._bytes = 0
        self._journal: os.stat_result | None = None  # while SQLite has it open
        self.note()

    def note(self) -> None:
        """After each write of ours: shorter than now the file only becomes by another one, and the journal stays."""
        self._bytes = os.fstat(self._file).st_size
        if not self._journal:
            with suppress(OSError):
                self._journal = os.stat(f"{self._path}-wal")  # noqa: PTH116

    def forget_journal(self) -> None:
        """SQLite has closed it, and deletes it then; the next one is another."""
        self._journal = None

    @property
    def damage(self) -> str:
        """What somebody has done to the file, "" if nothing: SQLite goes on with the pages that it has in memory."""
        found = os.fstat(self._file)
        if not _is_at(self._path, found):
            return "it was removed or replaced"
        head = os.pread(self._file, 32, 0)
        page = int.from_bytes(head[16:18], "big")
        said = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
        # It says that it is shorter where somebody else has brought the journal's content into it, or VACUUMed it.
        is_whole = head.startswith(_MAGIC) and found.st_size >= min(self._bytes, said)
        return "" if is_whole else "it was cut or overwritten"

    @property
    def has_journal(self) -> bool:
        """Whether the journal that SQLite has open, if it has one, is still in its place."""
        return not self._journal or _is_at(f"{self._path}-wal", self._journal)

    def close(self) -> None:
        """Let go of it, after SQLite has."""
        os.close(self._file)


def _is_at(path: str, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), file)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):  # where it may not be looked at, it may still be there
        return False
