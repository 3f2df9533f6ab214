"""The kernel's TCP sockets, counted in one walk of its tables.

pyroute2 encodes the requests. The answer, one message per socket, is decoded by `dump` and `counts`, in place in one
reused buffer: an object per message costs 70 times as much. A refusal always raises, in whatever message it hides
(pyroute2's own DiagSocket shows some of them as "no sockets").
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import KernelError, TornError
from sender.kernel.bound import BoundSockets, local_counts
from sender.kernel.cgroups import CgroupNames
from sender.kernel.counters import read_counters
from sender.kernel.counts import SocketCounts
from sender.kernel.engines import PublishedPorts
from sender.kernel.ephemeral import ephemeral_ports, usable_ports
from sender.kernel.exchange import Exchange, by_best_way
from sender.kernel.listeners import ListenerLooks
from sender.kernel.memory import usage
from sender.kernel.other_namespaces import OtherNamespaces
from sender.kernel.owners import cgroups_of, owners_by_state, port_owners
from sender.kernel.requests import BOUND_WAYS, LISTENER_WAYS, MPTCP, WAYS
from sender.kernel.sockstat import read_sockstat
from sender.model import CountedPorts, Snapshot, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sender.kernel.requests import Ways
    from sender.model import Look

TIME_WAIT_LIMIT = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")  # of this network namespace
_ATTEMPTS = 3


class SockDiag:
    """Counts the sockets of the calling thread's network namespace; needs no privilege. For one thread at a time.

    `ways` are tried in order until the kernel accepts one; `time_ns` is the wall clock. `exchange` asks it, `others` counts the
    machine's other network namespaces.
    """

    def __init__(
        self,
        ways: Ways = WAYS,
        *,
        time_ns: Callable[[], int] = time.time_ns,
        exchange: Exchange | None = None,
        others: OtherNamespaces | None = None,
    ) -> None:
        self._ways = ways
        self._time_ns = time_ns
        self._exchange = exchange or Exchange()
        self._bound = BoundSockets(
            lambda: by_best_way(BOUND_WAYS, lambda way: self._exchange.dump_all(way, SocketCounts.of_every_port()))
        )
        self._published = PublishedPorts()
        self._cgroups = CgroupNames()
        self._others = others or OtherNamespaces()

    def sample(self, wanted: CountedPorts | None = None) -> Snapshot:
        """Count every TCP socket by state and, for ports that are `wanted`, by port, and return the counts.

        Memory is constant, save for some bytes for each socket in SYN_SENT, whose remote addresses are to be told apart.
        Sockets in CLOSE are of at most a minute ago, or unknown (sender/kernel/bound.py); `duration_s` is without them.

        Raises KernelError when the kernel refuses every way of asking, and TornError (a KernelError) when its answer
        came to pieces three times in a row.
        """
        # Before the dumps: a netlink socket of ours still counts there for some ms after its end.
        stat = read_sockstat()
        wanted = wanted or CountedPorts()
        bound = self._bound.latest(stat.of_machine)
        listed, counts = by_best_way(self._ways, partial(self._whole, wanted=wanted))
        found = self._with_others(_with_bound(listed, bound, wanted), is_wanted=wanted.namespaces)
        found = self._with_owners(found, counts, bound)
        mptcp = None if stat.mptcp is None else self._mptcp(can_be=stat.mptcp)
        found = replace(found, time_wait_sockets=stat.time_wait, unhashed=stat.unhashed, mptcp=mptcp)
        if not wanted.counters:
            return found
        orphans, memory = usage(stat)
        return replace(found, counters=read_counters(), orphans=orphans, memory=memory)

    def _with_owners(self, snapshot: Snapshot, counts: SocketCounts, bound: SocketCounts | None) -> Snapshot:
        """Return the snapshot with the owners of its sockets, where they are wanted and can be known."""
        ids, of_bound = cgroups_of(counts), cgroups_of(bound) if bound else None
        names = None if ids is None else self._cgroups.owners(ids | (of_bound or set()), self._others.container_names)
        if names is None:
            return snapshot
        owner_of_port = port_owners(counts.cgroups, names)
        owners = owners_by_state(counts, names, owner_of_port)
        if bound:
            owners[TcpState.CLOSE] = owners_by_state(bound, names, {})[TcpState.CLOSE]
        else:
            del owners[TcpState.CLOSE]
        return replace(snapshot, owners=owners, port_owners=owner_of_port)

    def _with_others(self, snapshot: Snapshot, *, is_wanted: bool) -> Snapshot:
        """Return the snapshot with the machine's other network namespaces, where they are wanted: after the host's own sockets."""
        if not is_wanted:
            self._others.close()
            return snapshot
        found = self._others.count()
        return replace(
            snapshot,
            namespaces=found.states,
            namespace_drops=found.drops,
            uncounted=found.uncounted,
            too_large=found.too_large,
            namespace_trouble=self._others.trouble,
        )

    def _mptcp(self, *, can_be: bool) -> dict[TcpState, int] | None:
        """Return MPTCP's own sockets by state, all 0 if there can be none; None where the kernel does not list them.

        The TCP connections underneath one are among TCP's own, and stay ESTABLISHED when the peer has closed it.
        """
        try:
            counts = self._exchange.dump_all(MPTCP if can_be else (), SocketCounts())
        except KernelError:  # the sample itself is good
            return None
        return dict(zip(TcpState, counts.states[1:], strict=False))

    def _whole(self, way: Iterable[bytes], wanted: CountedPorts) -> tuple[Snapshot, SocketCounts]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._attempt(way, wanted)
            except TornError:
                continue
        return self._attempt(way, wanted)

    def _attempt(self, way: Iterable[bytes], wanted: CountedPorts) -> tuple[Snapshot, SocketCounts]:
        usable = usable_ports() if wanted.ephemeral else None
        clock, ns = divmod(self._time_ns(), 1_000_000_000)
        begin = time.perf_counter()
        counts = self._exchange.dump_all(way, SocketCounts(wanted, usable))
        snapshot = Snapshot(
            clock=clock,
            ns=ns or 1,  # Zabbix takes 0 for "no ns" and then numbers values by their place in the packet
            duration_s=time.perf_counter() - begin,
            states=dict(zip(TcpState, counts.states[1:], strict=False)),
            local=counts.local,
            remote=counts.remote,
            listeners=self._published.marked(counts.listeners, counts.cgroups),
            syn_sent_hosts=counts.syn_sent_hosts,
            time_wait_limit=_time_wait_limit(),
            ephemeral_ports=ephemeral_ports() if wanted.listening else range(0),
            destinations=counts.destinations,
            ephemeral=counts.ephemeral.worst() if counts.ephemeral else None,
        )
        return snapshot, counts


def _with_bound(snapshot: Snapshot, bound: SocketCounts | None, wanted: CountedPorts) -> Snapshot:
    """Return the snapshot with the sockets in CLOSE, which no way of asking for the others brings."""
    states = dict(snapshot.states)
    if bound is None:
        del states[TcpState.CLOSE]
        return replace(snapshot, states=states)
    states[TcpState.CLOSE] = bound.states[TcpState.CLOSE]
    local = {**snapshot.local, **local_counts(bound.local, wanted, snapshot.listeners.keys())}
    return replace(snapshot, states=states, local=local)


class Listeners:
    """Looks at the listening sockets of the calling thread's network namespace. For one thread at a time."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange or Exchange()

    def look(self) -> dict[int, Look]:
        """Return what there is to see at each port that is listened on. Raises KernelError."""
        return by_best_way(LISTENER_WAYS, lambda way: self._exchange.dump_all(way, ListenerLooks())).by_port


def _time_wait_limit() -> int | None:
    with suppress(OSError, ValueError):
        return int(TIME_WAIT_LIMIT.read_text())
    return None
