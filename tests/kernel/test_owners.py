"""Whose sockets are, in cgroups and a network namespace of the test's own, beside what `ss` says. Needs root and cgroup2."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from lab.cgroups import Cgroup, within
from lab.every_state import FAMILIES, State
from lab.namespace import LOOPBACK, Namespace
from lab.units import closed, kept
from sender.kernel import bound
from sender.kernel.requests import WAYS
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, Snapshot, TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT, OTHER_PORT = 80, 81
DEADLINE_S, POLL_S = 20, 0.002
OWNERS = CountedPorts(listening=True, owners=True)
# Processes by their cgroup, and whose each is.
PROCESSES = {
    "nginx.service": "nginx.service",
    "nginx.service/worker/1": "nginx.service",
    "system-redis.slice/redis@6379.service": "redis@6379.service",
    "by-hand": "other",
}
SS = {"ESTAB": "ESTABLISHED", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2"}  # as ss calls them
WITHOUT_CGROUP = {"TIME-WAIT", "SYN-RECV"}  # and some in FIN_WAIT2

Owners = dict[str, dict[str, int]]


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """Yield a slice of the test's own."""
    with Cgroup(".slice") as cgroup:
        yield cgroup


@pytest.fixture
def units(cgroup: Cgroup) -> Iterator[Namespace]:
    """Yield the namespace of lab/units.py; its report has the processes' ids, in the order of PROCESSES."""
    paths = [str(cgroup.make(name)) for name in PROCESSES]
    with Namespace((sys.executable, "-m", "lab.units", *paths)) as namespace:
        yield namespace


@pytest.fixture
def namespace(cgroup: Cgroup) -> Iterator[Namespace]:
    """Yield a namespace with nothing but loopback, which ends before the cgroup does."""
    assert cgroup.path.is_dir()
    with Namespace(LOOPBACK) as namespace:
        yield namespace


@pytest.fixture(autouse=True)
def _any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sockets in CLOSE counted, however many sockets there are in other namespaces."""
    monkeypatch.setattr(bound, "SOCKETS_LIMIT", 2**31)


def sampled(namespace: Namespace, sampler: SockDiag) -> Snapshot:
    """Return a sample of this namespace, which holds together: owners have all sockets, each once."""
    snapshot = namespace.call(lambda: sampler.sample(OWNERS))
    assert snapshot.owners is not None
    assert {state: sum(each.values()) for state, each in snapshot.owners.items()} == snapshot.states
    return snapshot


def owners(namespace: Namespace, sampler: SockDiag) -> Owners:
    """Return whose sockets are, by state; states without a socket are left out."""
    found = sampled(namespace, sampler).owners
    assert found
    return {state.name: dict(each) for state, each in found.items() if each}


def books() -> Owners:
    """Return whose the sockets of lab/units.py are, as they were made."""
    found: dict[State, Counter[str]] = {state: Counter() for state in State}
    for place, owner in enumerate(PROCESSES.values()):
        for family in FAMILIES:
            for state, count in kept(place, family).items():
                # TIME_WAIT is on a client's port here, on which nobody listens; SYN_RECV is on a listener's.
                found[state]["kernel" if state == State.TIME_WAIT else owner] += count
            for state, count in closed(place).items():
                found[state]["kernel" if state == State.FIN_WAIT2 else owner] += count
    return {state.name: dict(each) for state, each in found.items()}


def lines_of_ss(namespace: Namespace) -> Iterator[tuple[str, str | None, int | None]]:
    """Yield of each socket that ss shows its state, the cgroup's path and the process; None where it has none."""
    for line in namespace.run("ss", "-Htanpe").splitlines():
        path, pid = re.search(r" cgroup:(\S+)", line), re.search(r",pid=(\d+),", line)
        yield line.split()[0], path and path[1], int(pid[1]) if pid else None


