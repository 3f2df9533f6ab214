"""Decodes a dump: each datagram is whole, expected and no refusal, or an error. Bytes in; sockets' messages go to Counts.

Knows netlink's headers; knows nothing of what a socket's message says, and opens no socket itself. Messages are handed on in
groups of one length, which can be counted in C's loops: one by one they cost as much as the kernel's own work.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from sender.errors import TornError
from sender.kernel.alike import SOCKET_LEN, Alike, repeated
from sender.kernel.counts import SocketCounts
from sender.kernel.refusals import refusal
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def count(self, groups: Sequence[Alike]) -> None:
        """Take in the messages of one datagram. Raises IndexError for a state above those that `states` has room for."""


class DumpReader:
    """Decodes the answer to one request, datagram by datagram.

    Its `request` is what to send: the one given, with a sequence number of its own. `counts` gets the sockets; what it has
    counted means something only once `add` has returned True. A group of messages is taken in before the next datagram is
    read into the same buffer.
    """

    _LENGTH = struct.Struct("=I")  # nlmsg_len
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
        (length,) = self._LENGTH.unpack_from(buffer)
        whole = Alike(buffer, size, length)
        if self._is_alike(whole):
            self.counts.count([whole])
            return False
        groups, end = self._groups(buffer, size)
        self.counts.count(groups)
        if end < size:
            self._check_end(buffer, end, size)
        return end < size

    def _groups(self, buffer: bytearray, size: int) -> tuple[list[Alike], int]:
        """Return the sockets' messages by length, up to the first message of another kind; and where that begins.

        Raises TornError for a message that is longer than the datagram.
        """
        places, offset = defaultdict[int, list[int]](list), 0
        length_of, least = self._LENGTH.unpack_from, SOCKET_LEN
        while offset < size:
            (length,) = length_of(buffer, offset)
            if length < least:
                break
            places[length].append(offset)
            offset += length + 3 & ~3  # NLMSG_ALIGN
        if offset > size:
            raise _torn(_CUT)
        groups = []
        for length, begins in places.items():
            room = length + 3 & ~3
            joined = b"".join([buffer[begin : begin + room] for begin in begins])
            groups.append(Alike(joined, len(joined), length))
            if not self._is_alike(groups[-1]):
                foreign = self._first_foreign(buffer)
                return self._groups(buffer, foreign)[0], foreign
        return groups, offset

    def _first_foreign(self, buffer: bytearray) -> int:
        """Return where the first message begins that is no socket's."""
        offset = 0
        while True:
            length, kind = self._HEAD.unpack_from(buffer, offset)
            if kind != self._socket:
                return offset
            offset += length + 3 & ~3

    def _is_alike(self, group: Alike) -> bool:
        """Return whether every message is a socket's and has the group's length.

        The first message says where the second must begin; if its length, type and sequence are there, it says where
        the third must begin, and so on: comparing them all, one length apart, proves every one of them.
        """
        if group.length < SOCKET_LEN or group.size % group.room:
            return False
        words, step = memoryview(group.buffer)[: group.size].cast("I"), group.room // 4
        head, count = (group.length, *self._words), group.size // group.room
        return all(words[place::step] == repeated(word, count) for place, word in enumerate(head))

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
