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
from socket import htons
from typing import TYPE_CHECKING

from sender.kernel.addresses import plain, text, with_port
from sender.model import EphemeralPorts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.kernel.alike import Alike

_MOST = 4096  # destinations told apart at any moment: below 1 MB
_SPORT = 20  # idiag_sport, include/uapi/linux/inet_diag.h
_KEY = struct.Struct("=H16s16s")  # idiag_dport, idiag_src, idiag_dst


@lru_cache(maxsize=64)
def _keys(room: int) -> struct.Struct:
    """Return what takes idiag_family, and those of _KEY as one, from each message."""
    return struct.Struct(f"=16xB5x{_KEY.size}s{room - 22 - _KEY.size}x")


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
            self.counts = Counter({key: count for key, count in self.counts.items() if count > least})
            self.error += least


class UsablePorts:
    """The local ports that the kernel may take for a connection: `ports` less the `reserved` ones, and what is listened on."""

    def __init__(self, ports: range, reserved: Iterable[int] = ()) -> None:
        self._is_usable = bytearray(2**16)  # by the port as this machine reads its two bytes in network byte order
        usable = set(ports).difference(reserved)
        for port in usable:
            self._is_usable[htons(port)] = 1
        self._other_firsts = bytes(set(range(256)).difference(port >> 8 for port in usable))

    def copy(self) -> UsablePorts:
        """Return the same, to be changed by itself."""
        other = UsablePorts(range(0))
        other._is_usable, other._other_firsts = self._is_usable[:], self._other_firsts
        return other

    def __len__(self) -> int:
        """Return how many there are."""
        return self._is_usable.count(1)

    def remove(self, number: int) -> None:
        """Take off a port that is listened on: a number as in `_is_usable`."""
        self._is_usable[number] = 0

    def among(self, group: Alike) -> bytes:
        """Return for each socket of a group whether its local port is one; nothing where none is."""
        if not group.column(_SPORT).translate(None, self._other_firsts):
            return b""
        numbers = memoryview(group.buffer)[: group.size].cast("H")[_SPORT // 2 :: group.room // 2]
        found = bytes(map(self._is_usable.__getitem__, numbers.tolist()))
        return found if 1 in found else b""


class EphemeralCounts:
    """The sockets on `usable` ports, by own address, remote address and remote port."""

    def __init__(self, usable: UsablePorts) -> None:
        self.usable = usable
        self._counts = BoundedCounts()

    def count(self, group: Alike) -> None:
        """Count the sockets of a group."""
        is_usable = self.usable.among(group)
        if is_usable:
            keys = _keys(group.room).iter_unpack(memoryview(group.buffer)[: group.size])
            self._counts.add(compress(keys, is_usable))

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
