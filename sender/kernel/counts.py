"""Counts what the messages of a dump say of sockets: by state and port, accept queues, hosts. Bytes in, counts out.

Knows `struct inet_diag_msg`; knows nothing of how a dump begins, ends or fails. Messages of one length are counted in
C's loops, many at a time; others one by one.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import compress
from socket import AF_INET, AF_INET6, ntohs
from typing import TYPE_CHECKING, Any

from sender.kernel.port_counts import PortCounts
from sender.model import CountedPorts, Listener, TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_LEN = 16 + 72  # sizeof(struct nlmsghdr) and sizeof(struct inet_diag_msg), include/uapi/linux/inet_diag.h

# Where it stands in a message: idiag_state, idiag_sport, idiag_dport.
_STATE, _SPORT, _DPORT = 17, 20, 22
# nlmsg_len; nlmsg_type, nlmsg_flags and nlmsg_seq as one number; idiag_state, idiag_sport, idiag_dport.
_EACH = struct.Struct("=IQ5xB2xHH")
# idiag_family, idiag_state, idiag_sport, idiag_src, idiag_dst, idiag_if, idiag_rqueue, idiag_wqueue. For a socket in LISTEN
# the last two are the accept queue's length and limit (inet_diag_msg_attrs_fill() and tcp_diag_get_info(), net/ipv4).
_ADDRESSES = "=16xBB2xH2x16s16sI12xII"
_SPECIAL = frozenset({TcpState.LISTEN, TcpState.SYN_SENT})
_ATTRIBUTE, _ID = struct.Struct("=HH"), struct.Struct("=Q")  # struct nlattr: length with this head, type
_CGROUP_ID = 21  # INET_DIAG_CGROUP_ID, unasked since Linux 5.8
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in IPv6's form: RFC 4291, 2.5.5.2
_LOOPBACK_6 = bytes(15) + b"\x01"
_LOOPBACK_DEVICE = 1  # LOOPBACK_IFINDEX, include/net/flow.h: in each network namespace


@lru_cache(maxsize=64)
def _addresses(length: int) -> struct.Struct:
    return struct.Struct(f"{_ADDRESSES}{SOCKET_LEN - struct.calcsize(_ADDRESSES)}x{length - SOCKET_LEN}s")


class SocketCounts:
    """The counts of one dump; `wanted` says for which ports. `states[n]` is the number of sockets in the kernel's state n.

    The kernel dumps the listening sockets ahead of all others (inet_diag_dump_icsk(), net/ipv4/inet_diag.c), so a port
    that is listened on is known by the time its connections come.
    """

    def __init__(self, wanted: CountedPorts | None = None) -> None:
        wanted = wanted or CountedPorts()
        self.states = [0] * 16
        self._listening = wanted.listening
        self._local = PortCounts(wanted.local)
        self._remote = PortCounts(wanted.remote)
        self.listeners: dict[int, Listener] = {}
        self.cgroups: dict[int, set[int]] = {}  # of the listeners, by port; 0 where the kernel does not say
        self._hosts: set[tuple[int, bytes]] = set()

    @classmethod
    def of_every_port(cls) -> SocketCounts:
        """Return counts that have every local port. It takes memory for each that occurs."""
        counts = cls()
        counts._local = PortCounts(every=True)
        return counts

    @property
    def local(self) -> dict[tuple[int, TcpState], int]:
        """Return the sockets by local port and state."""
        return self._local.by_port()

    @property
    def remote(self) -> dict[tuple[int, TcpState], int]:
        """Return the sockets by remote port and state."""
        return self._remote.by_port()

    @property
    def syn_sent_hosts(self) -> int:
        """Return how many remote addresses the sockets in SYN_SENT have, one in IPv4's and in IPv6's form counted once."""
        return len({_address(family, packed) for family, packed in self._hosts})

    def count_alike(self, buffer: bytearray, size: int, length: int) -> None:
        """Count `buffer[:size]`, nothing but sockets' messages of this length. Raises IndexError like `count_each`."""
        states = buffer[_STATE:size:length]
        one = states[:1]
        kinds = set(one) if states.count(one) == len(states) else set(states)  # mostly the first, which is faster
        for state in kinds:
            self.states[state] += states.count(state)
        if kinds & _SPECIAL:
            entries = _addresses(length).iter_unpack(memoryview(buffer)[:size])
            for entry in compress(entries, map(_SPECIAL.__contains__, states)):
                self._count_special(*entry)
        if self._local:
            self._local.count_all(buffer[_SPORT:size:length], buffer[_SPORT + 1 : size : length], states)
        if self._remote:
            self._remote.count_all(buffer[_DPORT:size:length], buffer[_DPORT + 1 : size : length], states)

    def count_each(self, buffer: bytearray, offset: int, size: int, header: int) -> int:
        """Count the messages from `offset` on, up to the first with another `header` than a socket's; return where that begins.

        Raises IndexError for a state above those that `states` has room for.
        """
        states, each = self.states, _EACH.unpack_from
        local, local_counts, every = self._local.numbers, self._local.counts, self._local.every
        remote, remote_counts = self._remote.numbers, self._remote.counts
        while offset < size:
            length, found, state, sport, dport = each(buffer, offset)
            if found != header or length < SOCKET_LEN:
                return offset
            states[state] += 1
            if state in _SPECIAL:
                self._count_special(*_addresses(min(length, size - offset)).unpack_from(buffer, offset))
            if every or sport in local:
                local_counts[state][sport] += 1
            if dport in remote:
                remote_counts[state][dport] += 1
            offset += length + 3 & ~3  # NLMSG_ALIGN
        return offset

    def _count_special(self, family: int, state: int, sport: int, src: bytes, dst: bytes, *more: Any) -> None:
        if state == TcpState.SYN_SENT:
            self._hosts.add((family, dst))
        elif self._listening or sport in self._local.numbers:
            self._local.add(sport)
            device, waiting, limit, attributes = more
            port, is_loopback = ntohs(sport), device == _LOOPBACK_DEVICE or _is_loopback(family, src)
            listener = Listener(waiting=waiting, limit=limit, is_loopback=is_loopback)
            before = self.listeners.get(port, listener)
            fullest = max(before, listener, key=lambda each: (each.pused, each.waiting, each.limit))
            is_loopback &= before.is_loopback
            self.listeners[port] = Listener(waiting=fullest.waiting, limit=fullest.limit, is_loopback=is_loopback)
            self.cgroups.setdefault(port, set()).add(_cgroup(attributes))


def _cgroup(attributes: bytes) -> int:
    """Return the id of a socket's cgroup, 0 where it is not among the attributes."""
    for kind, content in each_attribute(attributes):
        if kind == _CGROUP_ID and len(content) == _ID.size:
            return int(_ID.unpack(content)[0])
    return 0


def each_attribute(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each attribute (struct nlattr) behind a socket's message, up to the first that is broken."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, offset)
        if not _ATTRIBUTE.size <= length <= len(attributes) - offset:
            return
        yield kind, attributes[offset + _ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3  # NLA_ALIGN


def _address(family: int, packed: bytes) -> tuple[int, bytes]:
    is_mapped = family == AF_INET6 and packed.startswith(_MAPPED)
    return (AF_INET, packed[12:] + bytes(12)) if is_mapped else (family, packed)


def _is_loopback(family: int, packed: bytes) -> bool:
    family, packed = _address(family, packed)
    return packed[0] == 127 if family == AF_INET else packed == _LOOPBACK_6  # noqa: PLR2004  127.0.0.0/8
