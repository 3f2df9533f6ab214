"""What the helper calls the containers of a real Docker. Needs root and Debian's docker.io, whose daemon runs here for the test alone."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND
from lab.handed_over import HandedOver, network_namespace
from lab.watched_daemon import Daemon, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

# Over directories of its own: nothing of it stays behind, and no other Docker of this machine is touched.
PLACE = 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && exec "$@"'
DOCKERD = ["dockerd", "--host", "unix:///run/docker.sock", "--iptables=false", "--ip6tables=false", "--bridge=none"]
IMAGE = """
mkdir -p /run/image/bin && cp /bin/busybox /run/image/bin/ && ln -s busybox /run/image/bin/sleep
tar -C /run/image -c . | docker import - tiny
"""


class Docker:
    """A Docker that runs; what it is told is said within its mounts."""

    def __init__(self, pid: int) -> None:
        self._inside = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", "env", "DOCKER_HOST=unix:///run/docker.sock"]

    def run(self, *command: str) -> str:
        """Return what a command prints."""
        return subprocess.run([*self._inside, *command], check=True, capture_output=True, text=True).stdout.strip()

    def start(self, name: str, network: str) -> tuple[str, int]:
        """Start a container; return its id, and the process in it."""
        container = self.run("docker", "run", "--detach", "--name", name, "--network", network, "tiny", "sleep", "600")
        return container, self.process(name)

    def process(self, name: str) -> int:
        """Return the process of a container."""
        return int(self.run("docker", "inspect", "--format", "{{.State.Pid}}", name))

    def helper(self, path: Path) -> list[str]:
        """Return the command line of a helper that sees this Docker's files."""
        return [*self._inside, str(COMMAND), "namespaces", "--listen", str(path)]


@pytest.fixture
def docker() -> Iterator[Docker]:
    """Yield one with an image `tiny`; its containers end with it."""
    daemon = Daemon(["unshare", "--mount", "sh", "-c", PLACE, "sh", *DOCKERD, "--storage-driver=vfs"])
    try:
        daemon.until("API listen on")
        docker = Docker(daemon.process.pid)
        docker.run("sh", "-ec", IMAGE)
        yield docker
        docker.run("sh", "-c", "docker rm --force $(docker ps --all --quiet)")
    finally:
        daemon.stop()
        for place in Path("/sys/fs/cgroup").glob("*/docker"):
            with suppress(OSError):  # another Docker's
                place.rmdir()


def test_containers_have_their_names(docker: Docker, tmp_path: Path) -> None:
    """One with a network of its own by its namespace, over a restart and a new name; one on the host's network by its id."""
    _, shop = docker.start("shop", "none")
    proxy, _ = docker.start("proxy", "host")
    helper = Daemon(docker.helper(tmp_path / "helper"))
    try:
        wait_until((tmp_path / "helper").exists, "the helper listens")

        def told() -> HandedOver:
            with HandedOver(tmp_path / "helper") as client:
                return client.hear_list()

        assert told().names[network_namespace(shop)] == "shop"
        assert told().on_host == {proxy: "proxy"}
        docker.run("docker", "restart", "--time", "0", "shop")
        again = network_namespace(docker.process("shop"))
        wait_until(lambda: told().names.get(again) == "shop", "the name after a restart")
        docker.run("docker", "rename", "shop", "store")
        wait_until(lambda: told().names.get(again) == "store", "the new name")
    finally:
        helper.stop()
