"""One daemon per spool: an flock(2) on a file beside it, which the kernel ends with the process. Knows nothing of SQL."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from sender.errors import TakenError
from sender.spool.files import is_at, is_foreign, spool_error


def daemon_of(path: str) -> int | None:
    """Return the process that holds the lock on the spool at `path`, without touching the lock (proc_locks(5))."""
    with suppress(OSError, ValueError, IndexError):
        lock = Path(_lock_path(path))
        stat, noted = lock.stat(), lock.read_text().split()[0]
        device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, *_, pid, file, _, _ = line.split()
            # Some file systems show another device there; a daemon in a container has another number for itself.
            if kind == "FLOCK" and (
                file == f"{device}:{stat.st_ino}" or (file.endswith(f":{stat.st_ino}") and pid == noted)
            ):
                return int(pid)
    return None


def is_anothers(path: str) -> bool:
    """Return whether the file at `path` is none of SQLite's, and no daemon ever had it: then its lock would still be there."""
    return is_foreign(path) and not os.path.exists(_lock_path(path))  # noqa: PTH110


def _lock_path(path: str) -> str:
    return f"{os.path.realpath(path)}.lock"  # one lock for one file, whatever links lead to it


class Lock:
    """The lock on the spool at `path`.

    `left_by` is the process that held it last, "" if that one shut down cleanly, and `noted` what was noted last.
    Raises TakenError when another process holds it, SpoolError when there cannot be one.
    """

    def __init__(self, path: str) -> None:
        self._path = _lock_path(path)
        try:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise spool_error(str(error.filename), error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.pread(self._file, 40, 0).split()
        except BlockingIOError as error:
            os.close(self._file)
            raise TakenError(
                f"spool {path} is in use by process {daemon_of(path) or 'unknown'}: a tcp-status-sender runs already",
                advice="Stop that one, or give this one a host and a spool.path of its own.",
            ) from error
        except OSError as error:  # of a file system without locks, say, or of a disk that cannot be read
            os.close(self._file)
            raise spool_error(self._path, error) from error
        self.left_by = found[0].decode(errors="replace") if found else ""
        self.noted = int(found[1]) if len(found) > 1 and found[1].isdigit() else 0
        self.note(self.noted)
        with suppress(OSError):
            os.fsync(self._file)

    @property
    def is_in_place(self) -> bool:
        """Return whether the next daemon would meet this lock; not so after its directory was removed."""
        return is_at(self._path, os.fstat(self._file))

    def note(self, number: int) -> None:
        """Record the number of the newest value on the disk, for the next daemon if this one is killed."""
        self.noted = number
        with suppress(OSError):  # the lock holds; that a full disk has no room for this matters little
            os.pwrite(self._file, b"%-10d %-20d\n" % (os.getpid(), number), 0)

    def release(self) -> None:
        """Release the lock, and record that this daemon shut down cleanly."""
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)
