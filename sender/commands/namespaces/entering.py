"""A netlink socket in another network namespace: the calling thread enters it, makes the socket, and is back. Needs root.

The socket stays in that namespace for good, and keeps it from ending.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager
from socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from typing import TYPE_CHECKING

from sender.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h
CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h: setns(2) accepts a network namespace, and nothing else

_LIBC = ctypes.CDLL(None, use_errno=True)  # os.setns is there from Python 3.12 on


def socket_in(path: str, inode: int) -> socket:
    """Return a socket for sock_diag in the namespace that `path` opens. Raises OSError; ESTALE where that is another by now."""
    with _opened(path) as there, _opened("/proc/thread-self/ns/net") as home:
        if os.fstat(there).st_ino != inode:
            raise OSError(errno.ESTALE, "another network namespace is there by now", path)
        _enter(there)
        try:
            return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
        finally:
            _return(home)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(namespace: int) -> None:
    """Let the calling thread be in a namespace. Raises OSError."""
    if _LIBC.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _return(home: int) -> None:
    """Let the calling thread be at home again. Raises KernelError: it must not go on elsewhere."""
    try:
        _enter(home)
    except OSError as error:
        raise KernelError(f"cannot return from another network namespace: {error.strerror}") from error
