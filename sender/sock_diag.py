"""The kernel's TCP sockets, counted in one walk of its tables. The only importer of pyroute2.

pyroute2 makes the socket and the requests and gives the constants. The answer, one message per socket, is decoded
here, in place in one reused buffer: an object per message costs 70 times as much. A refusal always raises, in whatever
message it hides (pyroute2's own DiagSocket shows some of them as "no sockets").
"""

from __future__ import annotations

import errno
import os
import struct
import time
from array import array
from socket import AF_INET, AF_INET6, AF_NETLINK, IPPROTO_TCP, MSG_TRUNC, SO_RCVTIMEO, SOCK_RAW, SOL_SOCKET
from typing import TYPE_CHECKING

from pyroute2 import netns
from pyroute2.netlink import (
    NETLINK_SOCK_DIAG,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    nlmsg,
)
from pyroute2.netlink.diag import SOCK_DIAG_BY_FAMILY, inet_addr_codec, inet_diag_req

from sender.errors import KernelError, RefusedError, TornError
from sender.model import Snapshot, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from socket import socket

TCPDIAG_GETSOCK = 18  # include/uapi/linux/inet_diag.h
ALL_STATES = 0x3FFE  # bits 1 to 13, include/net/tcp_states.h: up to TCP_BOUND_INACTIVE, which Linux < 6.8 ignores
HEADER_LEN = 16  # sizeof(struct nlmsghdr), include/uapi/linux/netlink.h
SOCKET_LEN = HEADER_LEN + 72  # and sizeof(struct inet_diag_msg), include/uapi/linux/inet_diag.h
STATE = HEADER_LEN + 1  # where idiag_state stands in a message
ERRNO_LEN = HEADER_LEN + 4  # a message with an errno behind its header: NLMSG_ERROR, and NLMSG_DONE of a dump
SLACK = 32  # bytes behind a datagram, so that a header can be read, and found foreign, at its very end

_BUFFER = 65536  # the kernel sends a dump in datagrams of at most 32 KiB: netlink_recvmsg(), net/netlink/af_netlink.c
_ATTEMPTS = 3
_STRANGE = "the kernel's dump of TCP sockets holds one in a state that was not asked for"
_TRUNCATED = int(MSG_TRUNC)  # an enum member's & is not an int's: it takes as long as receiving a datagram

_ADVICE = {
    errno.ENOENT: "the kernel has no TCP diagnostics: `modprobe tcp_diag` as root (in a container: on its host)",
    errno.EOPNOTSUPP: "the kernel has no TCP diagnostics: `modprobe tcp_diag` as root (in a container: on its host)",
    errno.EPERM: "a security policy forbids it: look at SystemCallFilter= and the SELinux, AppArmor or seccomp profile",
    errno.EACCES: "a security policy forbids it: look at the SELinux, AppArmor or seccomp profile",
    errno.EAFNOSUPPORT: "AF_NETLINK is forbidden here: add it to RestrictAddressFamilies= of the unit",
    errno.EPROTONOSUPPORT: "this kernel is built without CONFIG_INET_DIAG, or it is not Linux's own (gVisor)",
    errno.EINVAL: "the kernel does not know this request: it must be Linux 3.3 or later",
    errno.ENOBUFS: "the kernel ran out of memory for its answer: look at free memory and the cgroup's limit",
    errno.ENOMEM: "the kernel ran out of memory for its answer: look at free memory and the cgroup's limit",
    errno.EMFILE: "too many open files: raise LimitNOFILE= of the unit",
    errno.ENFILE: "too many open files on the whole host: raise fs.file-max",
}


class _TcpDiagReq(inet_addr_codec):
    """`struct inet_diag_req` of linux/inet_diag.h, the older request; its dump covers IPv4 and IPv6 in one walk."""

    fields = (
        ("idiag_family", "B"),
        ("idiag_src_len", "B"),
        ("idiag_dst_len", "B"),
        ("idiag_ext", "B"),
        ("idiag_sport", ">H"),
        ("idiag_dport", ">H"),
        ("idiag_src", ">4I"),
        ("idiag_dst", ">4I"),
        ("idiag_if", "I"),
        ("idiag_cookie", "Q"),
        ("idiag_states", "I"),
        ("idiag_dbs", "I"),
    )


def one_walk() -> bytes:
    """A request for every TCP socket, IPv4 and IPv6."""
    return _encoded(_TcpDiagReq(), TCPDIAG_GETSOCK)


