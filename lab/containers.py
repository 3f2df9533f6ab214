"""Podman and buildah in a world of their own: their images, containers and configuration are gone with the context. Needs root.

They see this machine's files and network, but mounts and processes are theirs. In place of this machine's cgroups, which may be
of version 1, they see those of version 2 alone, as on a host of today. Their containers are in a cgroup that is named as Podman's
own are, and see it as the root, unless they are given more. No registry is asked for anything.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cgroups import Cgroup, entering
from lab.program import ENVIRONMENT, Program, finish

if TYPE_CHECKING:
    from typing_extensions import Self

CONTAINERS_CONF = """
[containers]
# A container stays in the cgroup where it is started; limits above this machine's own are not to be had.
cgroups = "disabled"
cgroupns = "private"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
log_driver = "k8s-file"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
CGROUP = "libpod-test.scope"
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""
# The files are in memory, as an overlay is not to be had everywhere above a file system of a container's own.
SETUP = """
mount --make-rprivate /
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" /etc
mkdir -p /etc/containers /etc/tcp-status-sender
printf %s "$CONTAINERS_CONF" >/etc/containers/containers.conf
printf %s "$STORAGE_CONF" >/etc/containers/storage.conf
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/containers
mount -t tmpfs tmpfs /var/lib/containers
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
touch /run/ready
sleep infinity &
while :; do wait; done  # for what its parents have left to it, too
"""


class Engine:
    """Podman and buildah while the context lasts."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._cgroup = Cgroup(".slice")

    def __enter__(self) -> Self:
        self._cgroup.__enter__()
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        self._cgroup.make(CGROUP)
        place = self._scratch / "engine"
        place.mkdir()
        environment = {
            "SCRATCH": str(place),
            "CONTAINERS_CONF": CONTAINERS_CONF,
            "STORAGE_CONF": STORAGE_CONF,
        }
        log = self._scratch / "engine.log"
        command = ["unshare", "--mount", "sh", "-euc", SETUP]
        self._program = Program("engine", command, log, environment=environment)
        self._program.wait_until(lambda: self.path("/run/ready").exists(), "the mounts are made")

    def __exit__(self, *_: object) -> None:
        if program := getattr(self, "_program", None):
            program.kill()
        self._cgroup.__exit__()

    def path(self, inside: str) -> Path:
        """Where one of its files is found from outside."""
        return Path(f"/proc/{self._program.pid}/root") / inside.lstrip("/")

    def inside(self, script: str) -> list[str]:
        """Return the command line that runs a script for the shell there, in this repository."""
        cgroup = Path("/sys/fs/cgroup", self._cgroup.path.name, CGROUP)
        there = f"cd '{Path(__file__).parents[1]}'\n{script}"
        return self._program.beside(entering(cgroup, "sh", "-euc", there))

    def run(self, script: str) -> str:
        """Return what the script prints; raises StackError when it fails."""
        return finish(self.inside(script))

    def tried(self, script: str) -> subprocess.CompletedProcess[str]:
        """Return how the script ended, and all that it said, errors among the rest."""
        command = self.inside(f"exec 2>&1\n{script}")
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT)

    def make_base(self, release: Path, image: str) -> None:
        """Make an image of a folder made by .ci/debian-root, where pip finds packages as this machine's own does."""
        for path in ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
            if os.path.exists(path):  # noqa: PTH110  a link that leads nowhere is none
                (release / path.lstrip("/")).write_bytes(Path(path).read_bytes())
        self.run(f"tar -C '{release}' -c . | podman import --quiet - {image}")
