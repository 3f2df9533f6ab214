"""Names of TCP services, from the system's own table (services(5), through nsswitch.conf). The only caller of NSS here.

The table may be a directory server that answers in seconds, or not at all, and a sample must not wait for it. So names are
looked up in a thread, which lives as long as there are any to look up. A service whose name is not known yet has none; the
next sample that knows it sends discovery again, as on any change.
"""

from __future__ import annotations

import socket
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 0.25  # in which a table on the disk gives hundreds of names, so that the first discovery has them


@lru_cache(maxsize=4096)
def service_of(port: int) -> str:
    """Return the name of a TCP service, however long that takes; "" where the table has none."""
    try:
        return socket.getservbyport(port, "tcp")
    except (OSError, UnicodeError):  # the table has none, or one that is not UTF-8
        return ""


class ServiceNames:
    """The names of services, looked up once each with `look_up`. Any thread may ask.

    All who ask wait for `patience_s` together, in the whole life of an instance.
    """

    def __init__(self, look_up: Callable[[int], str] = service_of, *, patience_s: float = _PATIENCE_S) -> None:
        self._look_up = look_up
        self._patience_s = patience_s
        self._news = threading.Condition()  # with a lock over what follows
        self._names: dict[int, str] = {}
        self._asked: dict[int, None] = {}  # ports to be looked up, in this order
        self._is_working = False

    def __call__(self, port: int) -> str:
        """Return the name of the service on `port`, "" while that is not known."""
        with self._news:
            if port not in self._names:
                self._asked[port] = None
                if not self._is_working:
                    self._is_working = True
                    threading.Thread(target=self._work, name="names of services", daemon=True).start()
                began = time.monotonic()
                self._news.wait_for(lambda: port in self._names, self._patience_s)
                self._patience_s = max(0.0, self._patience_s - (time.monotonic() - began))
            return self._names.get(port, "")

    def _work(self) -> None:
        """Look up what was asked for, until nothing is left."""
        while True:
            with self._news:
                port = next(iter(self._asked), None)
                if port is None:
                    self._is_working = False
                    return
            name = self._look_up(port)
            with self._news:
                self._names[port] = name
                del self._asked[port]
                self._news.notify_all()