def by_family(family: int, protocol: int = IPPROTO_TCP) -> bytes:
    """A request for every socket of one address family (AF_INET, AF_INET6)."""
    request = inet_diag_req()
    request["sdiag_family"] = family
    request["sdiag_protocol"] = protocol
    return _encoded(request, SOCK_DIAG_BY_FAMILY)


def _encoded(request: nlmsg, kind: int) -> bytes:
    request["idiag_states"] = ALL_STATES
    request["header"]["type"] = kind
    request["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
    request.encode()
    return bytes(request.data)


WAYS = ((one_walk(),), (by_family(AF_INET), by_family(AF_INET6)))
"""The ways to ask, best first. Each is some requests whose answers are added up."""


class SockDiag:
    """Counts the sockets of the calling thread's network namespace; needs no privilege. For one thread at a time.

    `ways` are tried in order until the kernel takes one; `time_ns` is the wall clock. A kernel that says nothing for
    `silence_s`, or that has not come to an end after `endless_s`, is given up: it answers from within recv, and a
    million sockets take about 2 s.
    """

    def __init__(
        self,
        ways: Sequence[Iterable[bytes]] = WAYS,
        *,
        time_ns: Callable[[], int] = time.time_ns,
        silence_s: float = 10.0,
        endless_s: float = 120.0,
    ) -> None:
        self._ways = ways
        self._time_ns = time_ns
        self._silence_s = silence_s
        self._endless_s = endless_s
        self._buffer = bytearray(_BUFFER + SLACK)
        self._room = [memoryview(self._buffer)[:_BUFFER]]

    def sample(self) -> Snapshot:
        """Every TCP socket, counted by state, in constant memory.

        Raises KernelError when the kernel refuses every way of asking, and TornError (a KernelError) when its answer
        came to pieces three times in a row.
        """
        *better, last = self._ways
        for way in better:
            try:
                return self._whole(way)
            except RefusedError:
                continue
        return self._whole(last)

    def _whole(self, way: Iterable[bytes]) -> Snapshot:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._attempt(way)
            except TornError:
                continue
        return self._attempt(way)

    def _attempt(self, way: Iterable[bytes]) -> Snapshot:
        clock, ns = divmod(self._time_ns(), 1_000_000_000)
        begin = time.perf_counter()
        counts = [sum(column) for column in zip(*map(self._dump, way), strict=True)]
        states = dict(zip(TcpState, counts[1:], strict=False))
        # Zabbix takes ns 0 for "no ns" and then numbers values by their place in the packet.
        return Snapshot(clock=clock, ns=ns or 1, duration_s=time.perf_counter() - begin, states=states)

    def _dump(self, request: bytes) -> list[int]:
        tally = Tally(request)
        deadline = time.monotonic() + self._endless_s
        try:
            # A socket of its own for each dump: nothing that is left of a broken one can get into the next.
            with netns.create_socket(family=AF_NETLINK, socket_type=SOCK_RAW, proto=NETLINK_SOCK_DIAG) as sock:
                # Not settimeout(), which would cost a poll() before every recv.
                sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, _timeval(self._silence_s))
                sock.sendto(tally.request, (0, 0))
                while not tally.add(self._buffer, self._receive(sock)):
                    if time.monotonic() > deadline:
                        raise KernelError(f"the kernel's dump of TCP sockets did not end within {self._endless_s:g} s")
        except BlockingIOError as error:
            raise KernelError(
                f"the kernel stopped answering for {self._silence_s:g} s in its dump of TCP sockets"
            ) from error
        except OSError as error:
            raise refusal(error.errno) from error
        return tally.states

    def _receive(self, sock: socket) -> int:
        """Size of the next datagram, now in the buffer; 0 for one that is not from the kernel (netlink port 0)."""
        size, _, flags, (port, _) = sock.recvmsg_into(self._room)
        if port != 0:
            return 0
        if flags & _TRUNCATED:
            raise TornError(f"the kernel's dump of TCP sockets holds a datagram of more than {_BUFFER} bytes")
        return size


