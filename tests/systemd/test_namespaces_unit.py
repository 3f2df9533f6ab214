"""The helper's units in a real systemd: started by its socket, shut in, and enough for what it does. Needs root."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.documents import shell
from lab.handed_over import HandedOver, network_namespace
from lab.program import POLL_S, StackError, finish
from lab.systemd import UNITS, System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGING = Path(__file__).parents[2] / "packaging"
DAEMON = "tcp-status-sender.service"
SERVICE, SOCKET = (f"tcp-status-sender-namespaces.{kind}" for kind in ("service", "socket"))
PLACE = "/run/tcp-status-sender-namespaces.sock"
LIBRARY = "Environment=LD_LIBRARY_PATH=/opt/python/lib"
PYTHON = "/opt/tcp-status-sender/bin/python"
AT_MOST = 20  # tenths, as `systemd-analyze security --threshold` wants them
# What the daemon can do with what it is given, in its own unit.
SAYS = """
import json, os, sys
from socket import AF_UNIX, SOCK_SEQPACKET, recv_fds, socket
from pathlib import Path
from sender.kernel.counts import SocketCounts
from sender.kernel.exchange import Exchange, by_best_way
from sender.kernel.requests import WAYS

class Given(Exchange):
    def _open(self):
        return given.dup()

found = {}
with socket(AF_UNIX, SOCK_SEQPACKET) as client:
    client.connect(sys.argv[1])
    while True:
        packet, descriptors, _, _ = recv_fds(client, 4096, 1)
        said = json.loads(packet or "{}")
        if "namespace" not in said:
            break
        with socket(fileno=descriptors[0]) as given:
            found[said["name"]] = by_best_way(WAYS, lambda way: Given().dump_all(way, SocketCounts())).states
said = {"uid": os.getuid(), "found": found, "last": said}
Path(os.environ["STATE_DIRECTORY"], "said.json").write_text(json.dumps(said))
"""


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Yield a systemd in which the helper is off, as installed."""
    with System(tmp_path_factory.mktemp("systemd")) as system:
        for name in (DAEMON, SERVICE, SOCKET):
            system.path(UNITS / name).write_bytes((PACKAGING / name).read_bytes())
        drop_in = system.path(UNITS / f"{SERVICE}.d")
        drop_in.mkdir()
        (drop_in / "library.conf").write_text(f"[Service]\n{LIBRARY}\n")
        system.run("systemctl", "daemon-reload")
        yield system


@pytest.fixture
def system(booted: System) -> Iterator[System]:
    """Yield it with the helper on, as docs/containers.md says."""
    for command in shell("docs/containers.md", "Turn it on"):
        booted.run("sh", "-euc", command)
    yield booted
    booted.run("journalctl", "--sync")
    sys.stdout.write(booted.run("journalctl", "--quiet", "--output=cat", f"--unit={SERVICE}"))
    booted.run("systemctl", "disable", "--now", SOCKET)
    booted.run("systemctl", "stop", SERVICE)
    booted.run("systemctl", "reset-failed")


def client(system: System) -> HandedOver:
    """Return one, of root."""
    return HandedOver(system.path(PLACE))


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until it holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


def told(system: System, served: HandedOver) -> dict[int, str]:
    """Return what a client knows, after a look that there is now, for another that is new."""
    with client(system) as another:
        another.hear_list()
    return served.hear_all().names


def test_the_unit_is_tight() -> None:
    """The exposure that systemd itself reckons is bounded."""
    finish(["systemd-analyze", "security", "--offline=true", f"--threshold={AT_MOST}", str(PACKAGING / SERVICE)])


def test_systemd_finds_nothing_to_complain_about(booted: System) -> None:
    """Where they are installed, `systemd-analyze verify` is silent."""
    command = f"systemd-analyze verify {UNITS}/{SERVICE} {UNITS}/{SOCKET} 2>&1"
    assert booted.run("sh", "-c", command) == ""


def test_it_is_off_until_somebody_wants_it(booted: System) -> None:
    """Nothing is started by the daemon's unit."""
    assert booted.show(SOCKET, "UnitFileState") == "disabled"
    assert (booted.show(SOCKET, "ActiveState"), booted.show(SERVICE, "ActiveState")) == ("inactive", "inactive")
    assert not booted.path(PLACE).exists()


def test_its_socket_starts_it(system: System) -> None:
    """Not before somebody connects; it stops with its socket, which leaves nothing behind."""
    assert (system.show(SOCKET, "ActiveState"), system.show(SERVICE, "ActiveState")) == ("active", "inactive")
    assert system.path(PLACE).stat().st_mode & 0o777 == 0o666
    with client(system) as served:
        served.hear_list()
        assert system.show(SERVICE, "ActiveState") == "active"
        system.run("systemctl", "stop", SOCKET)
        assert served.is_closed
    assert (system.show(SERVICE, "ActiveState"), system.show(SERVICE, "Result")) == ("inactive", "success")
    assert not system.path(PLACE).exists()


