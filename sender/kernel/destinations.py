"""Counts sockets by where they are connected to, in bounded memory: the local ports in use towards each, and unanswered requests.

connect() takes a port from the kernel's range that no socket has with the same own address, remote address and remote port
(__inet_hash_connect(), net/ipv4/inet_hashtables.c), in whatever state. So the sockets towards one destination are the ports in
use towards it. Those on a port that is listened on are clients', and not counted; nor are those in TIME_WAIT whose port the kernel
takes again (tcp_twsk_unique(), net/ipv4/tcp_ipv4.c). That needs a peer with TCP timestamps, of which the kernel says nothing in a
dump: it is assumed.

A port that a program has bound by itself, the kernel takes for no destination. It does not say which ports those are, save where
somebody listens, so that it can refuse below 100 percent where programs bind ports of its range.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from operator import and_, gt
from typing import TYPE_CHECKING

from sender.kernel.addresses import is_loopback, plain, text, with_port
from sender.model import EphemeralPorts, TcpState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.kernel.alike import Alike, Column

_MOST = 1024  # destinations told apart at any moment: a quarter of a MB
# idiag_family, idiag_state, idiag_sport, idiag_dport, idiag_expires, include/uapi/linux/inet_diag.h
_FAMILY, _STATE, _SPORT, _DPORT, _EXPIRES = 16, 17, 20, 22, 68
_KEY = struct.Struct("=BH16s16s")  # idiag_family; idiag_dport, idiag_src, idiag_dst
_TIME_WAIT_MS = 60_000  # TCP_TIMEWAIT_LEN, include/net/tcp.h
_IS_TIME_WAIT = bytes(state == TcpState.TIME_WAIT for state in range(256))
_NONE, _ALL, _SOME = range(3)  # of the 256 ports with one first byte


@lru_cache(maxsize=64)
def _places(room: int, count: int) -> list[slice]:
    """Return where the keys are in so many messages: from the byte before idiag_dport on."""
    begins = range(_DPORT - 1, count * room, room)
    return [slice(begin, begin + _KEY.size) for begin in begins]


class BoundedCounts:
    """How often each of many things occurred: exact while they are few, else true of what occurs often.

    Past `most`, the half that occurred least is forgotten. What has since been forgotten and comes again begins anew, so that a
    count can be too low, by `error` at most, never too high.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self.counts: Counter[bytes] = Counter()
        self.error = 0

    def add(self, found: Iterable[bytes]) -> None:
        """Count each of these once."""
        self.counts.update(found)
        if len(self.counts) > self._most:
            least = sorted(self.counts.values())[len(self.counts) // 2]
            often = {key: count for key, count in self.counts.items() if count > least}
            self.counts.clear()
            self.counts.update(often)
            self.error += least


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Where the kernel takes a port again whose socket has been in TIME_WAIT for `after_ms`, which loses nothing."""

    everywhere: bool = False
    on_loopback: bool = False
    after_ms: int = 0


class UsablePorts:
    """The local ports that the kernel may take for a connection: `ports` less the `reserved` ones, and what is listened on."""

    def __init__(self, ports: range, reserved: Iterable[int] = (), reuse: Reuse = Reuse()) -> None:
        self.reuse = reuse
        self._is_usable = bytearray(2**16)  # by port
        self._is_usable[ports.start : ports.stop] = b"\1" * len(ports)
        for port in reserved:
            self._is_usable[port] = 0
        # Of the ports with each first byte, whether none is usable, some are or all.
        self._by_first = bytearray(self._share(first) for first in range(256))

    def copy(self) -> UsablePorts:
        """Return the same, to be changed by itself."""
        other = UsablePorts(range(0), reuse=self.reuse)
        other._is_usable, other._by_first = self._is_usable[:], self._by_first[:]
        return other

    def __len__(self) -> int:
        """Return how many there are."""
        return self._is_usable.count(1)

    def remove(self, port: int) -> None:
        """Take off a port that is listened on."""
        self._is_usable[port] = 0
        self._by_first[port >> 8] = self._share(port >> 8)

    def _share(self, first: int) -> int:
        usable = self._is_usable.count(1, first << 8, (first + 1) << 8)
        return {0: _NONE, 256: _ALL}.get(usable, _SOME)

    def among(self, group: Alike) -> Column:
        """Return for each socket of a group whether its local port is one: 1 or 0."""
        first = group.column(_SPORT)
        found = first.translate(self._by_first)
        if some := found.count(_SOME):
            found, second, place = bytearray(found), group.column(_SPORT + 1), -1
            for _ in range(some):
                place = found.find(_SOME, place + 1)
                found[place] = self._is_usable[first[place] << 8 | second[place]]
        return found


class EphemeralCounts:
    """The sockets on `usable` ports, by own address, remote address and remote port."""

    def __init__(self, usable: UsablePorts) -> None:
        self.usable = usable
        self._oldest = _TIME_WAIT_MS - usable.reuse.after_ms  # that a socket in TIME_WAIT may have left, to be old
        self._counts, self._old = BoundedCounts(), BoundedCounts()

    def count(self, group: Alike) -> None:
        """Count the sockets of a group."""
        is_usable = self.usable.among(group)
        if 1 not in is_usable:
            return
        is_old = self._are_old(group)
        if 1 not in is_old:  # mostly it is all or none, which is faster
            is_young, is_old = is_usable, b""
        elif 0 not in is_old:
            is_young, is_old = b"", is_usable
        else:
            is_young, is_old = bytes(map(gt, is_usable, is_old)), bytes(map(and_, is_usable, is_old))
        _add(self._counts, group, is_young)
        if not self.usable.reuse.everywhere:
            _add(self._old, group, is_old)

    def _are_old(self, group: Alike) -> Column:
        """Return for each socket of a group whether the kernel may take its port again; nothing where none is in TIME_WAIT."""
        reuse, states = self.usable.reuse, group.column(_STATE)
        if TcpState.TIME_WAIT not in states or not (reuse.everywhere or reuse.on_loopback):
            return b""
        are_in_time_wait, expires = states.translate(_IS_TIME_WAIT), group.words(_EXPIRES).tolist()
        if max(expires) <= self._oldest:
            return are_in_time_wait
        return bytes(map(and_, are_in_time_wait, map(self._oldest.__ge__, expires)))

    def worst(self) -> EphemeralPorts:
        """Return how many ports are in use towards the destination that has most of them."""
        merged: Counter[tuple[tuple[int, bytes], tuple[int, bytes], int]] = Counter()
        for counts in (self._counts, self._old):
            for key, count in counts.counts.items():
                family, port, own, remote = _KEY.unpack(key)
                if counts is self._counts or not (is_loopback(family, own) or is_loopback(family, remote)):
                    merged[plain(family, own), plain(family, remote), port] += count
        if not merged:
            return EphemeralPorts(used=0, usable=len(self.usable))
        # Of equal ones always the same.
        (own, remote, port), used = max(merged.items(), key=lambda item: (item[1], item[0]))
        destination = f"{with_port(*remote, port)} from {text(*own)}"
        return EphemeralPorts(used=used, usable=len(self.usable), destination=destination)


def _add(counts: BoundedCounts, group: Alike, chosen: Column) -> None:
    """Count those sockets of a group that are chosen.

    Slices of bytes are the cheapest keys that there are, and a key is one where the family stands before the port: in a copy,
    in the place of the local port's second byte.
    """
    if 1 in chosen:
        changed = bytearray(memoryview(group.buffer)[: group.size])
        changed[_DPORT - 1 :: group.room] = group.column(_FAMILY)
        places, copy = _places(group.room, 1 << len(chosen).bit_length()), bytes(changed)
        counts.add([copy[place] for place in compress(places, chosen)])
