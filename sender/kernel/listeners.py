"""The listening sockets alone, looked at often: how long each accept queue is, and what the kernel has dropped there.

The kernel keeps them in a table of their own, so the dump does not grow with the connections. Asked for the socket's memory
(INET_DIAG_SKMEMINFO), it adds its counter of drops.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from socket import ntohs
from typing import TYPE_CHECKING

from sender.kernel.alike import SOCKET_LEN
from sender.kernel.owner_counts import each_attribute
from sender.model import Look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.kernel.alike import Alike

SKMEMINFO = 7  # INET_DIAG_SKMEMINFO, include/uapi/linux/inet_diag.h
_DROPS = 8 * 4  # SK_MEMINFO_DROPS, include/uapi/linux/sock_diag.h: the ninth number of 32 bits

_EACH = "=17xB2xH50xI"  # idiag_state, idiag_sport, idiag_rqueue
_NUMBER = struct.Struct("=I")


@lru_cache(maxsize=64)
def _each(room: int) -> struct.Struct:
    return struct.Struct(f"{_EACH}{SOCKET_LEN - struct.calcsize(_EACH)}x{room - SOCKET_LEN}s")


class ListenerLooks:
    """Takes in the messages of a dump of listeners, as SocketCounts does, and keeps a Look for each port."""

    def __init__(self) -> None:
        self.states = [0] * 16
        self.by_port: dict[int, Look] = {}

    def count(self, groups: Sequence[Alike]) -> None:
        """Take in the messages of one datagram. Raises IndexError for a state above those that `states` has room for."""
        for group in groups:
            each = _each(group.room)
            for state, sport, waiting, attributes in each.iter_unpack(memoryview(group.buffer)[: group.size]):
                self.states[state] += 1
                look, port = Look(waiting=waiting, drops=_drops(attributes)), ntohs(sport)
                self.by_port[port] = self.by_port[port].beside(look) if port in self.by_port else look


def _drops(attributes: bytes) -> int | None:
    """Return what a socket's attributes say of drops; None where they do not: older kernels have fewer numbers."""
    for kind, content in each_attribute(attributes):
        if kind == SKMEMINFO and len(content) >= _DROPS + _NUMBER.size:
            return int(_NUMBER.unpack_from(content, _DROPS)[0])
    return None
