"""Messages of one length, one behind the other: the form in which a dump's sockets are counted, many at a time in C's loops."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_LEN = 16 + 72  # sizeof(struct nlmsghdr) and sizeof(struct inet_diag_msg), include/uapi/linux/inet_diag.h

Column: TypeAlias = bytes | bytearray  # of each message one byte


@lru_cache(maxsize=64)
def repeated(value: int, count: int) -> memoryview:
    """Return so many times the same number, to be compared with `words`."""
    return memoryview(array("I", [value]) * count)


class Alike(NamedTuple):
    """`buffer[:size]` is nothing but sockets' messages of this `length`, each padded to a multiple of four."""

    buffer: bytes | bytearray
    size: int
    length: int

    @property
    def room(self) -> int:
        """Return how far apart two messages begin."""
        return self.length + 3 & ~3  # NLMSG_ALIGN, include/uapi/linux/netlink.h

    def column(self, offset: int) -> Column:
        """Return of each message the byte at `offset`."""
        return self.buffer[offset : self.size : self.room]

    def one_by_one(self) -> Iterator[Alike]:
        """Yield each message as a group of its own."""
        for begin in range(0, self.size, self.room):
            yield Alike(self.buffer[begin : begin + self.room], self.room, self.length)

    def words(self, offset: int) -> memoryview[int]:
        """Return of each message the 32 bits at `offset`, a multiple of four."""
        return memoryview(self.buffer)[: self.size].cast("I")[offset // 4 :: self.room // 4]