@pytest.mark.parametrize("ways", [WAYS[:1], WAYS[1:]], ids=["one walk", "each family"])
def test_each_socket_is_its_units(units: Namespace, ways: Any) -> None:
    """In each state, IPv4 and IPv6, a unit has what its processes made, orphans too; cgroups below a unit are the unit's."""
    assert owners(units, SockDiag(ways)) == books()


def test_ss_says_the_same_of_each_process(units: Namespace, cgroup: Cgroup) -> None:
    """By cgroup, ss has what we have; and of the sockets that a process holds, it names that process's cgroup."""
    owner_of_pid = dict(zip(units.report, PROCESSES.values(), strict=True))
    by_cgroup: dict[str, Counter[str]] = {}
    held, orphans = 0, 0
    for name, path, pid in lines_of_ss(units):
        if path:
            owner = PROCESSES[path.removeprefix(f"/{cgroup.path.name}/")]
            by_cgroup.setdefault(SS.get(name, name.replace("-", "_")), Counter())[owner] += 1
            assert pid is None or owner_of_pid[pid] == owner
            held, orphans = held + (pid is not None), orphans + (pid is None)
        else:
            assert pid is None
            assert name in WITHOUT_CGROUP or name == "FIN-WAIT-2"
    ours = owners(units, SockDiag())
    without = {"TIME_WAIT", "SYN_RECV", "CLOSE"}  # the last is not shown
    assert by_cgroup == {
        state: Counter({owner: n for owner, n in each.items() if owner != "kernel"})
        for state, each in ours.items()
        if state not in without
    }
    assert held > orphans > 0


def listen(namespace: Namespace, cgroup: Path, port: int = PORT) -> socket.socket:
    """Return a listener that shares its port, made by a process of the cgroup."""

    def make() -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        return sock

    with within(cgroup):
        return namespace.call(make)


def connect(namespace: Namespace, cgroup: Path, port: int = PORT) -> socket.socket:
    """Return a connection to the port, made by a process of the cgroup."""
    with within(cgroup):
        return namespace.call(lambda: socket.create_connection(("127.0.0.1", port)))


def test_a_process_that_moves_leaves_its_sockets(cgroup: Cgroup, namespace: Namespace) -> None:
    """A socket is the unit's in which it was made; what the process makes after its move is the other unit's."""
    first, second = cgroup.make("first.service"), cgroup.make("second.service")
    with within(first), namespace.call(lambda: socket.create_server(("127.0.0.1", PORT))) as server:
        assert owners(namespace, SockDiag()) == {"LISTEN": {"first.service": 1}}
        with within(second), namespace.call(lambda: socket.create_server(("127.0.0.1", OTHER_PORT))):
            expected = {"LISTEN": {"first.service": 1, "second.service": 1}}
            assert owners(namespace, SockDiag()) == expected
            assert Counter(path for _, path, _ in lines_of_ss(namespace)) == {
                f"/{cgroup.path.name}/{name}": 1 for name in expected["LISTEN"]
            }
            # Even a connection that another unit's process accepts is the listener's.
            with connect(namespace, second) as client, server.accept()[0]:
                assert client.getpeername()[1] == PORT
                assert owners(namespace, SockDiag())["ESTABLISHED"] == {"first.service": 1, "second.service": 1}


def test_a_cgroup_that_is_gone(cgroup: Cgroup, namespace: Namespace) -> None:
    """Its sockets keep the name for whoever has known it, and are others' for whoever has not; one made anew is another."""
    path, sampler = cgroup.make("web.service"), SockDiag()
    with listen(namespace, path):
        assert owners(namespace, sampler) == {"LISTEN": {"web.service": 1}}
        path.rmdir()
        for _ in range(3):
            assert owners(namespace, sampler) == {"LISTEN": {"web.service": 1}}
        late = SockDiag()
        assert owners(namespace, late) == {"LISTEN": {"other": 1}}
        path.mkdir()
        with listen(namespace, path):
            for _ in range(2):
                assert owners(namespace, sampler) == {"LISTEN": {"web.service": 2}}
                assert owners(namespace, late) == {"LISTEN": {"web.service": 1, "other": 1}}
                assert owners(namespace, SockDiag()) == {"LISTEN": {"web.service": 1, "other": 1}}


