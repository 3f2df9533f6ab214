"""Own network namespaces, each living exactly as long as the holder process inside it. Needs root.

A holder is any program that sets its namespace up, prints one line of JSON when that is done, and ends when its
standard input closes. So nothing is left over, whatever way the test ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

T = TypeVar("T")

EMPTY = (sys.executable, "-c", "import sys; print('{}', flush=True); sys.stdin.read()")
LOOPBACK = ("sh", "-ec", """ip link set lo up; echo "{\\"pid\\": $$}"; exec cat""")
"""A holder of a namespace that has nothing but loopback; it reports the process by which `entered` finds it."""

ANY_MACHINE = "from sender.kernel import bound; bound.SOCKETS_LIMIT = 2**31\n"
"""Code that comes before a sample which must have CLOSE: sockets in other namespaces could be too many for it."""


class Namespace:
    """A network namespace of its own, set up by `holder` (a command line); `report` is the JSON that it printed."""

    def __init__(self, holder: Sequence[str] = EMPTY) -> None:
        self._holder = holder
        self.report: Any = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["unshare", "--net", *self._holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._holder[:3]} set nothing up and ended with {self._process.wait()}")
        self.report = json.loads(line)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs `command` in this namespace."""
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", "--", *command]

    def run(self, *command: str) -> str:
        """Return standard output of `command` run in this namespace; raises CalledProcessError when it fails."""
        return subprocess.run(self.inside(*command), check=True, capture_output=True, text=True).stdout

    def call(self, function: Callable[[], T]) -> T:
        """Return what `function` returns or raises, called while this thread is in this namespace."""
        with entered(self._process.pid):
            return function()


@contextmanager
def entered(pid: int) -> Iterator[None]:
    """Let this thread be in the network namespace of `pid`. A socket made meanwhile stays in there for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/proc/{pid}/ns/net").open() as there:
        if libc.setns(there.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            yield
        finally:
            libc.setns(home.fileno(), 0)
