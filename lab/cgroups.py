"""Cgroups of a test's own, in this machine's cgroup2. Needs root.

A cgroup that is gone while its sockets are there is removed by the test itself, with rmdir().
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

# Whatever becomes of the test: once the pipe from it is closed, the cgroups go, as soon as they are empty.
SWEEP = 'cat; while [ -d "$1" ]; do find "$1" -depth -type d -exec rmdir {} + || sleep 0.05; done'


class Cgroup:
    """A cgroup at `path` while the context lasts; those that are made below it go with it, once no process is in them."""

    def __init__(self, suffix: str = "") -> None:
        self.path = cgroup2() / f"tcp-status-sender-{os.getpid()}-{time.monotonic_ns()}{suffix}"

    def __enter__(self) -> Self:
        self.path.mkdir()
        self._sweeper = subprocess.Popen(
            ["sh", "-c", SWEEP, "sh", self.path],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a cgroup that is not empty yet
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._sweeper.communicate()

    def make(self, name: str) -> Path:
        """Return a new one below it, with those that are missing between."""
        path = self.path / name
        path.mkdir(parents=True)
        return path


@contextmanager
def within(path: Path) -> Iterator[None]:
    """Let this process, with all of its threads, be in a cgroup. A socket made meanwhile has that one for good."""
    line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    home = cgroup2() / line.removeprefix("0::").lstrip("/")
    (path / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text("0")


def entering(path: Path | str, *command: str) -> list[str]:
    """Return the command line that runs `command` in a cgroup; the process is the same."""
    return ["sh", "-ec", 'echo 0 >"$1"/cgroup.procs; shift; exec "$@"', "sh", str(path), *command]


def cgroup2() -> Path:
    """Where this machine has its version 2 cgroups: /sys/fs/cgroup, or, beside those of version 1, .../unified."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mountpoint, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(mountpoint)
    raise RuntimeError("no cgroup2 file system is mounted here, and this cannot be tested without one")