def leave_time_wait(namespace: Namespace, server: socket.socket) -> None:
    """Let a connection to the server's port end from the server's side, so that what remains is on that port."""
    server.settimeout(DEADLINE_S)
    client = namespace.call(lambda: socket.create_connection(server.getsockname()))
    accepted, _ = server.accept()
    accepted.close()
    client.recv(1)
    client.close()


def test_two_units_on_one_port(cgroup: Cgroup, namespace: Namespace) -> None:
    """What has no cgroup goes to the one unit that listens on the port, of however many sockets; to none of two."""
    first, second = cgroup.make("first.service"), cgroup.make("second.service")
    nested, sampler = cgroup.make("first.service/worker"), SockDiag()
    with listen(namespace, first) as server:
        leave_time_wait(namespace, server)
        wait_for_time_wait(namespace, 1)
        assert sampled(namespace, sampler).port_owners == {PORT: "first.service"}
        assert owners(namespace, SockDiag())["TIME_WAIT"] == {"first.service": 1}
        with listen(namespace, nested):
            assert owners(namespace, SockDiag())["TIME_WAIT"] == {"first.service": 1}
        with listen(namespace, second):
            found = sampled(namespace, SockDiag())
            assert found.port_owners == {}
            assert found.owners is not None
            assert found.owners[TcpState.TIME_WAIT] == {"kernel": 1}
            assert found.owners[TcpState.LISTEN] == {"first.service": 1, "second.service": 1}
        assert owners(namespace, SockDiag())["TIME_WAIT"] == {"first.service": 1}
    # Nobody listens any more, and no socket is left that has a cgroup: owners are known all the same.
    assert owners(namespace, sampler) == {"TIME_WAIT": {"kernel": 1}}


def wait_for_time_wait(namespace: Namespace, count: int) -> None:
    """Until so many are there: the last packet of a connection is on its way yet when both programs have closed it."""
    deadline = time.monotonic() + DEADLINE_S
    while len(namespace.run("ss", "-Htan", "state", "time-wait").splitlines()) != count:
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def test_the_tree_is_read_when_an_id_is_unknown(
    cgroup: Cgroup, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most once a sample, however many are unknown, and never again for one that is not in it; not at all while all are known."""
    read: list[str] = []
    scandir = os.scandir

    def counted(path: str) -> Any:
        read.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    root = str(cgroup.path.parent)

    def reads(sampler: SockDiag) -> int:
        """Return how often a sample reads the tree: no directory more than once each time."""
        read.clear()
        sampled(namespace, sampler)
        assert set(Counter(read).values()) <= {1}
        assert (root in read) == (str(cgroup.path) in read) == bool(read)
        return read.count(root)

    sampler = SockDiag()
    paths = [cgroup.make(f"{name}.service") for name in ("first", "second", "third")]
    with listen(namespace, paths[0]), listen(namespace, paths[1]):
        assert [reads(sampler) for _ in range(3)] == [1, 0, 0]
        with listen(namespace, paths[2]):  # in the tree from the beginning
            assert reads(sampler) == 0
            gone = [cgroup.make(f"gone-{number}.service") for number in range(2)]
            with listen(namespace, gone[0]), listen(namespace, gone[1]):
                for path in gone:
                    path.rmdir()
                assert [reads(sampler) for _ in range(3)] == [1, 0, 0]
                assert owners(namespace, sampler)["LISTEN"]["other"] == 2
            assert reads(sampler) == 0
            fresh = cgroup.make("fresh.service")
            assert reads(sampler) == 0  # it has no socket
            with listen(namespace, fresh):
                assert [reads(sampler) for _ in range(2)] == [1, 0]
