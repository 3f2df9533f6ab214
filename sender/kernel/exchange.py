"""One request to the kernel and its answer: a netlink socket for each. Owns the buffer and the time that it may take."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from socket import AF_NETLINK, MSG_TRUNC, SOCK_RAW, socket
from typing import TYPE_CHECKING, TypeVar

from sender.errors import KernelError, RefusedError, TornError
from sender.kernel.dump import SLACK, DumpReader
from sender.kernel.netlink import NETLINK_SOCK_DIAG
from sender.kernel.refusals import refusal, socket_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from sender.kernel.dump import Counts
    from sender.kernel.requests import Ways

    C = TypeVar("C", bound=Counts)
T = TypeVar("T")

_BUFFER = 65536  # the kernel sends a dump in datagrams of at most 32 KiB: netlink_recvmsg(), net/netlink/af_netlink.c
_TRUNCATED = int(MSG_TRUNC)  # an enum member's & is not an int's: it takes as long as receiving a datagram


class Exchange:
    """Asks the kernel of the calling thread's network namespace. For one thread at a time.

    A kernel that says nothing for `silence_s`, or that has not come to an end after `endless_s`, is an error: it answers from
    within recv, and a million sockets take about 2 s.
    """

    def __init__(self, *, silence_s: float = 10.0, endless_s: float = 120.0) -> None:
        self._silence_s = silence_s
        self._endless_s = endless_s
        self._buffer = bytearray(_BUFFER + SLACK)
        self._room = [memoryview(self._buffer)[:_BUFFER]]

    def dump(self, request: bytes, counts: Counts) -> None:
        """Give the answer to a request to `counts`. Raises KernelError, which a RefusedError and a TornError are."""
        reader = DumpReader(request, counts)
        # A socket of its own for each dump: nothing that is left of a broken one can get into the next.
        with self._open() as sock:
            try:
                self._exchange(sock, reader)
            except TimeoutError as error:
                silence = f"the kernel stopped answering for {self._silence_s:g} s in its dump of TCP sockets"
                raise KernelError(silence) from error
            except OSError as error:
                raise refusal(error.errno or 0) from error

    def dump_all(self, way: Iterable[bytes], counts: C) -> C:
        """Give the answers to a series of requests to `counts`, and return it. Raises KernelError."""
        for request in way:
            self.dump(request, counts)
        return counts

    def _open(self) -> AbstractContextManager[socket]:
        """Return a netlink socket. Raises KernelError: an errno of it is no answer to a request."""
        try:
            sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG)
        except OSError as error:
            raise socket_failure("opening a netlink socket", error) from error
        # Not SO_RCVTIMEO, whose number and struct the platform decides (32 bits with 64-bit time have another). The poll()
        # that this costs before each recv cannot be measured beside what the kernel does within it.
        sock.settimeout(self._silence_s)
        return sock

    def _exchange(self, sock: socket, reader: DumpReader) -> None:
        """Send the request and read its answer to the end. Raises OSError where the kernel refuses."""
        deadline = time.monotonic() + self._endless_s
        sock.sendto(reader.request, (0, 0))
        while not reader.add(self._buffer, self._receive(sock)):
            if time.monotonic() > deadline:
                raise KernelError(f"the kernel's dump of TCP sockets did not end within {self._endless_s:g} s")

    def _receive(self, sock: socket) -> int:
        """Return the size of the next datagram, now in the buffer; 0 for one not from the kernel (netlink port 0)."""
        size, _, flags, (port, _) = sock.recvmsg_into(self._room)
        if port != 0:
            return 0
        if flags & _TRUNCATED:
            raise TornError(f"the kernel's dump of TCP sockets holds a datagram of more than {_BUFFER} bytes")
        return size


class HeldExchange(Exchange):
    """Asks the kernel of the network namespace in which the netlink socket `sock` was made, and keeps that open.

    What is left of a dump that was broken off is read away before the next request. All requests together have `within_s`.
    """

    def __init__(self, sock: socket, *, within_s: float) -> None:
        super().__init__(silence_s=within_s, endless_s=within_s)
        self._sock = sock
        self._deadline = time.monotonic() + within_s

    def _open(self) -> AbstractContextManager[socket]:
        self._sock.settimeout(0)
        with suppress(BlockingIOError):
            while self._left_s():
                self._sock.recvmsg_into(self._room)
        return nullcontext(self._sock)

    def _receive(self, sock: socket) -> int:
        sock.settimeout(self._left_s())
        return super()._receive(sock)

    def _left_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise KernelError(f"the kernel's dump of TCP sockets did not end within {self._endless_s:g} s")
        return left_s


def by_best_way(ways: Ways, ask: Callable[[Iterable[bytes]], T]) -> T:
    """Return what `ask` returns for the first of the ways that the kernel accepts. Raises what the last one does."""
    *better, last = ways
    for way in better:
        with suppress(RefusedError):
            return ask(way)
    return ask(last)