def test_it_has_what_it_needs_and_no_more(system: System) -> None:
    """Two capabilities, no network, nothing that it may write, no other users' secrets, 40 MB at most."""
    with client(system) as served:
        served.hear_list()
        process = system.show(SERVICE, "MainPID")
        lines = system.run("cat", f"/proc/{process}/status").splitlines()
        status = {name: " ".join(value.split()) for name, value in (line.split(":", 1) for line in lines)}
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 19 | 1 << 21  # SYS_PTRACE, SYS_ADMIN
        assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
        assert int(status["VmRSS"].split()[0]) < 40_000
        inside = ["nsenter", f"--target={process}", "--mount", "--net"]
        assert re.findall(r"^\d+: (\w+)", system.run(*inside, "ip", "-oneline", "link"), re.MULTILINE) == ["lo"]
        try_all = 'for directory; do touch "$directory/here" && echo "$directory"; done 2>/dev/null || true'
        places = ("/", "/etc", "/usr", "/var", "/var/lib", "/run", "/run/lock", "/home", "/root")
        assert system.run(*inside, "sh", "-c", try_all, "sh", *places) == ""
        with pytest.raises(StackError, match=r"Permission denied|Read-only file system"):
            system.run(*inside, "sh", "-c", "echo 0 >/proc/self/oom_score_adj")
        with pytest.raises(StackError, match="Permission denied"):
            system.run(*inside, "setpriv", "--bounding-set=-all", "cat", "/etc/shadow")


def test_namespaces_that_come_later_are_seen_and_let_go(system: System) -> None:
    """Mounts of `ip netns` reach the sandbox, and so does their end: no mount of the helper's own keeps a namespace."""
    system.run("ip", "netns", "add", "before")
    with client(system) as served:
        assert "before" in served.hear_list().names.values()
        system.run("ip", "netns", "add", "later")
        system.run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", "later")
        wait_for(lambda: "later" in told(system, served).values(), "the new namespace")
        system.run("ip", "netns", "del", "later")
        system.run("ip", "netns", "del", "before")
        wait_for(lambda: not {"later", "before"} & set(told(system, served).values()), "its end")
        wait_for(lambda: " here@" not in system.run("ip", "-oneline", "link"), "the end of its interface")


def test_a_service_with_a_network_of_its_own(system: System) -> None:
    """Processes of other users are seen, too."""
    (system.path(UNITS) / "alone.service").write_text(
        "[Service]\nType=exec\nDynamicUser=yes\nPrivateNetwork=yes\nExecStart=sleep infinity\n"
    )
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", "alone.service")
    process = system.show("alone.service", "MainPID")
    inode = int(system.run("stat", "--dereference", "--format=%i", f"/proc/{process}/ns/net"))
    with client(system) as served:
        assert served.hear_list().names[inode] == "sleep"
        assert network_namespace(system.pid) not in served.names
        own = system.run("stat", "--dereference", "--format=%i", f"/proc/{system.show(SERVICE, 'MainPID')}/ns/net")
        assert int(own) not in served.names
        system.run("systemctl", "stop", "alone.service")
        wait_for(lambda: inode not in told(system, served), "its end")


def said_in_the_daemons_sandbox(system: System) -> dict[str, Any]:
    """Return what SAYS has found as the daemon's dynamic user, in the shipped unit, with nothing taken off."""
    drop_in = system.path(UNITS / f"{DAEMON}.d")
    drop_in.mkdir(exist_ok=True)
    system.path("/etc/tcp-status-sender/says.py").write_text(SAYS)
    command = f"ExecStart={PYTHON} -I /etc/tcp-status-sender/says.py {PLACE}"
    (drop_in / "says.conf").write_text(f"[Service]\nType=oneshot\nRestart=no\n{LIBRARY}\nExecStart=\n{command}\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", DAEMON)
    said: dict[str, Any] = json.loads(system.run("cat", "/var/lib/tcp-status-sender/said.json"))
    return said


def test_the_daemon_is_served(system: System) -> None:
    """Its user exists only while it runs; in its own sandbox it connects, and counts what is listed in each namespace."""
    system.run("ip", "netns", "add", "shop")
    inside = "ip link set lo up; exec python3 -c 'import socket, time; a = socket.create_server((str(), 80)); time.sleep(999)'"
    (system.path(UNITS) / "shop.service").write_text(
        "[Service]\nNetworkNamespacePath=/run/netns/shop\n" + f'ExecStart=sh -c "{inside}"\n'
    )
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", "shop.service")
    wait_for(lambda: ":80" in system.run("ip", "netns", "exec", "shop", "ss", "-Htln"), "the listener")
    said = said_in_the_daemons_sandbox(system)
    assert 61184 <= said["uid"] <= 65519  # systemd.io/UIDS-GIDS: dynamic service users
    assert said["found"]["shop"][10] == sum(said["found"]["shop"]) == 1
    assert said["last"] == {"listed": len(said["found"])}
    # Another user connects as well, and gets nothing.
    other = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "python3", "-c"]
    code = f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect({PLACE!r}); print(s.recv(9))"
    assert system.run(*other, code) == "b''\n"
    system.run("systemctl", "stop", "shop.service")
    system.run("ip", "netns", "del", "shop")
