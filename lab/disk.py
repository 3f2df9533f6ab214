"""A small disk that only the processes of a test can see: mounted in a mount namespace of its own. Needs root.

It goes, mount and all, with the last process that uses it, whatever way the test ends.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

TMPFS = 'mount -t tmpfs -o "size=$2" disk "$1"'
# Where files can be made immutable also for those who have them open; 1 KiB of an inode table is enough.
EXT4 = (
    'truncate -s "$2" "$1.image" && mkfs.ext4 -q "$1.image" && mount -o loop "$1.image" "$1" && rmdir "$1/lost+found"'
)


class Disk:
    """A file system of `size` at the directory `at`, while the context lasts; TMPFS, or EXT4."""

    def __init__(self, at: Path, size: str, kind: str = TMPFS) -> None:
        self.at = at
        self._size = size
        self._kind = kind

    def __enter__(self) -> Self:
        self.at.mkdir()
        script = f"{self._kind} && echo mounted && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", script, "sh", str(self.at), self._size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"mounted\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()

    def inside(self, *command: str | Path) -> list[str | Path]:
        """Return the command line that runs `command` where the disk is mounted."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *command]

    def run(self, *command: str | Path) -> str:
        """Return what `command` prints there; raises CalledProcessError when it fails."""
        return subprocess.run(self.inside(*command), check=True, capture_output=True, text=True).stdout

    @property
    def seen(self) -> Path:
        """The disk as this process sees it."""
        return type(self.at)(f"/proc/{self._holder.pid}/root{self.at}")

    def fill(self) -> None:
        """Leave no room on it."""
        with (self.seen / "filler").open("wb", buffering=0) as filler:
            for piece in (2**16, 2**10, 1):
                try:
                    while filler.write(bytes(piece)):
                        pass
                except OSError:
                    continue
            os.fsync(filler)

    def free(self) -> None:
        """Take back what `fill` did."""
        (self.seen / "filler").unlink()
