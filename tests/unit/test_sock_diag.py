"""The sampler against this machine's real kernel, as whatever user the tests run."""

from __future__ import annotations

import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lab.seccomp import CAN_REFUSE, refuse_family
from sender.errors import KernelError, RefusedError, TornError
from sender.kernel import exchange, sock_diag
from sender.kernel.exchange import Exchange
from sender.kernel.requests import BOUND_WAYS, TCPDIAG_GETSOCK, WAYS, by_family, one_walk
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOT_SERVED = by_family(socket.AF_INET, protocol=0xEE)  # the kernel refuses it: ENOENT
NO_TCP = by_family(socket.AF_UNIX)  # the kernel answers with messages that are not TCP sockets


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Yield a listening socket, so that there is one to count."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def few_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the file that says how many sockets the machine has: few, whatever else it does meanwhile."""
    sockstat = tmp_path / "sockstat"
    sockstat.write_text("TCP: inuse 5 orphan 0 tw 10 alloc 20 mem 1\n")
    monkeypatch.setattr("sender.kernel.sockstat.SOCKSTAT", sockstat)
    return sockstat


@pytest.mark.usefixtures("few_sockets")
@pytest.mark.parametrize("way", WAYS, ids=["one walk", "two walks"])
def test_a_socket_more_is_counted(way: tuple[bytes, ...], listener: socket.socket) -> None:
    """The sample has all eleven states; at least the test's own listener and its connection are in it."""
    with socket.create_connection(listener.getsockname()), listener.accept()[0]:
        snapshot = SockDiag([way]).sample()
    assert list(snapshot.states) == list(TcpState)
    assert snapshot.states[TcpState.LISTEN] >= 1
    assert snapshot.states[TcpState.ESTABLISHED] >= 2


@pytest.mark.parametrize("request_bytes", [request for way in WAYS for request in way])
def test_a_sample_does_not_walk_the_bound_ports(request_bytes: bytes) -> None:
    """No request of a sample has state bit 13, with which the kernel locks the buckets of bound ports for long."""
    (kind,) = struct.unpack_from("=H", request_bytes, 4)
    (states,) = struct.unpack_from("=I", request_bytes, 68 if kind == TCPDIAG_GETSOCK else 20)
    assert states
    assert states & ~0x1FFE == 0


@pytest.mark.usefixtures("few_sockets")
def test_a_bound_socket_is_in_close(listener: socket.socket) -> None:
    """A socket that is merely bound is counted in CLOSE and on its port, with few sockets on the machine."""
    wanted = CountedPorts(listening=True)
    with socket.socket() as bound_one:
        bound_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound_one.bind(("127.0.0.2", listener.getsockname()[1]))
        snapshot = SockDiag().sample(wanted)
        by_family_too = SockDiag(WAYS[1:]).sample(wanted)
    for each in (snapshot, by_family_too):
        assert each.states[TcpState.CLOSE] >= 1
        assert each.local_count(listener.getsockname()[1], TcpState.CLOSE) == 1


def test_close_is_unknown_where_there_are_many_sockets(few_sockets: Path) -> None:
    """Beyond the limit the sample is as good, has no CLOSE, and says so for a port too."""
    few_sockets.write_text("TCP: inuse 5 orphan 0 tw 1000 alloc 3001 mem 1\n")
    snapshot = SockDiag().sample()
    assert list(snapshot.states) == [state for state in TcpState if state != TcpState.CLOSE]
    assert snapshot.local_count(443, TcpState.CLOSE) is None
    assert snapshot.remote_count(443, TcpState.CLOSE) is None
    assert snapshot.local_count(443, TcpState.TIME_WAIT) == 0


@pytest.mark.usefixtures("few_sockets")
def test_a_kernel_that_refuses_close_alone_costs_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where asking for CLOSE fails, only CLOSE is unknown."""
    monkeypatch.setattr(sock_diag, "BOUND_WAYS", ((NOT_SERVED,), BOUND_WAYS[1]))
    assert TcpState.CLOSE in SockDiag().sample().states
    monkeypatch.setattr(sock_diag, "BOUND_WAYS", ((NOT_SERVED,), (NOT_SERVED,)))
    assert TcpState.CLOSE not in SockDiag().sample().states


@pytest.mark.usefixtures("few_sockets")
def test_what_was_counted_before_a_refusal_is_not_counted_again(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    """Where the first way to ask for CLOSE ends in an error, the next one begins at nothing."""
    whole = BOUND_WAYS[1]
    monkeypatch.setattr(sock_diag, "BOUND_WAYS", ((*whole, NOT_SERVED), whole))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        snapshot = SockDiag().sample(CountedPorts(local=frozenset({port, listener.getsockname()[1]})))
        assert snapshot.local_count(port, TcpState.CLOSE) == 1


@pytest.mark.usefixtures("few_sockets")
def test_a_kernel_before_bit_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a state that it does not know the kernel answers with no socket at all: CLOSE is 0, and nothing is an error."""
    monkeypatch.setattr(sock_diag, "BOUND_WAYS", ((one_walk(1 << 14),),))
    assert SockDiag().sample().states[TcpState.CLOSE] == 0


