"""Decodes a dump: each datagram is whole, expected and no refusal, or an error. Bytes in; sockets go to SocketCounts.

Knows netlink's headers; knows nothing of what a socket's message says, and opens no socket itself.
"""

from __future__ import annotations

import os
import struct
from array import array
from typing import Protocol

from sender.errors import TornError
from sender.kernel.counts import SOCKET_LEN, SocketCounts
from sender.kernel.refusals import refusal
from sender.model import TcpState

HEADER_LEN = 16  # sizeof(struct nlmsghdr), include/uapi/linux/netlink.h, as are the next four lines
NLM_F_MULTI, NLM_F_DUMP_INTR = 0x02, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
ERRNO_LEN = HEADER_LEN + 4  # a message with an errno behind its header: NLMSG_ERROR, and NLMSG_DONE of a dump
SLACK = SOCKET_LEN  # bytes behind a datagram, so that a header can be read, and found foreign, at its very end

_STRANGE = "holds one in a state that was not asked for"
_CUT = "holds a message that is cut short"


class Counts(Protocol):
    """What takes in sockets' messages: SocketCounts, or a part of what it does. `states` counts those in each state."""

    states: list[int]

    def count_alike(self, buffer: bytearray, size: int, length: int) -> None:
        """Take in nothing but messages of this length."""

    def count_each(self, buffer: bytearray, offset: int, size: int, header: int) -> int:
        """Take in messages up to the first with another header; return where that begins."""


class DumpReader:
    """Decodes the answer to one request, datagram by datagram.

    Its `request` is what to send: the one given, with a sequence number of its own. `counts` gets the sockets; what it has
    counted means something only once `add` has returned True.
    """

    _HEAD = struct.Struct("=IQ")  # nlmsg_len; nlmsg_type, nlmsg_flags and nlmsg_seq as one number
    _HEADER = struct.Struct("=IHHI")  # nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq
    _ERRNO = struct.Struct("=i")

    def __init__(self, request: bytes, counts: Counts | None = None) -> None:
        _, kind, flags, _ = self._HEADER.unpack_from(request)
        self._sequence = int.from_bytes(os.urandom(4), "big")
        self.request = self._HEADER.pack(len(request), kind, flags, self._sequence) + request[self._HEADER.size :]
        self.counts: Counts = counts or SocketCounts()
        self._words = struct.unpack("=II", struct.pack("=HHI", kind, NLM_F_MULTI, self._sequence))
        (self._socket,) = struct.unpack("=Q", struct.pack("=II", *self._words))

    def add(self, buffer: bytearray, size: int) -> bool:
        """Count the datagram in `buffer[:size]`, behind which SLACK more bytes must exist; return whether it was the last.

        Raises KernelError for a refusal, TornError for anything that is not a whole and expected part of the answer.
        """
        try:
            last = self._add(buffer, size)
        except IndexError as error:
            raise _torn(_STRANGE) from error
        if last and (self.counts.states[0] or any(self.counts.states[len(TcpState) + 1 :])):
            raise _torn(_STRANGE)
        return last

    def _add(self, buffer: bytearray, size: int) -> bool:
        length = self._length_if_alike(buffer, size)
        if length:
            self.counts.count_alike(buffer, size, length)
            return False
        offset = self.counts.count_each(buffer, 0, size, self._socket)
        if offset < size:
            self._check_end(buffer, offset, size)
            return True
        if offset > size:
            raise _torn(_CUT)
        return False

    def _length_if_alike(self, buffer: bytearray, size: int) -> int:
        """Return the length of every message in a datagram where all are sockets' and have one length, else 0.

        The first message says where the second must begin; if its length, type and sequence are there, it says where
        the third must begin, and so on: comparing them all, one length apart, proves every one of them.
        """
        length, kind = self._HEAD.unpack_from(buffer)
        if kind != self._socket or length < SOCKET_LEN or length % 4 or size % length:
            return 0
        words = memoryview(buffer)[:size].cast("I")
        for place, word in enumerate((length, *self._words)):
            if words[place :: length // 4] != memoryview(array("I", [word]) * (size // length)):
                return 0
        return int(length)

    def _check_end(self, buffer: bytearray, offset: int, size: int) -> None:
        """Raise KernelError, unless the message at `offset`, which is not a socket's, is the good end of the dump."""
        length, kind, flags, sequence = self._HEADER.unpack_from(buffer, offset)
        if not HEADER_LEN <= length <= size - offset:
            raise _torn(_CUT)
        if sequence != self._sequence:
            raise _torn("holds an answer to something else")
        code = None
        if kind in (NLMSG_DONE, NLMSG_ERROR) and length >= ERRNO_LEN:
            (code,) = self._ERRNO.unpack_from(buffer, offset + HEADER_LEN)
            if code < 0:
                raise refusal(-code)
        if flags & NLM_F_DUMP_INTR:
            raise _torn("was interrupted by a change")
        if kind != NLMSG_DONE or code != 0 or offset + length != size:
            raise _torn(f"holds an unexpected message: type {kind}, {length} bytes")


def _torn(how: str) -> TornError:
    return TornError(f"the kernel's dump of TCP sockets {how}")
