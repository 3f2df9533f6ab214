"""The link to the privileged helper: netlink sockets of other network namespaces, by name. Trusts nothing that it gets.

The helper (`tcp-status-sender namespaces`) makes a socket in each namespace and passes it on; a netlink socket answers for the
namespace in which it was made, whoever holds it. One that is held keeps its namespace alive, so it is closed when the helper says
that nobody is left in there, and when the helper is gone.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.kernel.netlink import NETLINK_SOCK_DIAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = Path("/run/tcp-status-sender-namespaces.sock")  # as in packaging/tcp-status-sender-namespaces.socket

_PACKET = 4096
_MOST = 512  # namespaces, as the helper has it: half of the descriptors that systemd gives a service
_AT_ONCE = 2000  # packets read at once: a helper that talks without end delays no sample
_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group; unix(7)
_ROOT = 0
PATIENCE_S = 0.25  # with a helper that was met just now, so that a first sample has what there is


@dataclass(frozen=True, slots=True)
class NamedNamespace:
    """A network namespace: the name that the helper gives it, and a netlink socket that was made in it."""

    name: str
    sock: socket.socket


class NamespaceLink:
    """What the helper has passed on, by the namespace's number. For one thread, which waits `patience_s` at most for the rest of what the helper has to say.

    `trouble` is why there is nothing, None while the helper is there.
    """

    def __init__(self, path: Path = PATH, *, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        self._sock: socket.socket | None = None
        self.held: dict[str, NamedNamespace] = {}
        self.container_names: dict[str, str] = {}  # of those on the host's network, by id
        self.is_listed = False  # whether the helper has told of all that there are,
        self.is_whole = False  # and of all that has changed since
        self.trouble: str | None = None

    def update(self) -> None:
        """Take in what the helper has said since the last call; connect to it where that is needed."""
        deadline = began = time.monotonic()
        if self._sock is None:
            self._connect()
            deadline = began + self._patience_s
        for _ in range(_AT_ONCE):
            if self._sock is None:
                return
            if self._receive(self._sock):
                deadline = began + self._patience_s  # there may be more
            else:
                left_s = deadline - time.monotonic()
                if self._sock is None or self.is_whole or left_s <= 0:
                    return
                select.select([self._sock], [], [], left_s)

    def close(self) -> None:
        """Let go of the helper and of every namespace."""
        if self._sock:
            self._sock.close()
            self._sock = None
        for each in self.held.values():
            each.sock.close()
        self.held.clear()
        self.is_listed = self.is_whole = False

    def _connect(self) -> None:
        with ExitStack() as stack:
            try:
                sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK))
                sock.connect(str(self._path))
                credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            except OSError as error:
                self.trouble = f"{self._path}: {error.strerror}"
                return
            if _CREDENTIALS.unpack(credentials)[1] != _ROOT:
                self.trouble = f"{self._path} is not root's"
                return
            stack.pop_all()
        self._sock, self.trouble = sock, None
        self.container_names.clear()  # until here the last ones are the best that there are

    def _receive(self, link: socket.socket) -> bool:
        """Take in one packet; return whether there may be more."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(link, _PACKET, 2, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(f"the helper is gone: {error.strerror}")
            return False
        socks = list(_sockets(descriptors))
        if not packet:
            self._lose("the helper is gone")
        elif not self._take_in(packet, socks):
            self._lose("the helper has said something that nobody understands")
        for sock in socks:
            if all(sock is not each.sock for each in self.held.values()):
                sock.close()
        return self._sock is not None

    def _lose(self, why: str) -> None:
        self.close()
        self.trouble = why

    def _take_in(self, packet: bytes, socks: list[socket.socket]) -> bool:
        """Take in what a packet says; return whether it is understood."""
        said = _said(packet)
        name, number, container = said.get("name"), said.get("namespace"), said.get("container")
        self.is_whole = False
        if isinstance(gone := said.get("gone"), str):
            self._let_go(gone)
        elif isinstance(said.get("listed"), int):
            self.is_listed = self.is_whole = True
        elif not (isinstance(name, str) and _NAME.fullmatch(name)):
            return False
        elif isinstance(number, str):
            return self._hold(number, name, socks)
        else:
            return isinstance(container, str) and self._call(container, name)
        return True

    def _let_go(self, gone: str) -> None:
        """Let go of a namespace or of a container's name."""
        if gone in self.held:
            self.held.pop(gone).sock.close()
        self.container_names.pop(gone, None)

    def _hold(self, number: str, name: str, socks: list[socket.socket]) -> bool:
        """Hold a namespace; return whether it is one."""
        self._let_go(number)
        is_one = _NUMBER.fullmatch(number) and len(socks) == 1 and _is_sock_diag(socks[0]) and len(self.held) < _MOST
        if is_one:
            self.held[number] = NamedNamespace(name, socks[0])
        return bool(is_one)

    def _call(self, container: str, name: str) -> bool:
        """Note a container's name; return whether it is one."""
        is_one = _CONTAINER.fullmatch(container) and len(self.container_names) < _MOST
        if is_one:
            self.container_names[container] = name
        return bool(is_one)


def _sockets(descriptors: Iterable[int]) -> Iterator[socket.socket]:
    """Yield what was passed on; what is no socket is closed."""
    for descriptor in descriptors:
        try:
            yield socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)


def _said(packet: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        said = json.loads(packet)
        if isinstance(said, dict):
            return said
    return {}


def _is_sock_diag(sock: socket.socket) -> bool:
    return (sock.family, sock.proto) == (socket.AF_NETLINK, NETLINK_SOCK_DIAG)
