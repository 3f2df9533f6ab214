"""One daemon per spool: an flock(2) on a file beside it, which the kernel ends with the process. Knows nothing of SQL."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from sender.errors import SpoolError, TakenError


def daemon_of(path: str) -> int | None:
    """The process that holds the lock on the spool at `path`, found without touching the lock (proc_locks(5))."""
    with suppress(OSError, ValueError, IndexError):
        inode = os.stat(_lock_path(path)).st_ino  # noqa: PTH116
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, *_, pid, file, _, _ = line.split()
            if kind == "FLOCK" and file.endswith(f":{inode}"):
                return int(pid)
    return None


def _lock_path(path: str) -> str:
    return f"{path}.lock"


class Lock:
    """The lock on the spool at `path`. `left_by` is the process that held it last, if that did not end in order.

    Raises TakenError when somebody else holds it, SpoolError when there cannot be one.
    """

    def __init__(self, path: str) -> None:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SpoolError(f"{error.filename}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise TakenError(
                f"spool {path} is in use by process {daemon_of(path)}: a tcp-status-sender runs already. Stop that one, "
                "or give this one a host and a spool.path of its own"
            ) from error
        self.left_by = os.pread(self._file, 20, 0).decode(errors="replace").strip()
        with suppress(OSError):  # the lock holds; that a full disk has no room for the number matters little
            os.pwrite(self._file, b"%-8d\n" % os.getpid(), 0)
            os.fsync(self._file)

    def release(self) -> None:
        """Let go of it, in order."""
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)
