"""The kernel's TCP sockets, counted in one walk of its tables.

pyroute2 encodes the requests. The answer, one message per socket, is decoded by `dump` and `counts`, in place in one
reused buffer: an object per message costs 70 times as much. A refusal always raises, in whatever message it hides
(pyroute2's own DiagSocket shows some of them as "no sockets").
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import KernelError, RefusedError, TornError
from sender.kernel.bound import BoundSockets, local_counts
from sender.kernel.counters import read_counters
from sender.kernel.counts import SocketCounts
from sender.kernel.engines import PublishedPorts
from sender.kernel.exchange import Exchange
from sender.kernel.listeners import ListenerLooks
from sender.kernel.memory import read_usage
from sender.kernel.requests import BOUND_BY_FAMILY, BOUND_IN_ONE, LISTENERS_BY_FAMILY, LISTENERS_IN_ONE, MPTCP, WAYS
from sender.kernel.sockstat import read_sockstat
from sender.model import CountedPorts, Snapshot, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Look

TIME_WAIT_LIMIT = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")  # of this network namespace, as is the next one
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS = 3


class SockDiag:
    """Counts the sockets of the calling thread's network namespace; needs no privilege. For one thread at a time.

    `ways` are tried in order until the kernel accepts one; `time_ns` is the wall clock. `exchange` asks it.
    """

    def __init__(
        self,
        ways: Sequence[Iterable[bytes]] = WAYS,
        *,
        time_ns: Callable[[], int] = time.time_ns,
        exchange: Exchange | None = None,
    ) -> None:
        self._ways = ways
        self._time_ns = time_ns
        self._dump = (exchange or Exchange()).dump
        self._bound = BoundSockets(self._dump_bound)
        self._published = PublishedPorts()

    def sample(self, wanted: CountedPorts | None = None) -> Snapshot:
        """Count every TCP socket by state and, for ports that are `wanted`, by port, and return the counts.

        Memory is constant, save for some bytes for each socket in SYN_SENT, whose remote addresses are to be told apart.
        Sockets in CLOSE are of at most a minute ago, or unknown (sender/kernel/bound.py); `duration_s` is without them.

        Raises KernelError when the kernel refuses every way of asking, and TornError (a KernelError) when its answer
        came to pieces three times in a row.
        """
        # Before the dumps: a netlink socket of ours still counts there for some ms after its end.
        stat = read_sockstat()
        listed = self._with_bound(self._by_best_way(wanted), wanted or CountedPorts())
        mptcp = None if stat.mptcp is None else self._mptcp(stat.mptcp)
        found = replace(listed, time_wait_sockets=stat.time_wait, unhashed=stat.unhashed, mptcp=mptcp)
        if not wanted or not wanted.counters:
            return found
        orphans, memory = read_usage()
        return replace(found, orphans=orphans, memory=memory)

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
            for request in MPTCP if sockets else ():
                self._dump(request, counts)
        except KernelError:  # the sample itself is good
            return None
        return dict(zip(TcpState, counts.states[1:], strict=False))

    def _dump_bound(self, counts: SocketCounts) -> None:
        """Count the sockets in CLOSE. Raises KernelError."""
        try:
            self._dump(BOUND_IN_ONE, counts)
        except RefusedError:
            for request in BOUND_BY_FAMILY:
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
            counters=read_counters() if wanted and wanted.counters else {},
            time_wait_limit=_time_wait_limit(),
            ephemeral_ports=_ephemeral_ports() if wanted and wanted.listening else range(0),
        )


class Listeners:
    """Looks at the listening sockets of the calling thread's network namespace. For one thread at a time."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._dump = (exchange or Exchange()).dump

    def look(self) -> dict[int, Look]:
        """Return what there is to see at each port that is listened on. Raises KernelError."""
        looks = ListenerLooks()
        try:
            self._dump(LISTENERS_IN_ONE, looks)
        except RefusedError:
            looks = ListenerLooks()
            for request in LISTENERS_BY_FAMILY:
                self._dump(request, looks)
        return looks.by_port


def _time_wait_limit() -> int | None:
    with suppress(OSError, ValueError):
        return int(TIME_WAIT_LIMIT.read_text())
    return None


def _ephemeral_ports() -> range:
    with suppress(OSError, ValueError):
        first, last = map(int, EPHEMERAL_PORTS.read_text().split())
        return range(first, last + 1)
    return range(0)
