"""A release of Debian in a folder, as .ci/debian-root makes it. Knows how to run a command there; needs root for it.

A command sees the folder as its root, and in it this machine's processes, its loopback network and, under the names
that they have here, the files of a directory that is shared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Whatever is mounted goes with the command: it is mounted in a namespace of its own. A file system in memory takes the
# place of /tmp, below which the shared directory mostly is: so nothing of it is left in the folder.
_ENTER = """
root=$1 shared=$2
shift 2
mount --rbind /proc "$root/proc"
mount -t tmpfs tmp "$root/tmp"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Where the files of a release are, and which directory its programs share with this machine."""

    root: Path = Path("/")
    shared: Path = Path("/")

    def path(self, path: str) -> Path:
        """Where a file of the release lies, as seen from here."""
        return self.root / path.lstrip("/")

    def within(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` in the release."""
        if self.root == Path("/"):
            return list(command)
        return ["unshare", "--mount", "sh", "-euc", _ENTER, "sh", str(self.root), str(self.shared), *command]

    def ids(self, user: str) -> tuple[int, int]:
        """Return the uid and gid that `user` has in the release."""
        for line in self.path("/etc/passwd").read_text().splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == user:
                return int(uid), int(gid)
        raise LookupError(f"{self.root} has no user {user}")


HERE = Release()
"""This machine."""
