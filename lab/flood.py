"""A SYN flood on an ordinary backlog: 1,500 forged requests to one listener. A holder (see namespace.py).

The kernel answers what is over the listener's limit with SYN cookies, of which it keeps nothing; with the argument
`without-cookies` it drops them.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from lab.every_state import IPV4, Flags, Peer, Segment

PORT, BACKLOG, REQUESTS = 443, 50, 1500


def main() -> None:
    """Flood, report, hold."""
    if sys.argv[1:] == ["without-cookies"]:
        Path("/proc/sys/net/ipv4/tcp_syncookies").write_text("0")
    peer = Peer()
    with socket.create_server((IPV4.host, PORT), backlog=BACKLOG):
        target = socket.inet_aton(IPV4.host), PORT
        for number in range(REQUESTS):
            source = bytes([192, 0, 2, 3 + number % 250]), 10_000 + number
            peer.send(Segment(source=source, target=target, seq=number, ack=0, flags=Flags.SYN))
        print(json.dumps({}), flush=True)  # noqa: T201  what a holder says
        sys.stdin.read()


if __name__ == "__main__":
    main()
