"""The listening sockets alone, looked at often: how long each accept queue is, and what the kernel has dropped there.

The kernel keeps them in a table of their own, so the dump does not grow with the connections. Asked for the socket's memory
(INET_DIAG_SKMEMINFO), it adds its counter of drops.
"""

from __future__ import annotations

import struct
from socket import ntohs

from sender.kernel.counts import SOCKET_LEN, each_attribute
from sender.model import Look

SKMEMINFO = 7  # INET_DIAG_SKMEMINFO, include/uapi/linux/inet_diag.h
_DROPS = 8 * 4  # SK_MEMINFO_DROPS, include/uapi/linux/sock_diag.h: the ninth number of 32 bits

_EACH = struct.Struct("=IQ5xB2xH50xI")  # nlmsg_len; type, flags and sequence; idiag_state, idiag_sport, idiag_rqueue
_NUMBER = struct.Struct("=I")


class ListenerLooks:
    """Takes in the messages of a dump of listeners, as SocketCounts does, and keeps a Look for each port."""

    def __init__(self) -> None:
        self.states = [0] * 16
        self.by_port: dict[int, Look] = {}

    def count_alike(self, buffer: bytearray, size: int, length: int) -> None:  # noqa: ARG002  as SocketCounts has it
        """Take in `buffer[:size]`, nothing but sockets' messages of one length."""
        (_, header, *_) = _EACH.unpack_from(buffer)
        self.count_each(buffer, 0, size, header)

    def count_each(self, buffer: bytearray, offset: int, size: int, header: int) -> int:
        """Take in the messages from `offset` on, up to the first with another `header`; return where that begins."""
        while offset < size:
            length, found, state, sport, waiting = _EACH.unpack_from(buffer, offset)
            if found != header or length < SOCKET_LEN:
                return offset
            self.states[state] += 1
            look = Look(waiting=waiting, drops=_drops(bytes(buffer[offset + SOCKET_LEN : min(offset + length, size)])))
            port = ntohs(sport)
            self.by_port[port] = self.by_port[port].beside(look) if port in self.by_port else look
            offset += length + 3 & ~3  # NLMSG_ALIGN
        return offset


def _drops(attributes: bytes) -> int | None:
    """Return what a socket's attributes say of drops; None where they do not: older kernels have fewer numbers."""
    for kind, content in each_attribute(attributes):
        if kind == SKMEMINFO and len(content) >= _DROPS + _NUMBER.size:
            return int(_NUMBER.unpack_from(content, _DROPS)[0])
    return None
