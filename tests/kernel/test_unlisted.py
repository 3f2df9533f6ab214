"""Real sockets that no dump of TCP's lists, in network namespaces of the test's own. Needs root."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import unlisted
from lab.namespace import LOOPBACK, Namespace
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.model import Snapshot

UNLISTED = (sys.executable, str(Path(__file__).parents[2] / "lab" / "unlisted.py"))
DEADLINE_S = 20
UNHASHED = unlisted.RESET + unlisted.UNACCEPTED
OTHERS = 2  # sockets of UDP that are in no table either


@pytest.fixture(scope="module")
def crowd() -> Iterator[Namespace]:
    """Yield the namespace of lab/unlisted.py."""
    with Namespace(UNLISTED) as namespace:
        yield namespace


def sample(namespace: Namespace) -> Snapshot:
    """Return a sample taken there."""
    return namespace.call(lambda: SockDiag().sample(CountedPorts(listening=True)))


def settled(namespace: Namespace) -> Snapshot:
    """Return a sample from when the last FIN has been acknowledged, and what a program has closed is gone."""
    deadline = time.monotonic() + DEADLINE_S
    while (found := sample(namespace)).time_wait_sockets != unlisted.HALF_CLOSED or (
        (found.unhashed or 0) > UNHASHED + OTHERS
    ):
        assert time.monotonic() < deadline, (found.time_wait_sockets, found.unhashed)
        time.sleep(0.1)  # in which the kernel is done with the netlink sockets of the sample before
    return found


def test_connections_that_a_reset_has_ended_are_counted(crowd: Namespace) -> None:
    """Those that a program holds, and those that it has not accepted: in no state, on no port, and in this figure."""
    found = settled(crowd)
    assert found.unhashed is not None
    assert UNHASHED <= found.unhashed <= UNHASHED + OTHERS
    port = unlisted.PORTS[0]
    assert [found.local.get((port, state), 0) for state in TcpState] == [state == TcpState.LISTEN for state in TcpState]
    assert found.listeners[port].waiting == unlisted.UNACCEPTED


def test_other_namespaces_have_none_of_them(crowd: Namespace) -> None:
    """What one container leaks is not taken for another's or the host's."""
    settled(crowd)
    with Namespace(LOOPBACK) as namespace:
        deadline = time.monotonic() + DEADLINE_S
        while sample(namespace).unhashed != 0:  # `ip` has just had netlink sockets there
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_sockets_against_the_limit_of_time_wait(crowd: Namespace) -> None:
    """A connection that the server has closed, and the client has not, takes room there without being in TIME_WAIT."""
    found = settled(crowd)
    assert found.states[TcpState.TIME_WAIT] == 0
    assert found.states[TcpState.FIN_WAIT2] == unlisted.HALF_CLOSED == found.time_wait_sockets


def test_the_limit_holds_for_all_of_them(crowd: Namespace) -> None:
    """The kernel forgets what is over the limit, which so many sockets in FIN_WAIT2 use up; the runbook's nstat counts it."""
    settled(crowd)
    with Namespace(LOOPBACK) as namespace:
        namespace.run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=20")
        clients = namespace.call(unlisted.half_closed)
        deadline = time.monotonic() + DEADLINE_S
        while (found := sample(namespace)).time_wait_sockets != 20:
            assert time.monotonic() < deadline, found.time_wait_sockets
            time.sleep(0.01)
        assert found.states[TcpState.TIME_WAIT] == 0
        said = namespace.run("nstat", "-az", "TcpExtTCPTimeWaitOverflow").split()
        assert float(said[said.index("TcpExtTCPTimeWaitOverflow") + 1]) == unlisted.HALF_CLOSED - 20
        for client in clients:
            client.close()


def test_mptcp_is_counted_apart(crowd: Namespace) -> None:
    """What peers have closed is in CLOSE_WAIT there, while TCP's connections underneath stay established.

    A kernel without MPTCP has no figures of it.
    """
    found = settled(crowd)
    if not crowd.report["mptcp"]:
        assert found.mptcp is None
        return
    assert found.mptcp is not None
    assert found.mptcp[TcpState.CLOSE_WAIT] == unlisted.MPTCP_CLOSED
    assert found.mptcp[TcpState.ESTABLISHED] == 2 * (unlisted.MPTCP - unlisted.MPTCP_CLOSED)
    assert found.mptcp[TcpState.LISTEN] == 1
    assert found.local.get((unlisted.PORTS[1], TcpState.CLOSE_WAIT), 0) == 0
    shown = crowd.run("ss", "-HMan").split()
    assert shown.count("CLOSE-WAIT") == unlisted.MPTCP_CLOSED


def test_without_mptcp_sockets_there_are_none() -> None:
    """A namespace in which nobody uses it has 0 of each state, where the kernel has MPTCP at all."""
    with Namespace(LOOPBACK) as namespace:
        found = sample(namespace).mptcp
        assert found is None or set(found.values()) == {0}
