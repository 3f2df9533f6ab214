"""A folder that is the root of a system, for who installs into it and runs what is there: no systemd runs in it. Needs root.

Its files are those of this machine, or of another system in a folder, below what is written to it. The latter is kept in memory,
and is gone with the context.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.program import Program, finish

if TYPE_CHECKING:
    from typing_extensions import Self

SETUP = """
mount --make-rprivate /
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=$BELOW,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
mount --rbind /proc "$SCRATCH/root/proc"
mount --rbind /dev "$SCRATCH/root/dev"
touch "$SCRATCH/ready"
exec sleep infinity
"""


class Overlay:
    """The folder, `root`, while the context lasts. It is seen by what `beside` and `inside` run."""

    def __init__(self, scratch: Path, below: Path = Path("/")) -> None:
        self._below = below
        self._place = scratch / "overlay"
        self._log = scratch / "overlay.log"
        self.root = self._place / "root"

    def __enter__(self) -> Self:
        self._place.mkdir()
        environment = {"SCRATCH": str(self._place), "BELOW": str(self._below)}
        command = ["unshare", "--mount", "sh", "-euc", SETUP]
        self._holder = Program("overlay", command, self._log, environment=environment)
        try:
            self._holder.wait_until(lambda: self.seen(self._place / "ready").exists(), "it is mounted")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()

    def beside(self, *command: str) -> str:
        """Return what `command` of this machine prints, which sees the folder; raise StackError if it fails."""
        return finish(["nsenter", f"--target={self._holder.pid}", "--mount", *command])

    def inside(self, *command: str, user: str = "root") -> str:
        """Return what `command` of the folder prints, with the folder as its root and as a user that the folder knows."""
        return self.beside("chroot", f"--userspec={user}", str(self.root), *command)

    def path(self, inside: str) -> Path:
        """Return where a file of the folder is found from outside."""
        return self.seen(self.root / inside.lstrip("/"))

    def seen(self, path: Path) -> Path:
        """Return where `path`, as the folder's own mounts have it, is found from outside."""
        return Path(f"/proc/{self._holder.pid}/root") / str(path).lstrip("/")

    def written(self) -> list[str]:
        """Return which files have been written, and are still there."""
        upper = self.seen(self._place / "upper")
        return sorted(f"/{path.relative_to(upper)}" for path in upper.rglob("*") if path.is_symlink() or path.is_file())
