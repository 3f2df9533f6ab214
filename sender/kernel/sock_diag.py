"""The kernel's TCP sockets, counted in one walk of its tables.

pyroute2 encodes the requests. The answer, one message per socket, is decoded by `dump` and `counts`, in place in one
reused buffer: an object per message costs 70 times as much. A refusal always raises, in whatever message it hides
(pyroute2's own DiagSocket shows some of them as "no sockets").
"""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_NETLINK, IPPROTO_TCP, MSG_TRUNC, SOCK_RAW, socket
from typing import TYPE_CHECKING

from sender.errors import KernelError, RefusedError, TornError
from sender.kernel.bound import BoundSockets, local_counts
from sender.kernel.counts import SocketCounts
from sender.kernel.dump import SLACK, DumpReader
from sender.kernel.engines import PublishedPorts
from sender.kernel.netlink import NETLINK_SOCK_DIAG, NLM_F_DUMP, NLM_F_REQUEST, nlmsg
from sender.kernel.refusals import refusal, socket_failure
from sender.kernel.sockstat import read_sockstat
from sender.model import CountedPorts, Snapshot, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TCPDIAG_GETSOCK = 18  # include/uapi/linux/inet_diag.h
SOCK_DIAG_BY_FAMILY = 20  # include/uapi/linux/sock_diag.h
ALL_STATES = 0x1FFE  # bits 1 to 12, include/net/tcp_states.h: up to TCP_NEW_SYN_RECV
BOUND_INACTIVE = 1 << 13  # TCP_BOUND_INACTIVE, since Linux 6.8: never with the others, see sender/kernel/bound.py
IPPROTO_MPTCP = 262  # include/uapi/linux/in.h
LISTEN_ONLY = 1 << TcpState.LISTEN
TIME_WAIT_LIMIT = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")  # of this network namespace

_ANY = bytes(48)  # struct inet_diag_sockid: whatever addresses and ports
_REQ_PROTOCOL = (
    3  # INET_DIAG_REQ_PROTOCOL, since Linux 5.9: for a protocol above the 255 that `sdiag_protocol` has room for
)
_BUFFER = 65536  # the kernel sends a dump in datagrams of at most 32 KiB: netlink_recvmsg(), net/netlink/af_netlink.c
_ATTEMPTS = 3
_TRUNCATED = int(MSG_TRUNC)  # an enum member's & is not an int's: it takes as long as receiving a datagram


class _TcpDiagReq(nlmsg):
    """`struct inet_diag_req` of linux/inet_diag.h, the older request; its dump covers IPv4 and IPv6 in one walk."""

    fields = (
        ("idiag_family", "B"),
        ("idiag_src_len", "B"),
        ("idiag_dst_len", "B"),
        ("idiag_ext", "B"),
        ("id", "48s"),  # struct inet_diag_sockid
        ("idiag_states", "I"),
        ("idiag_dbs", "I"),
    )


class _InetDiagReq(nlmsg):
    """`struct inet_diag_req_v2` of linux/inet_diag.h, of one address family; pyroute2's own comes with its sockets."""

    fields = (
        ("sdiag_family", "B"),
        ("sdiag_protocol", "B"),
        ("idiag_ext", "B"),
        ("__pad", "B"),
        ("idiag_states", "I"),
        ("id", "48s"),  # struct inet_diag_sockid
    )


def one_walk(states: int = ALL_STATES) -> bytes:
    """Return a request for every TCP socket, IPv4 and IPv6, in these states, a bit for each."""
    return _encoded(_TcpDiagReq(), TCPDIAG_GETSOCK, states)


def by_family(family: int, protocol: int = IPPROTO_TCP, states: int = ALL_STATES) -> bytes:
    """Return a request for every socket of one address family (AF_INET, AF_INET6) in these states, a bit for each."""
    request = _InetDiagReq()
    request["sdiag_family"] = family
    is_large = protocol > 255  # noqa: PLR2004
    request["sdiag_protocol"] = 0 if is_large else protocol
    attribute = struct.pack("=HHI", 8, _REQ_PROTOCOL, protocol) if is_large else b""
    return _encoded(request, SOCK_DIAG_BY_FAMILY, states) + attribute


