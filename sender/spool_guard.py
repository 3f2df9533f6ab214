"""Whether the spool's file is still the one that was opened, with what was written; knows nothing of what is in it."""

from __future__ import annotations

import os

_MAGIC = b"SQLite format 3\0"  # how each of SQLite's files begins; sqlite.org/fileformat.html


class Guard:
    """Of the file at `path`, from now on. Raises OSError where it cannot be opened.

    Its descriptor stays open as long as SQLite's: to close one would end SQLite's locks (fcntl(2)).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._bytes = 0
        self.note()

    def note(self) -> None:
        """After each write of ours: shorter than now the file only becomes by another one."""
        self._bytes = os.fstat(self._file).st_size

    @property
    def damage(self) -> str:
        """What somebody has done to the file, "" if nothing: SQLite goes on with the pages that it has in memory."""
        found = os.fstat(self._file)
        try:
            is_in_place = os.path.samestat(os.stat(self._path), found)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):  # where it may not be looked at, it may still be there
            is_in_place = False
        if not is_in_place:
            return "it was removed or replaced"
        is_whole = os.pread(self._file, len(_MAGIC), 0) == _MAGIC and found.st_size >= self._bytes
        return "" if is_whole else "it was cut or overwritten"

    def close(self) -> None:
        """Let go of it, after SQLite has."""
        os.close(self._file)
