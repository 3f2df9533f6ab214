"""A stand-in for a Zabbix trapper that fails, or answers, in a way of the test's choosing; on loopback.

It reads requests as strictly as Zabbix does. What a real server does is tested against a real one.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lab.keys import STEADY

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from typing_extensions import Self

_HEADER = struct.Struct("<4sBII")
RESET = b"reset"  # an answer that is none: the connection is reset instead
MUTE = b"mute"  # nor this: nothing is said until the client gives up, or the context ends


def packet(body: bytes, *, flags: int = 1, announced: int | None = None) -> bytes:
    """Return a packet of the Zabbix protocol (manual: Appendix, Protocols, Header)."""
    return b"ZBXD" + struct.pack("<BII", flags, len(body) if announced is None else announced, 0) + body


def counts(processed: int, failed: int) -> bytes:
    """Return a trapper's answer to "sender data"."""
    info = f"processed: {processed}; failed: {failed}; total: {processed + failed}; seconds spent: 0.000071"
    return packet(json.dumps({"response": "success", "info": info}).encode())


def accept(request: dict[str, Any]) -> bytes:
    """Every value is processed; to a request that it does not know, Zabbix says nothing."""
    return counts(len(request["data"]), 0) if "data" in request else b""


def redirect(**to: Any) -> bytes:
    """Return the answer of a proxy to whom the host does not belong: `address` and `revision`, or `reset`."""
    return packet(json.dumps({"redirect": to, "response": "failed"}).encode())


class Trapper:
    """Listens while the context lasts. `answer(request)` gives the bytes to answer with, before the connection closes.

    `answer` may be changed at any time; an iterable of bytes is sent piece by piece. `requests` are those received, `peers`
    where each connection came from. With `reads`, only so many bytes of a request are read before the answer is made. With `encrypted`, it speaks TLS alone.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], Any] = accept,
        *,
        address: str = "127.0.0.1",
        reads: int | None = None,
        encrypted: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self._encrypted = encrypted
        self._reads = reads
        self.requests: list[dict[str, Any]] = []
        self.peers: list[str] = []
        self.closing = threading.Event()
        self._mute: list[socket.socket] = []
        self.received = threading.Condition()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.node = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self._threads = [threading.Thread(target=self._serve)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.refuse()
        self._listener.close()
        for connection in self._mute:
            with suppress(OSError):  # the client has given up before
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def refuse(self) -> None:
        """Refuse every connection from now on."""
        with suppress(OSError):  # it does so already
            self._listener.shutdown(socket.SHUT_RDWR)

    def wait_for(self, count: int, timeout_s: float = 20) -> None:
        """Until that many requests have come in."""
        with self.received:
            assert self.received.wait_for(lambda: len(self.requests) >= count, timeout_s), f"{len(self.requests)} came"

    @property
    def values(self) -> list[dict[str, Any]]:
        """All values of all requests, in the order in which they came."""
        return [value for request in self.requests for value in request.get("data", [])]

    @property
    def host_values(self) -> list[dict[str, Any]]:
        """Those of the host as a whole that every sample has: without discovery and rare ones."""
        return [value for value in self.values if value["key"] in STEADY]

    def _serve(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            thread = threading.Thread(target=self._handle, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _handle(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        if self._encrypted:
            try:
                connection = self._encrypted.wrap_socket(connection, server_side=True)
            except (OSError, ValueError):
                return  # which closes it
        with connection:
            try:
                request = self._read(connection)
                reply = self.answer(request)
                if reply is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if reply is MUTE:
                    self._mute.append(connection)
                    while not self.closing.is_set() and connection.recv(65536):
                        pass
                    return
                for piece in [reply] if isinstance(reply, bytes) else reply:
                    connection.sendall(piece)
            except OSError:
                return  # the client has had enough

    def _read(self, connection: socket.socket) -> dict[str, Any]:
        if self._reads is not None:
            connection.recv(self._reads, socket.MSG_WAITALL)
            return {}
        with connection.makefile("rb") as stream:
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise ConnectionError("it ended within the header")
            magic, flags, length, plain_length = _HEADER.unpack(header)
            body = stream.read(length)
            if len(body) < length:
                raise ConnectionError("it ended within the body")
        assert magic == b"ZBXD"
        assert flags in (1, 3)
        if flags == 3:
            body = zlib.decompress(body)
            assert len(body) == plain_length
        request: dict[str, Any] = json.loads(body)
        with self.received:
            self.requests.append(request)
            self.received.notify_all()
        return request
