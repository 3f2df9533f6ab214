"""A line between a sender and a trapper, which a test can cut in the middle of a request or of its answer; on loopback.

Knows of Zabbix only what a request looks like, to say afterwards what has passed.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.zabbix_stack import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_HEADER = struct.Struct("<4sBII")
_COMPRESSED = 0x02
_LONGEST_S = 60.0  # no connection of a test lasts so long


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a connection meets. Where a further byte comes after those that pass, it is reset, both ways."""

    listens: bool = True
    passes: bool = True  # else it is accepted and then met with silence
    request_bytes: float = math.inf
    answer_bytes: float = math.inf
    delay_s: float = 0.0


WHOLE = Line()
REFUSING = Line(listens=False)
SILENT = Line(passes=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A connection that has ended."""

    request: bytes  # all that the sender sent
    answer: bytes  # all that the server answered
    cut: bool
    ended: float  # time.time()

    @property
    def values(self) -> list[dict[str, Any]]:
        """The values in the request, which must be whole."""
        magic, flags, length, _ = _HEADER.unpack_from(self.request)
        body = self.request[_HEADER.size :]
        assert (magic, length) == (b"ZBXD", len(body))
        values: list[dict[str, Any]] = json.loads(zlib.decompress(body) if flags & _COMPRESSED else body)["data"]
        return values


class Relay:
    """Listens while the context lasts, and passes on to a port what each connection's `Line` lets pass."""

    def __init__(self, to_port: int, line: Line = WHOLE, port: int | None = None) -> None:
        """On `port`, else on a free one; in the network namespace in which it is made, whence what it passes on leaves it."""
        self.port = port or free_ports(1)[0]
        self.exchanges: list[Exchange] = []
        self._to_port = to_port
        self._line = line
        self._listener = socket.socket()
        self._changed = threading.Condition()  # guards everything here, and tells of the end of a connection
        self._acceptor: threading.Thread | None = None
        self._connections: list[threading.Thread] = []

    def __enter__(self) -> Self:
        # Where it does not listen it still holds the port, so that nobody else can take it.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        if self._line.listens:
            self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.become(REFUSING)
        self._listener.close()

    def become(self, line: Line) -> None:
        """Change what connections meet; return when those that met something else have ended."""
        with self._changed:
            before, self._line = self._line, line
        if line.listens and not before.listens:
            self._listen()
        if before.listens and not line.listens:
            self._refuse()
        with self._changed:
            connections = self._connections[:]
        for connection in connections:
            connection.join()

    @property
    def cuts(self) -> list[Exchange]:
        """The connections that were cut."""
        return [exchange for exchange in self.exchanges if exchange.cut]

    @property
    def answered(self) -> list[Exchange]:
        """The connections that passed to their end."""
        return [exchange for exchange in self.exchanges if exchange.answer and not exchange.cut]

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 20) -> None:
        """Until `condition` holds, asked whenever a connection has ended."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), f"after {len(self.exchanges)} connections still not"

    def _listen(self) -> None:
        self._listener.listen()
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def _refuse(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        if self._acceptor:
            self._acceptor.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it listens no longer
            with self._changed:
                connection = threading.Thread(target=self._handle, args=(client, self._line))
                self._connections.append(connection)
                connection.start()

    def _handle(self, client: socket.socket, line: Line) -> None:
        with client, socket.socket() as server:
            request, answer = _Flow(client, server, line.request_bytes), _Flow(server, client, line.answer_bytes)
            with suppress(OSError):  # one of the two has had enough
                time.sleep(line.delay_s)
                if line.passes:
                    server.connect(("127.0.0.1", self._to_port))
                    _pass(request, answer)
                else:
                    _take_in_silence(client)
            for end in (client, server) if request.cut or answer.cut else ():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it resets it
        with self._changed:
            self.exchanges.append(
                Exchange(
                    request=bytes(request.seen),
                    answer=bytes(answer.seen),
                    cut=request.cut or answer.cut,
                    ended=time.time(),
                )
            )
            self._changed.notify_all()


class _Flow:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, allowed: float) -> None:
        self.source = source
        self.seen = bytearray()
        self.cut = False
        self._sink = sink
        self._allowed = allowed

    def pass_on(self) -> bool:
        """Pass on what has come and may pass; False when that was the last."""
        data = self.source.recv(65536)
        may_pass = int(min(len(data), self._allowed - len(self.seen)))
        self.seen += data
        self._sink.sendall(data[:may_pass])
        self.cut = may_pass < len(data)
        return bool(data) and not self.cut


def _pass(*flows: _Flow) -> None:
    while True:
        ready = select.select([flow.source for flow in flows], [], [], _LONGEST_S)[0]
        for flow in flows:
            if flow.source in ready and not flow.pass_on():
                return
        if not ready:
            return


def _take_in_silence(client: socket.socket) -> None:
    client.settimeout(_LONGEST_S)
    while client.recv(65536):
        pass
