"""An application with a bug: it answers each of its clients, and closes none. `python -m demo.application PORT`."""

from __future__ import annotations

import resource
import socket
import sys
import time
from contextlib import suppress

from demo.plan import BACKLOG, DESCRIPTORS

PAUSE_S = 0.5


def main() -> None:
    """Serve until the process is killed, or for as long as it has descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    forgotten = []
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=BACKLOG) as listener:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # EMFILE: who has come stays in the queue
                time.sleep(PAUSE_S)
                continue
            with suppress(OSError):  # the client has gone
                connection.sendall(b"\n")
            forgotten.append(connection)


if __name__ == "__main__":
    main()
