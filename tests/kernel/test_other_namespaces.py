"""Sockets in other network namespaces, through the real helper: exactly theirs, by name, and the host's own whatever happens."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND
from lab.namespace import Namespace
from lab.watched_daemon import wait_until
from sender.kernel.namespace_link import NamespaceLink
from sender.kernel.other_namespaces import NamespaceCounts, OtherNamespaces
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOLD = """
import ctypes, json, socket, subprocess, sys
name, count = sys.argv[1], int(sys.argv[2])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 80))
clients = [socket.create_connection(("127.0.0.1", 80)) for _ in range(count)]
accepted = [server.accept()[0] for _ in clients]
for each in accepted[:2]:
    each.close()
open("/proc/self/comm", "w").write(name)
print(json.dumps({}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a helper that listens at `tmp_path/helper`."""
    with subprocess.Popen([COMMAND, "namespaces", "--listen", str(tmp_path / "helper")]) as helper:
        wait_until((tmp_path / "helper").exists, "the helper listens")
        yield helper
        helper.terminate()


def counted(others: OtherNamespaces, *names: str) -> Mapping[str, Mapping[TcpState, int]]:
    """Return what is counted, as soon as these names are among it."""
    found: Mapping[str, Mapping[TcpState, int]] = {}

    def are_there() -> bool:
        nonlocal found
        found = others.count()[0] or {}
        return found.keys() >= set(names)

    wait_until(are_there, f"the helper has told of {names}")
    return found


def held(name: str, count: int) -> Namespace:
    """Return a namespace of a process of that name, with so many connections of which two are in CLOSE_WAIT."""
    return Namespace((sys.executable, "-c", HOLD, name, str(count)))


def test_each_namespace_has_its_own_sockets(helper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """By the name of the process in it, those of one name together; a helper that is killed ends them, not the caller."""
    others = OtherNamespaces(NamespaceLink(tmp_path / "helper"), budget_s=20)
    with ExitStack() as stack:
        for name, count in (("nsone", 5), ("nstwo", 7), ("nstwo", 4)):
            stack.enter_context(held(name, count))
        found = counted(others, "nsone", "nstwo")
        for name, connections, listeners in (("nsone", 5, 1), ("nstwo", 11, 2)):
            closed = 2 * listeners  # by one side each
            assert found[name][TcpState.ESTABLISHED] == 2 * (connections - closed)
            assert (found[name][TcpState.CLOSE_WAIT], found[name][TcpState.FIN_WAIT2]) == (closed, closed)
            assert found[name][TcpState.LISTEN] == listeners
            assert TcpState.CLOSE not in found[name]
        helper.send_signal(signal.SIGKILL)
        helper.wait()
        assert others.count() == NamespaceCounts(None)
        assert others.trouble
    others.close()


DROP = """
import json, os, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
servers = [socket.create_server(("127.0.0.1", port), backlog=1) for port in (80, 81)]
clients = [socket.socket() for _ in range(12)]
for number, client in enumerate(clients):
    client.setblocking(False)
    client.connect_ex(servers[number % 3 == 0].getsockname())
open("/proc/self/comm", "w").write("nsdrops")
print(json.dumps({"pid": os.getpid()}), flush=True)
sys.stdin.read()
"""


def test_requests_dropped_in_a_namespace(helper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """They are those of all its listeners together, as `ss` has them."""
    assert helper.poll() is None
    others = OtherNamespaces(NamespaceLink(tmp_path / "helper"), budget_s=20)
    with Namespace((sys.executable, "-c", DROP)) as namespace:
        counted(others, "nsdrops")
        within = ["nsenter", f"--net=/proc/{namespace.report['pid']}/ns/net", "ss", "-Hltnm"]

        def dropped() -> int:
            said = subprocess.run(within, check=True, capture_output=True, text=True).stdout
            each = [int(number) for number in re.findall(r"skmem:\(\S*,d(\d+)\)", said)]
            assert len(each) == 2
            return sum(each)

        def is_as_ss_says() -> bool:  # clients ask again meanwhile
            before, found, after = dropped(), others.count().drops["nsdrops"], dropped()
            return before == found == after > 0

        wait_until(is_as_ss_says, "the figure is that of ss")
    others.close()


def test_a_namespace_that_ends_is_let_go(helper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """When its last process is gone it leaves the figures, and nothing of ours keeps it."""
    assert helper.poll() is None
    link = NamespaceLink(tmp_path / "helper")
    others = OtherNamespaces(link, budget_s=20)
    with held("nsends", 3):
        assert "nsends" in counted(others, "nsends")

    def is_gone() -> bool:
        found = others.count().states
        return found is not None and "nsends" not in found

    wait_until(is_gone, "the helper says that it is gone")
    assert "nsends" not in {each.name for each in link.held.values()}
    others.close()


def test_a_dump_that_was_broken_off_disturbs_no_later_one(helper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """What is left of an answer in the socket is read away before the next request."""
    assert helper.poll() is None
    link = NamespaceLink(tmp_path / "helper")
    others = OtherNamespaces(link, budget_s=20)
    with held("nsbroken", 6):
        first = counted(others, "nsbroken")["nsbroken"]
        (sock,) = (each.sock for each in link.held.values() if each.name == "nsbroken")
        from sender.kernel.requests import one_walk  # noqa: PLC0415  for this test alone

        sock.settimeout(5)
        sock.sendto(one_walk(), (0, 0))
        assert sock.recv(65536, socket.MSG_PEEK)
        assert (others.count()[0] or {})["nsbroken"] == first
    others.close()


DAEMON = """
mount -t tmpfs none /run
{command} namespaces --listen /run/tcp-status-sender-namespaces.sock & helper=$!
until test -S /run/tcp-status-sender-namespaces.sock; do :; done
for _ in 1 2 3 4 5 6 7 8 9 10; do  # on a busy machine the helper may not have told of all in time for the first
    said=$({command} run --dry-run --once --config {config})
    case $said in *'CLOSE_WAIT,nsdaemon'*) break;; esac
done
echo "$said"
kill $helper
{command} run --dry-run --once --config {config}
"""


def test_the_daemon_reports_them(tmp_path: Path) -> None:
    """Discovery names a namespace, and its values are its own; without the helper the host's go on, and the log says why."""
    config = tmp_path / "config.yaml"
    config.write_text("namespaces: {report: true, states: [CLOSE_WAIT]}\nports: {listening: false}\n")
    with held("nsdaemon", 3):
        script = DAEMON.format(command=COMMAND, config=config)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=True, timeout=60
        )
    first, second = (json.loads(line)["data"] for line in done.stdout.splitlines())
    values = {value["key"]: value["value"] for value in first}
    assert {"{#NETNS}": "nsdaemon"} in json.loads(values["tcp.netns.discovery"])
    assert values["tcp.netns.status[CLOSE_WAIT,nsdaemon]"] == "2"
    assert not [value for value in second if value["key"].startswith("tcp.netns.")]
    assert "tcp.status[TOTAL]" in {value["key"] for value in second}
    assert done.stderr.count("other network namespaces are not counted: ") == 1
