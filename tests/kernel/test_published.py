"""A listener in the cgroup of a container engine, as the real kernel tells it. Needs root and a cgroup2 that can be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.namespace import LOOPBACK, Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT, OTHER = 8088, 8089
PROXY = (
    "import socket, sys; from pathlib import Path\n"
    "Path(sys.argv[1], 'cgroup.procs').write_text('0')\n"
    "s = socket.create_server(('0.0.0.0', int(sys.argv[2]))); print(flush=True); sys.stdin.read()"
)


@pytest.fixture
def cgroups() -> Iterator[Path]:
    """Yield a place in cgroup2 that has Docker's cgroup and another service's."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    assert root is not None, "this test needs cgroup2, mounted anywhere"
    place = root / "tcp-status-sender-test"
    made = [place, place / "system.slice"]
    made += [made[1] / name for name in ("docker.service", "other.service")]
    for path in made:
        path.mkdir()
    yield place
    for path in reversed(made):
        path.rmdir()


def test_a_published_port_is_told_without_privilege(cgroups: Path) -> None:
    """Docker's listener is of scope container, and another service's is not; nobody's file descriptors are looked at."""
    code = (
        "import json\n"
        "from pathlib import Path\n"
        "from sender.kernel import engines\n"
        f"engines.ROOTS = (Path({str(cgroups)!r}),)\n"
        "from sender.kernel.sock_diag import WAYS, SockDiag\n"
        "from sender.model import CountedPorts\n"
        "samples = [SockDiag([way]).sample(CountedPorts(listening=True)) for way in WAYS]\n"
        "print(json.dumps([{port: each.scope for port, each in found.listeners.items()} for found in samples]))"
    )
    services = {PORT: "docker.service", OTHER: "other.service"}
    with Namespace(LOOPBACK) as namespace:
        listeners = [
            subprocess.Popen(
                namespace.inside(sys.executable, "-c", PROXY, str(cgroups / "system.slice" / name), str(port)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for port, name in services.items()
        ]
        try:
            for listener in listeners:
                assert listener.stdout
                assert listener.stdout.readline()
            nobody = ("setpriv", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
            said = json.loads(namespace.run(*nobody, sys.executable, "-I", "-c", code))
        finally:
            for listener in listeners:
                listener.communicate()
    assert said == [{str(PORT): "container", str(OTHER): "any"}] * 2
