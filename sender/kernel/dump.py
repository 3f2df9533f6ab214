"""The netlink side of an answer: whole, expected and no refusal, or an error. Bytes in; the sockets go to the census."""

from __future__ import annotations

import errno
import os
import struct
from array import array

from sender.errors import KernelError, RefusedError, TornError
from sender.kernel.counts import SOCKET_LEN, SocketCounts
from sender.model import TcpState

HEADER_LEN = 16  # sizeof(struct nlmsghdr), include/uapi/linux/netlink.h, as are the next four lines
NLM_F_MULTI, NLM_F_DUMP_INTR = 0x02, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
ERRNO_LEN = HEADER_LEN + 4  # a message with an errno behind its header: NLMSG_ERROR, and NLMSG_DONE of a dump
SLACK = SOCKET_LEN  # bytes behind a datagram, so that a header can be read, and found foreign, at its very end

_STRANGE = "the kernel's dump of TCP sockets holds one in a state that was not asked for"
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


def refusal(code: int | None) -> KernelError:
    """The error for an errno: its name, what it means, and what to do. ENOBUFS is a TornError: worth asking again."""
    name = errno.errorcode.get(code or 0, str(code))
    advice = _ADVICE.get(code or 0, os.strerror(code or 0))
    kind = TornError if code == errno.ENOBUFS else RefusedError
    return kind(f"the kernel refused to list its TCP sockets (sock_diag): {name}: {advice}")


class DumpReader:
    """The answers to one request, taken in datagram by datagram. Bytes in; never sees a socket.

    `request` is what to send: `request` with a sequence number of its own. `census` gets the sockets; what it has
    counted means something only once `add` has returned True.
    """

    _HEAD = struct.Struct("=IQ")  # nlmsg_len; nlmsg_type, nlmsg_flags and nlmsg_seq as one number
    _HEADER = struct.Struct("=IHHI")  # nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq
    _ERRNO = struct.Struct("=i")

    def __init__(self, request: bytes, counts: SocketCounts | None = None) -> None:
        _, kind, flags, _ = self._HEADER.unpack_from(request)
        self._sequence = int.from_bytes(os.urandom(4), "big")
        self.request = self._HEADER.pack(len(request), kind, flags, self._sequence) + request[self._HEADER.size :]
        self.counts = counts or SocketCounts()
        self._words = struct.unpack("=II", struct.pack("=HHI", kind, NLM_F_MULTI, self._sequence))
        (self._socket,) = struct.unpack("=Q", struct.pack("=II", *self._words))

    def add(self, buffer: bytearray, size: int) -> bool:
        """Take in the datagram in `buffer[:size]`, behind which SLACK more bytes must exist; True when it was the last.

        Raises KernelError for a refusal, TornError for anything that is not a whole and expected part of the answer.
        """
        try:
            last = self._add(buffer, size)
        except IndexError as error:
            raise TornError(_STRANGE) from error
        if last and (self.counts.states[0] or any(self.counts.states[len(TcpState) + 1 :])):
            raise TornError(_STRANGE)
        return last

    def _add(self, buffer: bytearray, size: int) -> bool:
        length = self._is_alike(buffer, size)
        if length:
            self.counts.count_alike(buffer, size, length)
            return False
        offset = self.counts.count_each(buffer, 0, size, self._socket)
        if offset < size:
            self._check_end(buffer, offset, size)
            return True
        if offset > size:
            raise TornError("the kernel's dump of TCP sockets holds a message that is cut short")
        return False

    def _is_alike(self, buffer: bytearray, size: int) -> int:
        """The length of every message in a datagram where all are sockets' and have one length, else 0.

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
