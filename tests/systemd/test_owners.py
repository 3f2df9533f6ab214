"""Whose the sockets of socket-activated services are, and what the unit's sandbox lets the daemon see of that. Needs root."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.namespace import entered
from lab.program import POLL_S, finish
from lab.systemd import UNITS, System
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, Snapshot, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "tcp-status-sender.service"
UNIT = Path(__file__).parents[2] / "packaging" / NAME
WEB, EACH, OWN = 80, 81, 8080
PYTHON = "/opt/tcp-status-sender/bin/python"
LIBRARY = "Environment=LD_LIBRARY_PATH=/opt/python/lib"
DEADLINE_S = 30
ACCEPTS = (
    "import socket; own = socket.create_server((str(), 8080)); given = socket.socket(fileno=3); "
    "all = [given.accept() for _ in range(1000)]"
)
SERVICES = {
    "web.socket": f"[Socket]\nListenStream=127.0.0.1:{WEB}\n",
    "web.service": f"[Service]\n{LIBRARY}\nExecStart={PYTHON} -c '{ACCEPTS}'\n",
    "each.socket": f"[Socket]\nListenStream=127.0.0.1:{EACH}\nAccept=yes\n",
    # Beside the connection that it is given, it has one of its own.
    "each@.service": "[Service]\nStandardInput=socket\n"
    f"ExecStart=/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{OWN}; exec cat'\n",
}
SAYS = """
import json, os, sys
from pathlib import Path
from sender.kernel.cgroups import find_root, why_unknown
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts

root = find_root()
try:
    (root or Path("/sys/fs/cgroup")).joinpath("made").mkdir()
    may_write = True
except OSError:
    may_write = False
owners = SockDiag().sample(CountedPorts(listening=True, owners=True)).owners
said = {
    "root": root and str(root),
    "why": why_unknown(),
    "may_write": may_write,
    "uid": os.getuid(),
    "owners": owners and {state.name: each for state, each in owners.items()},
}
Path(os.environ["STATE_DIRECTORY"], "said.json").write_text(json.dumps(said))
"""


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Yield a systemd that listens for two services, the first of which is started."""
    with System(tmp_path_factory.mktemp("systemd")) as system:
        for name, text in SERVICES.items():
            system.path(UNITS / name).write_text(text)
        system.path(UNITS / NAME).write_bytes(UNIT.read_bytes())
        system.run("ip", "link", "set", "lo", "up")
        system.run("systemctl", "start", "web.socket", "each.socket", "web.service")
        wait_for(lambda: sampled(system).states[TcpState.LISTEN] == 3, "the service's own listener")
        yield system


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {DEADLINE_S} s"
        time.sleep(POLL_S)


def sampled(system: System) -> Snapshot:
    """Return a sample of the systemd's network, by this machine's tree of cgroups."""
    with entered(system.pid):
        return SockDiag().sample(CountedPorts(listening=True, owners=True))


def owners(system: System, state: TcpState) -> dict[str, int]:
    """Return whose the sockets in a state are."""
    found = sampled(system).owners
    assert found is not None
    return dict(found[state])


def shown_by_ss(system: System, *arguments: str) -> Counter[str]:
    """Return how many sockets each unit's cgroup has, by ss, outside of the systemd."""
    said = finish(["nsenter", f"--net=/proc/{system.pid}/ns/net", "ss", "-Htane", *arguments])
    return Counter(path.rpartition("/")[2] for path in re.findall(r" cgroup:(\S+)", said))


@pytest.fixture
def clients(booted: System) -> Iterator[int]:
    """Yield two: so many clients does each service have, all of which it has taken."""
    with ExitStack() as stack:
        with entered(booted.pid):
            for port in (WEB, WEB, EACH, EACH):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        established = 2 * (4 + 2)
        wait_for(lambda: sampled(booted).states[TcpState.ESTABLISHED] == established, "all connections")
        yield 2
    wait_for(lambda: sampled(booted).states[TcpState.ESTABLISHED] == 0, "the end of them")


def test_a_socket_unit_is_its_service(booted: System, clients: int) -> None:
    """What systemd listens on, and what is accepted there, is the service's, as is what the service makes by itself."""
    found = sampled(booted)
    assert found.port_owners == {WEB: "web.service", EACH: "each.service", OWN: "web.service"}
    assert found.owners
    assert found.owners[TcpState.LISTEN] == {"web.service": 2, "each.service": 1}
    # Of `each`: what it was given, and what its processes made. `web` has the other end of the latter.
    expected = {"web.service": 2 * clients, "each.service": 2 * clients, "other": 2 * clients}
    assert found.owners[TcpState.ESTABLISHED] == expected
    listeners = shown_by_ss(booted, "state", "listening")
    assert listeners == {"web.socket": 1, "each.socket": 1, "web.service": 1}
    established = shown_by_ss(booted, "state", "established")
    instances = [name for name in established if re.fullmatch(r"each@\d+-127.0.0.1:81-127.0.0.1:\d+\.service", name)]
    assert len(instances) == clients
    assert {name: n for name, n in established.items() if name not in instances} == {
        "web.socket": clients,
        "each.socket": clients,
        "web.service": clients,
        "": 2 * clients,
    }


def said_in_the_sandbox(system: System) -> dict[str, Any]:
    """Return what SAYS has found where the daemon would run: in the shipped unit, as its user, with nothing taken off."""
    drop_in = system.path(UNITS / f"{NAME}.d")
    drop_in.mkdir(exist_ok=True)
    system.path("/etc/tcp-status-sender/says.py").write_text(SAYS)
    command = f"ExecStart={PYTHON} -I /etc/tcp-status-sender/says.py"
    (drop_in / "says.conf").write_text(f"[Service]\nType=oneshot\nRestart=no\n{LIBRARY}\nExecStart=\n{command}\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", NAME)
    said: dict[str, Any] = json.loads(system.run("cat", "/var/lib/tcp-status-sender/said.json"))
    return said


def test_the_sandbox_sees_the_cgroups(booted: System, clients: int) -> None:
    """The unit's user finds the machine's tree, cannot write it, and names the same owners as root does outside."""
    assert clients
    said = said_in_the_sandbox(booted)
    assert (said["root"], said["owners"]) == (None, None)  # this systemd has only a part of the machine's tree
    assert "a container that sees its own cgroups alone" in said["why"]
    # Now it has the whole one, where it is on a machine that has cgroups of version 1, too.
    place = "/sys/fs/cgroup/unified"
    finish(
        ["nsenter", f"--target={booted.pid}", "--mount", "sh", "-ec", f"mkdir {place}; mount -t cgroup2 all {place}"]
    )
    said = said_in_the_sandbox(booted)
    assert (said["root"], said["why"], said["may_write"]) == (place, None, False)
    assert 61184 <= said["uid"] <= 65519  # systemd.io/UIDS-GIDS: dynamic service users
    outside = sampled(booted).owners
    assert outside
    assert said["owners"] == {state.name: each for state, each in outside.items()}
    assert said["owners"]["LISTEN"] == {"web.service": 2, "each.service": 1}