def _encoded(request: nlmsg, kind: int, states: int) -> bytes:
    request["id"] = _ANY
    request["idiag_states"] = states
    request["header"]["type"] = kind
    request["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
    request.encode()
    return bytes(request.data)


# The listening sockets of both families ahead of all others, as in the one walk: they say which ports to count.
_FAMILIES = [
    by_family(family, states=states)
    for states in (LISTEN_ONLY, ALL_STATES & ~LISTEN_ONLY)
    for family in (AF_INET, AF_INET6)
]
WAYS = ((one_walk(),), tuple(_FAMILIES))
"""The ways to ask, best first. Each is a series of requests whose answers are added up."""
_BOUND_IN_ONE = one_walk(BOUND_INACTIVE)
_MPTCP = tuple(by_family(family, IPPROTO_MPTCP) for family in (AF_INET, AF_INET6))
_BOUND_BY_FAMILY = tuple(by_family(family, states=BOUND_INACTIVE) for family in (AF_INET, AF_INET6))


class SockDiag:
    """Counts the sockets of the calling thread's network namespace; needs no privilege. For one thread at a time.

    `ways` are tried in order until the kernel accepts one; `time_ns` is the wall clock. A kernel that says nothing for
    `silence_s`, or that has not come to an end after `endless_s`, is an error: it answers from within recv, and a million
    sockets take about 2 s.
    """

    def __init__(
        self,
        ways: Sequence[Iterable[bytes]] = WAYS,
        *,
        time_ns: Callable[[], int] = time.time_ns,
        silence_s: float = 10.0,
        endless_s: float = 120.0,
    ) -> None:
        self._ways = ways
        self._time_ns = time_ns
        self._silence_s = silence_s
        self._endless_s = endless_s
        self._buffer = bytearray(_BUFFER + SLACK)
        self._room = [memoryview(self._buffer)[:_BUFFER]]
        self._bound = BoundSockets(self._dump_bound)
        self._published = PublishedPorts()

    def sample(self, wanted: CountedPorts | None = None) -> Snapshot:
        """Count every TCP socket by state and, for ports that are `wanted`, by port, and return the counts.

        Memory is constant, save for some bytes for each socket in SYN_SENT, whose remote addresses are to be told apart.
        Sockets in CLOSE are of at most a minute ago, or unknown (sender/kernel/bound.py); `duration_s` is without them.

        Raises KernelError when the kernel refuses every way of asking, and TornError (a KernelError) when its answer
        came to pieces three times in a row.
        """
        stat = (
            read_sockstat()
        )  # before the dumps: a netlink socket of ours still counts there for some ms after its end
        listed = self._with_bound(self._by_best_way(wanted), wanted or CountedPorts())
        mptcp = None if stat.mptcp is None else self._mptcp(stat.mptcp)
        return replace(listed, time_wait_sockets=stat.time_wait, unhashed=stat.unhashed, mptcp=mptcp)

    def _by_best_way(self, wanted: CountedPorts | None) -> Snapshot:
        *better, last = self._ways
        for way in better:
            try:
                return self._whole(way, wanted)
            except RefusedError:
                continue
        return self._whole(last, wanted)

    def _with_bound(self, snapshot: Snapshot, wanted: CountedPorts) -> Snapshot:
        """Return the snapshot with the sockets in CLOSE, which no way of asking for the others brings."""
        bound, states = self._bound.latest(), dict(snapshot.states)
        if bound is None:
            del states[TcpState.CLOSE]
            return replace(snapshot, states=states)
        states[TcpState.CLOSE] = bound.states[TcpState.CLOSE]
        local = {**snapshot.local, **local_counts(bound.local, wanted, snapshot.listeners.keys())}
        return replace(snapshot, states=states, local=local)

    def _mptcp(self, sockets: int) -> dict[TcpState, int] | None:
        """Return MPTCP's own sockets by state, of which there are so many; None where the kernel does not list them.

        The TCP connections underneath one are among TCP's own, and stay ESTABLISHED when the peer has closed it.
        """
        counts = SocketCounts()
        try:
            for request in _MPTCP if sockets else ():
                self._dump(request, counts)
        except KernelError:  # the sample itself is good
            return None
        return dict(zip(TcpState, counts.states[1:], strict=False))

    def _dump_bound(self, counts: SocketCounts) -> None:
        """Count the sockets in CLOSE. Raises KernelError."""
        try:
            self._dump(_BOUND_IN_ONE, counts)
        except RefusedError:
            for request in _BOUND_BY_FAMILY:
                self._dump(request, counts)

    def _whole(self, way: Iterable[bytes], wanted: CountedPorts | None) -> Snapshot:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._attempt(way, wanted)
            except TornError:
                continue
        return self._attempt(way, wanted)

    def _attempt(self, way: Iterable[bytes], wanted: CountedPorts | None) -> Snapshot:
        clock, ns = divmod(self._time_ns(), 1_000_000_000)
        begin = time.perf_counter()
        counts = SocketCounts(wanted)
        for request in way:
            self._dump(request, counts)
        return Snapshot(
            clock=clock,
            ns=ns or 1,  # Zabbix takes 0 for "no ns" and then numbers values by their place in the packet
            duration_s=time.perf_counter() - begin,
            states=dict(zip(TcpState, counts.states[1:], strict=False)),
            local=counts.local,
            remote=counts.remote,
            listeners=self._published.marked(counts.listeners, counts.cgroups),
            syn_sent_hosts=counts.syn_sent_hosts,
            time_wait_limit=_time_wait_limit(),
        )

    def _dump(self, request: bytes, counts: SocketCounts) -> None:
        reader = DumpReader(request, counts)
        # A socket of its own for each dump: nothing that is left of a broken one can get into the next.
        with self._open() as sock:
            try:
                self._exchange(sock, reader)
            except TimeoutError as error:
                silence = f"the kernel stopped answering for {self._silence_s:g} s in its dump of TCP sockets"
                raise KernelError(silence) from error
            except OSError as error:
                raise refusal(error.errno or 0) from error

    def _open(self) -> socket:
        """Return a netlink socket. Raises KernelError: an errno of it is no answer to a request."""
        try:
            sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG)
        except OSError as error:
            raise socket_failure("opening a netlink socket", error) from error
        # Not SO_RCVTIMEO, whose number and struct the platform decides (32 bits with 64-bit time have another). The poll()
        # that this costs before each recv cannot be measured beside what the kernel does within it.
        sock.settimeout(self._silence_s)
        return sock

    def _exchange(self, sock: socket, reader: DumpReader) -> None:
        """Send the request and read its answer to the end. Raises OSError where the kernel refuses."""
        deadline = time.monotonic() + self._endless_s
        sock.sendto(reader.request, (0, 0))
        while not reader.add(self._buffer, self._receive(sock)):
            if time.monotonic() > deadline:
                raise KernelError(f"the kernel's dump of TCP sockets did not end within {self._endless_s:g} s")

    def _receive(self, sock: socket) -> int:
        """Return the size of the next datagram, now in the buffer; 0 for one not from the kernel (netlink port 0)."""
        size, _, flags, (port, _) = sock.recvmsg_into(self._room)
        if port != 0:
            return 0
        if flags & _TRUNCATED:
            raise TornError(f"the kernel's dump of TCP sockets holds a datagram of more than {_BUFFER} bytes")
        return size


def _time_wait_limit() -> int | None:
    with suppress(OSError, ValueError):
        return int(TIME_WAIT_LIMIT.read_text())
    return None
