"""One that is served: what it has been told, and what it has still to be told. Never waits, and never keeps what it hands over."""

from __future__ import annotations

from socket import MSG_TRUNC, send_fds, socket
from typing import TYPE_CHECKING

from sender.commands.namespaces import packets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sender.commands.namespaces.finder import Found, Sight


class Client:
    """Whoever has `connection`; `process` is its number, for people.

    `make_socket` returns a socket in a namespace, None where that cannot be. `full_since` is when the connection took no more,
    by `monotonic`; None while it does.
    """

    def __init__(
        self,
        connection: socket,
        process: int,
        make_socket: Callable[[Found], socket | None],
        monotonic: Callable[[], float],
    ) -> None:
        self.connection, self.process = connection, process
        self.full_since: float | None = None
        self.has_list = False
        self._is_listed = False  # whether it has been told that it has all
        self._make_socket, self._monotonic = make_socket, monotonic
        self._told: dict[int, Found] = {}
        self._named: dict[str, str] = {}

    @property
    def count(self) -> int:
        """Return how many namespaces it has."""
        return len(self._told)

    def hear(self) -> bool:
        """Read one packet, and ignore what it says. Return whether all is well: False for its end, and for no packet of ours."""
        try:
            heard, _, flags, _ = self.connection.recvmsg(packets.MOST_HEARD)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return not flags & MSG_TRUNC and packets.is_sound(heard)

    def tell(self, sight: Sight) -> None:
        """Tell what has changed, as far as the connection takes it. Raises OSError where nobody is there any more."""
        try:
            self._name(sight.containers)
            self._tell(sight.namespaces)
        except BlockingIOError:
            if self.full_since is None:
                self.full_since = self._monotonic()

    def _name(self, containers: Mapping[str, str]) -> None:
        for container in [each for each, name in self._named.items() if containers.get(each) != name]:
            self._send(packets.gone(container))
            del self._named[container]
        for container, name in containers.items():
            if container not in self._named:
                self._send(packets.named(container, name))
                self._named[container] = name

    def _tell(self, found: Mapping[int, Found]) -> None:
        for inode in [inode for inode, each in self._told.items() if found.get(inode) != each]:
            self._send(packets.gone(inode))
            del self._told[inode]
        for inode, each in found.items():
            if inode not in self._told and (made := self._make_socket(each)):
                with made:
                    self._send(packets.handed_over(inode, each.name, each.container), made.fileno())
                self._told[inode] = each
        if not self._is_listed:
            self._send(packets.listed(self.count))
            self.has_list = self._is_listed = True
        self.full_since = None

    def _send(self, packet: bytes, *descriptors: int) -> None:
        """Send one packet. Raises BlockingIOError where the connection takes no more now, OSError where it has ended."""
        self._is_listed = False
        send_fds(self.connection, [packet], descriptors)
        self.full_since = None