@pytest.mark.parametrize(("now_ns", "moment"), [(5 * 10**9 + 7, (5, 7)), (5 * 10**9, (5, 1))])
def test_the_moment_is_that_of_the_begin(now_ns: int, moment: tuple[int, int]) -> None:
    """The moment is the clock's at the begin, and ns is never 0, which Zabbix takes for none."""
    snapshot = SockDiag(time_ns=lambda: now_ns).sample()
    assert (snapshot.clock, snapshot.ns) == moment
    assert snapshot.duration_s > 0


def test_a_refusal_raises() -> None:
    """A protocol that the kernel does not serve is refused with errno, advice, and no count."""
    with pytest.raises(KernelError, match=r"\(sock_diag\): ENOENT .*modprobe tcp_diag"):
        SockDiag([[NOT_SERVED]]).sample()


def test_where_one_way_is_refused_the_next_is_taken(listener: socket.socket) -> None:
    """A kernel that does not take the one-walk request is asked for each family."""
    assert listener
    assert SockDiag([[NOT_SERVED], WAYS[1]]).sample().states[TcpState.LISTEN] >= 1


def test_one_refusal_of_two_is_a_refusal() -> None:
    """Half of the families is no sample."""
    with pytest.raises(KernelError, match="ENOENT"):
        SockDiag([[WAYS[1][0], NOT_SERVED]]).sample()


def test_a_torn_answer_is_asked_for_again(listener: socket.socket) -> None:
    """An answer that does not fit is thrown away, and the sample is that of the next attempt, moment included."""

    class Recovering:
        """A way whose first answer is torn."""

        attempts = 0

        def __iter__(self) -> Iterator[bytes]:
            self.attempts += 1
            return iter([one_walk() if self.attempts > 1 else NO_TCP])

    moments = iter([1 * 10**9, 2 * 10**9])
    left, right = socket.socketpair()
    with left, right:
        snapshot = SockDiag([Recovering()], time_ns=lambda: next(moments)).sample()
    assert listener
    assert snapshot.states[TcpState.LISTEN] >= 1
    assert snapshot.clock == 2


def test_three_torn_answers_are_an_error() -> None:
    """An answer that never fits is given up after three attempts, without trying another way."""
    moments = iter([1, 2, 3])
    left, right = socket.socketpair()
    with left, right, pytest.raises(TornError, match="unexpected message"):
        SockDiag([[NO_TCP], WAYS[0]], time_ns=lambda: next(moments)).sample()
    assert next(moments, None) is None


def test_a_silent_kernel_is_given_up() -> None:
    """A request that the kernel never answers (no NLM_F_REQUEST) ends in an error, not in waiting for ever."""
    unanswered = one_walk()[:6] + b"\0\0" + one_walk()[8:]
    with pytest.raises(KernelError, match=r"stopped answering for 0.1 s"):
        SockDiag([[unanswered]], exchange=Exchange(silence_s=0.1)).sample()


def test_an_endless_dump_is_given_up(listener: socket.socket) -> None:
    """A dump that does not come to its end in time is an error."""
    assert listener
    with pytest.raises(KernelError, match=r"did not end within -1 s"):
        SockDiag(exchange=Exchange(endless_s=-1)).sample()


@CAN_REFUSE
def test_a_netlink_socket_that_is_forbidden() -> None:
    """Where the socket itself cannot be had (systemd's RestrictAddressFamilies), nobody says that the kernel refused."""

    def sample() -> KernelError:
        refuse_family(socket.AF_NETLINK, errno.EPERM)
        with pytest.raises(KernelError) as raised:
            SockDiag().sample()
        return raised.value

    with ThreadPoolExecutor(1) as thread:  # the filter holds for the one thread that sets it
        error = thread.submit(sample).result()
    assert not isinstance(error, RefusedError)
    assert error.found.startswith("opening a netlink socket failed before the kernel was asked: EPERM (")
    assert "SystemCallFilter=" in error.advice


class Bare(socket.socket):
    """A socket of a platform that takes no option in the layout of another."""

    def setsockopt(self, *_: object) -> None:
        """Answer as a 32-bit kernel with 64-bit time does to a timeval of two longs."""
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_no_layout_of_the_platform_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample takes no socket option, whose number and struct differ between platforms (32 bits with 64-bit time)."""
    monkeypatch.setattr(exchange, "socket", Bare)
    assert sum(SockDiag().sample().states.values()) > 0


def test_a_limit_that_the_kernel_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where /proc/sys is hidden, as in some containers, the limit of TIME_WAIT is unknown, and the sample as good."""
    monkeypatch.setattr(sock_diag, "TIME_WAIT_LIMIT", tmp_path / "none")
    assert SockDiag().sample().time_wait_limit is None
