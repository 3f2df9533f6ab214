"""TCP sockets that no list shows, held until standard input ends. A holder (see namespace.py).

150 clients end with a reset before they are accepted, as health checks do. Then they are accepted, and never closed. Of ten
MPTCP connections the clients close seven. A server closes 30 connections first, and its clients do not.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time

RESET, UNACCEPTED = 150, 20
MPTCP, MPTCP_CLOSED = 10, 7
HALF_CLOSED = 30
PORTS = 1001, 1002, 1003
IPPROTO_MPTCP = 262  # include/uapi/linux/in.h
FIN_WAIT2 = 5  # TCP_FIN_WAIT2 in include/net/tcp_states.h, the first byte of struct tcp_info


def reset(port: int) -> None:
    """Connect, and end with a RST."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def mptcp(count: int = MPTCP, closed: int = MPTCP_CLOSED) -> list[socket.socket]:
    """Return MPTCP sockets, a listener among them, of `count` connections; none where the kernel has no MPTCP."""
    try:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    except OSError:
        return []
    server.bind(("127.0.0.1", PORTS[1]))
    server.listen(count)
    held = [server]
    for number in range(count):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        client.connect(("127.0.0.1", PORTS[1]))
        held.append(server.accept()[0])
        if number < closed:
            client.close()
        else:
            held.append(client)
    return held


def half_closed() -> list[socket.socket]:
    """Return the clients of a server that has closed all it accepted, from which it waits for the same.

    Each is closed when its FIN has been acknowledged. An acknowledgement in the middle of close() would leave a whole socket in
    FIN_WAIT2, which is none of those that count against the limit of TIME_WAIT: tcp_rcv_state_process(), net/ipv4/tcp_input.c.
    """
    with socket.create_server(("127.0.0.1", PORTS[2]), backlog=HALF_CLOSED) as server:
        clients = [socket.create_connection(("127.0.0.1", PORTS[2])) for _ in range(HALF_CLOSED)]
        held = [server.accept()[0] for _ in clients]
        for accepted in held:
            accepted.shutdown(socket.SHUT_WR)
        for accepted in held:
            while accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != FIN_WAIT2:
                time.sleep(0.001)
            accepted.close()
    return clients


def main() -> None:
    """Set everything up, report, hold."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = socket.create_server(("127.0.0.1", PORTS[0]), backlog=RESET + UNACCEPTED)
    for _ in range(RESET):
        reset(PORTS[0])
    held = [server, *(server.accept()[0] for _ in range(RESET))]
    for _ in range(UNACCEPTED):
        reset(PORTS[0])
    held += half_closed()
    few = mptcp()
    udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    print(json.dumps({"held": len(held + few + udp), "mptcp": bool(few)}), flush=True)  # noqa: T201  what a holder says
    sys.stdin.read()


if __name__ == "__main__":
    main()
