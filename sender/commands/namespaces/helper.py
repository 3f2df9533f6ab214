"""Serves at most four clients of one user with what is found, and closes all others. One thread, which waits for nobody.

Whom it serves is no reason to trust: a client that sends anything but small packets, or does not read, is closed. Lines of the log
that somebody else can provoke come once a minute.
"""

from __future__ import annotations

import errno
import logging
import struct
import time
from itertools import islice
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from socket import SO_PEERCRED, SOL_SOCKET, socket
from typing import TYPE_CHECKING, NoReturn

from sender.commands.namespaces.client import Client
from sender.commands.namespaces.entering import socket_in
from sender.commands.namespaces.finder import Sight

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.commands.namespaces.finder import Found

_LOG = logging.getLogger(__name__)

MOST_CLIENTS = 4
MOST_NAMESPACES = 512  # any user can make namespaces; each costs whom we serve a descriptor
PERIOD_S = 10.0  # from one look for namespaces to the next
FULL_S = (
    7200.0  # for how long a client may take nothing in: a daemon reads once in its interval, which is an hour at most
)

_SHORTEST_PERIOD_S = 1.0  # whoever connects again and again
_ACCEPTED_AT_ONCE = 64  # then clients have their turn
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group; unix(7)
_GONE = {errno.ENOENT, errno.ESRCH, errno.ESTALE}  # the namespace, meanwhile


class Helper:
    """Serves who connects to `listening`, which does not block, if `may_have` says so of the user's id, with what `find` finds."""

    def __init__(
        self,
        listening: socket,
        *,
        may_have: Callable[[int], bool],
        find: Callable[[], Sight],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listening, self._may_have, self._find, self._monotonic = listening, may_have, find, monotonic
        self._selector = DefaultSelector()
        self._selector.register(listening, EVENT_READ)
        self._clients: list[Client] = []
        self._sight = Sight(namespaces={}, containers={})
        self._last_look = self._due = float("-inf")
        self._refused = 0
        self._seldom = _Seldom(monotonic)

    def serve(self) -> NoReturn:
        """Serve for ever. Raises KernelError where it cannot go on."""
        while True:
            self.turn()

    def close(self) -> None:
        """Let all clients go."""
        for client in self._clients:
            client.connection.close()
        self._selector.close()

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        for key, events in self._selector.select(self._patience_s()):
            if key.data is None:
                self._accept()
            else:
                self._attend(key.data, events)
        for client in [each for each in self._clients if self._is_stuck(each)]:
            self._end(client, "it does not read")
        if self._clients and self._monotonic() >= self._due:
            self._look()

    def _patience_s(self) -> float | None:
        """Return for how long there is nothing to do, if nobody wants anything; None: for ever."""
        if not self._clients:
            return None
        full = [each.full_since + FULL_S for each in self._clients if each.full_since is not None]
        return max(0.0, min(self._due, *full, float("inf")) - self._monotonic())

    def _is_stuck(self, client: Client) -> bool:
        return client.full_since is not None and self._monotonic() - client.full_since >= FULL_S

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listening.accept()
            except OSError:  # nobody is left, or one has gone already
                return
            self._admit(connection)

    def _admit(self, connection: socket) -> None:
        """Make whoever connected a client, or close the connection."""
        connection.settimeout(0)
        process, user, _ = _CREDENTIALS.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
        client = Client(connection, process, self._socket_in, self._monotonic)
        if not self._may_have(user):
            connection.close()
            self._refused += 1
            if self._seldom.may("refuse"):
                _LOG.warning(
                    "refused connections: %d, the last one of process %d, user %d", self._refused, process, user
                )
                self._refused = 0
        elif len(self._clients) >= MOST_CLIENTS:
            self._end(client, f"{MOST_CLIENTS} others are connected")
        else:
            self._clients.append(client)
            self._selector.register(connection, EVENT_READ, client)
            self._due = min(self._due, self._last_look + _SHORTEST_PERIOD_S)
            if self._monotonic() < self._due:
                self._tell(client)  # what was found just now: it waits for no look

    def _attend(self, client: Client, events: int) -> None:
        if events & EVENT_READ and not client.hear():
            self._end(client, "it has ended, or sends what nobody asked for")
        elif events & EVENT_WRITE:
            self._tell(client)

    def _look(self) -> None:
        """Find what there is, and tell it."""
        found = self._find()
        if (count := len(found.namespaces)) > MOST_NAMESPACES and self._seldom.may("find"):
            _LOG.warning("there are %d network namespaces; %d of them are handed over", count, MOST_NAMESPACES)
        self._sight = Sight(
            namespaces=dict(islice(found.namespaces.items(), MOST_NAMESPACES)),
            containers=dict(islice(found.containers.items(), MOST_NAMESPACES)),
        )
        self._last_look = self._monotonic()
        self._due = self._last_look + PERIOD_S
        for client in list(self._clients):
            self._tell(client)

    def _tell(self, client: Client) -> None:
        had_list = client.has_list
        try:
            client.tell(self._sight)
        except OSError:
            self._end(client, "it has ended")
            return
        writes = EVENT_WRITE if client.full_since is not None else 0
        self._selector.modify(client.connection, EVENT_READ | writes, client)
        if client.has_list and not had_list and self._seldom.may("list"):
            _LOG.info("process %d has sockets in %d network namespaces now", client.process, client.count)

    def _end(self, client: Client, why: str) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._selector.unregister(client.connection)
        client.connection.close()
        if self._seldom.may("end"):
            _LOG.info("closed the connection of process %d: %s", client.process, why)

    def _socket_in(self, found: Found) -> socket | None:
        """Return a socket in a namespace; None where that cannot be."""
        try:
            return socket_in(found.path, found.inode)
        except OSError as error:
            if error.errno not in _GONE and self._seldom.may("enter"):
                _LOG.warning("cannot make a socket in network namespace %d (%s): %s", found.inode, found.name, error)
            return None


class _Seldom:
    """Lets each kind of thing happen once a minute."""

    _PERIOD_S = 60.0

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[str, float] = {}

    def may(self, kind: str) -> bool:
        """Return whether it may happen now, and take it that it does."""
        now = self._monotonic()
        if now - self._last.get(kind, float("-inf")) < self._PERIOD_S:
            return False
        self._last[kind] = now
        return True
