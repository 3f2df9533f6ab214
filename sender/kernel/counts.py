"""Counts what the messages of a dump say of sockets: by state, port and owner, accept queues, hosts. Bytes in, counts out.

Knows `struct inet_diag_msg`; knows nothing of how a dump begins, ends or fails. Messages come in groups of one length, and are
counted in C's loops, many at a time.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import compress
from socket import htons, ntohs
from typing import TYPE_CHECKING, Any

from sender.kernel.addresses import is_loopback, plain, with_port
from sender.kernel.alike import SOCKET_LEN, Alike, Column
from sender.kernel.destinations import BoundedCounts, EphemeralCounts, UsablePorts
from sender.kernel.owner_counts import OwnerCounts, cgroup_of
from sender.kernel.port_counts import PortCounts
from sender.model import CountedPorts, Listener, TcpState

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where it stands in a message: idiag_state, idiag_sport, idiag_dport.
_STATE, _SPORT, _DPORT = 17, 20, 22
# idiag_family, idiag_state, idiag_sport, idiag_dport, idiag_src, idiag_dst, idiag_if, idiag_rqueue, idiag_wqueue. For a
# socket in LISTEN the last two are the accept queue's length and limit (inet_diag_msg_attrs_fill() and
# tcp_diag_get_info(), net/ipv4).
_ADDRESSES = "=16xBB2xHH16s16sI12xII"
_ASKED = struct.Struct("=BH16s")  # idiag_family, idiag_dport, idiag_dst
_SPECIAL = frozenset({TcpState.LISTEN, TcpState.SYN_SENT})
_LOOPBACK_DEVICE = 1  # LOOPBACK_IFINDEX, include/net/flow.h: in each network namespace


@lru_cache(maxsize=64)
def _addresses(length: int) -> struct.Struct:
    return struct.Struct(f"{_ADDRESSES}{SOCKET_LEN - struct.calcsize(_ADDRESSES)}x{length - SOCKET_LEN}s")


class SocketCounts:
    """The counts of one dump; `wanted` says for which ports. `states[n]` is the number of sockets in the kernel's state n.

    The kernel dumps the listening sockets ahead of all others (inet_diag_dump_icsk(), net/ipv4/inet_diag.c), so a port
    that is listened on is known by the time its connections come.

    With `wanted.owners`, `owners` has the sockets that have a cgroup, and with `usable` ports, `ephemeral` where connections go.
    """

    def __init__(self, wanted: CountedPorts | None = None, usable: UsablePorts | None = None) -> None:
        self._wanted = wanted = wanted or CountedPorts()
        self.states = [0] * 16
        self._local = PortCounts(wanted.local)
        self._without_owner = PortCounts(wanted.local)  # of local ports, too
        self._remote = PortCounts(wanted.remote)
        self.listeners: dict[int, Listener] = {}
        self.cgroups: dict[int, set[int]] = {}  # of the listeners, by port; 0 where the kernel does not say
        self.owners = OwnerCounts() if wanted.owners else None
        self.ephemeral = EphemeralCounts(usable.copy()) if usable else None
        self._hosts: set[tuple[int, bytes]] = set()
        self._asked = BoundedCounts()

    @classmethod
    def of_every_port(cls) -> SocketCounts:
        """Return counts that have every local port, and owners. It takes memory for each that occurs."""
        counts = cls(CountedPorts(owners=True))
        counts._local, counts._without_owner = PortCounts(every=True), PortCounts(every=True)
        return counts

    @property
    def local(self) -> dict[tuple[int, TcpState], int]:
        """Return the sockets by local port and state."""
        found, numbers, every = self._local.by_port(), self._local.numbers, self._local.every
        for place, count in self._without_owner.by_port().items():
            if every or htons(place[0]) in numbers:
                found[place] = found.get(place, 0) + count
        return found

    @property
    def without_owner(self) -> dict[tuple[int, TcpState], int]:
        """Return the sockets without a cgroup by local port and state, of ports that are listened on or wanted."""
        return self._without_owner.by_port()

    @property
    def remote(self) -> dict[tuple[int, TcpState], int]:
        """Return the sockets by remote port and state."""
        return self._remote.by_port()

    @property
    def syn_sent_hosts(self) -> int:
        """Return how many remote addresses the sockets in SYN_SENT have, one in IPv4's and in IPv6's form counted once."""
        return len({plain(family, packed) for family, packed in self._hosts})

    @property
    def destinations(self) -> dict[str, int]:
        """Return how many sockets in SYN_SENT ask each address and port."""
        found: dict[str, int] = {}
        for key, count in self._asked.counts.items():
            family, port, address = _ASKED.unpack(key)
            destination = with_port(family, address, port)
            found[destination] = found.get(destination, 0) + count
        return found

    def count(self, groups: Sequence[Alike]) -> None:
        """Count the messages of one datagram. Raises IndexError for a state above those that `states` has room for."""
        columns = [(group, group.column(_STATE)) for group in groups]
        for group, states in columns:
            one = states[:1]
            kinds = set(one) if states.count(one) == len(states) else set(states)  # mostly the first, which is faster
            for state in kinds:
                self.states[state] += states.count(state)
            if kinds & _SPECIAL:
                entries = _addresses(group.room).iter_unpack(memoryview(group.buffer)[: group.size])
                for entry in compress(entries, map(_SPECIAL.__contains__, states)):
                    self._count_special(*entry)
        for group, states in columns:
            self._count_local(group, states)
            if self._remote:
                self._remote.count_all(group.column(_DPORT), group.column(_DPORT + 1), states)
            if self.ephemeral:
                self.ephemeral.count(group)

    def _count_local(self, group: Alike, states: Column) -> None:
        local = self._local
        if self.owners:
            has_owner = self.owners.count(group, states)
            if has_owner is None:
                for each in group.one_by_one():
                    self._count_local(each, each.column(_STATE))
                return
            local = local if has_owner else self._without_owner
        if local:
            local.count_all(group.column(_SPORT), group.column(_SPORT + 1), states)

    def _count_special(
        self, family: int, state: int, sport: int, dport: int, src: bytes, dst: bytes, *more: Any
    ) -> None:
        if state == TcpState.SYN_SENT:
            self._hosts.add((family, dst))
            self._asked.add([_ASKED.pack(family, dport, dst)])
            return
        if self.ephemeral:
            self.ephemeral.usable.remove(ntohs(sport))
        if not (self._wanted.listening or self.owners or sport in self._local.numbers):
            return
        device, waiting, limit, attributes = more
        port = ntohs(sport)
        self._without_owner.add(sport)
        self.cgroups.setdefault(port, set()).add(cgroup_of(attributes))
        if self._wanted.listening or sport in self._local.numbers:
            self._local.add(sport)
            is_local = device == _LOOPBACK_DEVICE or is_loopback(family, src)
            listener = Listener(waiting=waiting, limit=limit, is_loopback=is_local)
            before = self.listeners.get(port, listener)
            fullest = max(before, listener, key=lambda each: (each.pused, each.waiting, each.limit))
            is_local &= before.is_loopback
            self.listeners[port] = Listener(waiting=fullest.waiting, limit=fullest.limit, is_loopback=is_local)
