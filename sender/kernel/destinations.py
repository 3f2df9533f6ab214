"""Counts sockets by where they are connected to, in bounded memory: the local ports in use towards each, and unanswered requests.

connect() takes a port from the kernel's range that no socket has with the same own address, remote address and remote port
(__inet_hash_connect(), net/ipv4/inet_hashtables.c), in whatever state. So the sockets towards one destination are the ports in
use towards it. Those on a port that is listened on are clients', and not counted.
"""

from __future__ import annotations

import struct
from collections import Counter
from functools import lru_cache
from itertools import compress
from typing import TYPE_CHECKING

from sender.kernel.addresses import plain, text, with_port
from sender.model import EphemeralPorts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.kernel.alike import Alike, Column

_MOST = 1024  # destinations told apart at any moment: a quarter of a MB
_FAMILY, _SPORT, _DPORT = 16, 20, 22  # idiag_family, idiag_sport, idiag_dport, include/uapi/linux/inet_diag.h
_KEY = struct.Struct("=H16s16s")  # idiag_dport, idiag_src, idiag_dst
_NONE, _ALL, _SOME = range(3)  # of the 256 ports with one first byte


@lru_cache(maxsize=64)
def _keys(room: int) -> struct.Struct:
    """Return what takes idiag_family, and those of _KEY as one, from each message."""
    gap = _DPORT - _FAMILY - 1
    return struct.Struct(f"={_FAMILY}xB{gap}x{_KEY.size}s{room - _DPORT - _KEY.size}x")


class BoundedCounts:
    """How often each of many things occurred: exact while they are few, else true of what occurs often.

    Past `most`, the half that occurred least is forgotten. What has since been forgotten and comes again begins anew, so that a
    count can be too low, by `error` at most, never too high.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self.counts: Counter[tuple[int, bytes]] = Counter()
        self.error = 0

    def add(self, found: Iterable[tuple[int, bytes]]) -> None:
        """Count each of these once."""
        self.counts.update(found)
        if len(self.counts) > self._most:
            least = sorted(self.counts.values())[len(self.counts) // 2]
            often = {key: count for key, count in self.counts.items() if count > least}
            self.counts.clear()
            self.counts.update(often)
            self.error += least


class UsablePorts:
    """The local ports that the kernel may take for a connection: `ports` less the `reserved` ones, and what is listened on."""

    def __init__(self, ports: range, reserved: Iterable[int] = ()) -> None:
        self._is_usable = bytearray(2**16)  # by port
        self._is_usable[ports.start : ports.stop] = b"\1" * len(ports)
        for port in reserved:
            self._is_usable[port] = 0
        # Of the ports with each first byte, whether none is usable, some are or all.
        self._by_first = bytearray(self._share(first) for first in range(256))

    def copy(self) -> UsablePorts:
        """Return the same, to be changed by itself."""
        other = UsablePorts(range(0))
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
        self._counts = BoundedCounts()

    def count(self, group: Alike) -> None:
        """Count the sockets of a group."""
        is_usable = self.usable.among(group)
        count = is_usable.count(1)
        if not count:
            return
        keys = _keys(group.room).iter_unpack(memoryview(group.buffer)[: group.size])
        self._counts.add(keys if count == len(is_usable) else compress(keys, is_usable))

    def worst(self) -> EphemeralPorts:
        """Return how many ports are in use towards the destination that has most of them."""
        merged: Counter[tuple[tuple[int, bytes], tuple[int, bytes], int]] = Counter()
        for (family, key), count in self._counts.counts.items():
            port, own, remote = _KEY.unpack(key)
            merged[plain(family, own), plain(family, remote), port] += count
        if not merged:
            return EphemeralPorts(used=0, usable=len(self.usable))
        # Of equal ones always the same.
        (own, remote, port), used = max(merged.items(), key=lambda item: (item[1], item[0]))
        destination = f"{with_port(*remote, port)} from {text(*own)}"
        return EphemeralPorts(used=used, usable=len(self.usable), destination=destination)