def _timeval(seconds: float) -> bytes:
    """`struct timeval`, as SO_RCVTIMEO takes it."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def refusal(code: int | None) -> KernelError:
    """The error for an errno: its name, what it means, and what to do. ENOBUFS is a TornError: worth asking again."""
    name = errno.errorcode.get(code or 0, str(code))
    advice = _ADVICE.get(code or 0, os.strerror(code or 0))
    kind = TornError if code == errno.ENOBUFS else RefusedError
    return kind(f"the kernel refused to list its TCP sockets (sock_diag): {name}: {advice}")


class Tally:
    """The answers to one request, counted datagram by datagram. Bytes in, counts out; never sees a socket.

    `request` is what to send: `request` with a sequence number of its own. `states[n]` is how many sockets the kernel
    reported in state n, and means something only once `add` has returned True.
    """

    _HEAD = struct.Struct("=IQ5xB")  # nlmsg_len; nlmsg_type, nlmsg_flags and nlmsg_seq as one number; idiag_state
    _HEADER = struct.Struct("=IHHI")  # nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq
    _ERRNO = struct.Struct("=i")

    def __init__(self, request: bytes) -> None:
        _, kind, flags, _ = self._HEADER.unpack_from(request)
        self._sequence = int.from_bytes(os.urandom(4), "big")
        self.request = self._HEADER.pack(len(request), kind, flags, self._sequence) + request[self._HEADER.size :]
        self.states = [0] * 16
        self._words = struct.unpack("=II", struct.pack("=HHI", kind, NLM_F_MULTI, self._sequence))
        (self._socket,) = struct.unpack("=Q", struct.pack("=II", *self._words))

    def add(self, buffer: bytearray, size: int) -> bool:
        """Count the datagram in `buffer[:size]`, behind which SLACK more bytes must exist; True when it was the last.

        Raises KernelError for a refusal, TornError for anything that is not a whole and expected part of the answer.
        """
        try:
            last = self._add(buffer, size)
        except IndexError as error:
            raise TornError(_STRANGE) from error
        if last and (self.states[0] or any(self.states[len(TcpState) + 1 :])):
            raise TornError(_STRANGE)
        return last

    def _add(self, buffer: bytearray, size: int) -> bool:
        states, expected, head = self.states, self._socket, self._HEAD.unpack_from
        offset = self._add_alike(buffer, size)
        while offset < size:
            length, kind, state = head(buffer, offset)
            if kind != expected or length < SOCKET_LEN:
                self._check_end(buffer, offset, size)
                return True
            states[state] += 1
            offset += length + 3 & ~3  # NLMSG_ALIGN
        if offset > size:
            raise TornError("the kernel's dump of TCP sockets holds a message that is cut short")
        return False

    def _add_alike(self, buffer: bytearray, size: int) -> int:
        """Count a datagram whose messages all have one length, in C's loops; how many bytes are counted, all or none.

        The first message says where the second must begin; if its length, type and sequence are there, it says where
        the third must begin, and so on: comparing them all, one length apart, proves every one of them.
        """
        length, kind, _ = self._HEAD.unpack_from(buffer)
        if kind != self._socket or length < SOCKET_LEN or length % 4 or size % length:
            return 0
        words = memoryview(buffer)[:size].cast("I")
        for place, word in enumerate((length, *self._words)):
            if words[place :: length // 4] != memoryview(array("I", [word]) * (size // length)):
                return 0
        states = buffer[STATE:size:length]
        for state in set(states):
            self.states[state] += states.count(state)
        return size

    def _check_end(self, buffer: bytearray, offset: int, size: int) -> None:
        """Raise, unless the message at `offset`, which is not a socket's, is the good end of the dump."""
        length, kind, flags, sequence = self._HEADER.unpack_from(buffer, offset)
        if not HEADER_LEN <= length <= size - offset:
            raise TornError("the kernel's dump of TCP sockets holds a message that is cut short")
        if sequence != self._sequence:
            raise TornError("the kernel's dump of TCP sockets holds an answer to something else")
        code = None
        if kind in (NLMSG_DONE, NLMSG_ERROR) and length >= ERRNO_LEN:
            (code,) = self._ERRNO.unpack_from(buffer, offset + HEADER_LEN)
            if code < 0:
                raise refusal(-code)
        if flags & NLM_F_DUMP_INTR:
            raise TornError("the kernel's dump of TCP sockets was interrupted by a change")
        if kind != NLMSG_DONE or code != 0 or offset + length != size:
            raise TornError(
                f"the kernel's dump of TCP sockets holds an unexpected message: type {kind}, {length} bytes"
            )
