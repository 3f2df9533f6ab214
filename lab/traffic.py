"""Ordinary local traffic: services that listen, and clients that come and go. Knows nothing of `sender`."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

LAZY_EVERY, LAZY_S = 20, 2.0  # now and then a program is slow to close: a moment in CLOSE_WAIT


class Service(threading.Thread):
    """Listens on `port`, takes every connection at once, and closes it when its client has."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._server = socket.create_server(("127.0.0.1", port), backlog=64)

    def run(self) -> None:
        """Serve until `close`."""
        number = 0
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def close(self) -> None:
        """Listen no longer; what is open goes on."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with closing(connection):
            while connection.recv(100):
                pass
            if number % LAZY_EVERY == 0:
                time.sleep(LAZY_S)


class Traffic(threading.Thread):
    """Short connections to the first of `ports`, and services on the others that vanish and come back, while it lasts."""

    def __init__(self, ports: Sequence[int], seed: str, *, pause_s: float = 0.1, stays_s: float = 20) -> None:
        super().__init__(daemon=True)
        self._chance = random.Random(seed)  # noqa: S311  no secret
        self._services = {port: self._begin(port) for port in ports}
        self._web, *self._changing = ports
        self._pause_s, self._stays_s = pause_s, stays_s
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        for service in self._services.values():
            service.close()

    def run(self) -> None:
        """Until the context ends."""
        while not self._over.wait(self._pause_s):
            socket.create_connection(("127.0.0.1", self._web)).close()
            if self._chance.random() < self._pause_s / self._stays_s:
                port = self._chance.choice(self._changing)
                if service := self._services.pop(port, None):
                    service.close()
                else:
                    self._services[port] = self._begin(port)

    def _begin(self, port: int) -> Service:
        service = Service(port)
        service.start()
        return service
