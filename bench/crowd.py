"""A holder (see lab/namespace.py) of many TCP sockets: `python -m bench.crowd ESTABLISHED TIME_WAIT PORTS [LISTENING]`.

One socket in four is IPv6; the established ones share so many local ports, and so many other ports are listened on. The
crowd lasts until standard input closes; those in TIME_WAIT last 60 s at most.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

TCP_REPAIR = 19  # include/uapi/linux/tcp.h: connect() makes an established socket at once, without a peer
FIRST_PORT = 30_000  # of the crowd, which uses this and the next ones, up to 60,000
FIRST_LISTENING = 9_000
SHARE = 15_000  # sockets to a process: below the usual limits on descriptors
SYSCTLS = {
    "ip_local_port_range": "1024 29999",  # for everybody else's outgoing connections, TIME_WAIT's included
    "tcp_max_tw_buckets": "4000000",
    "tcp_tw_reuse": "0",
}


def new_socket(number: int) -> tuple[socket.socket, str]:
    """Make a socket, and name the loopback address of its family."""
    if number % 4 == 0:
        return socket.socket(socket.AF_INET6), "::1"
    return socket.socket(socket.AF_INET), "127.0.0.1"


def established(number: int, ports: int) -> socket.socket:
    """Make socket `number` of the crowd; its local and remote ports together are unlike any other's."""
    sock, host = new_socket(number)
    remote, local = divmod(number, ports)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.bind((host, FIRST_PORT + local))
    sock.connect((host, 1 + remote))
    return sock


def hold(numbers: range, ports: int, ready: int) -> None:
    """Live as one process of the crowd, after its fork."""
    os.close(1)  # the first process's, whose end would go unseen if it were open here too
    crowd = [established(number, ports) for number in numbers]
    os.write(ready, b".")
    os.close(ready)
    sys.stdin.read()
    os._exit(len(crowd) != len(numbers))


def leave_time_wait(count: int) -> None:
    """Make real connections and close them from the client's side: each leaves one socket in TIME_WAIT."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        for number in range(count):
            client, host = new_socket(number)
            client.connect((host, server.getsockname()[1]))
            accepted = server.accept()[0]
            client.close()
            accepted.close()


def main() -> None:
    """Build the crowd, report it, hold it."""
    in_established, in_time_wait, ports, *rest = map(int, sys.argv[1:])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SHARE + 100, SHARE + 100))
    shares = [range(in_established)[first : first + SHARE] for first in range(0, in_established, SHARE)]
    waiting, ready = os.pipe()
    for numbers in shares:
        if os.fork() == 0:
            hold(numbers, ports, ready)
    os.close(ready)
    with os.fdopen(waiting, "rb") as signs:
        if len(signs.read()) != len(shares):
            sys.exit("bench.crowd: some of the sockets could not be made")
    leave_time_wait(in_time_wait)
    listening = [socket.create_server(("", FIRST_LISTENING + number)) for number in range(sum(rest))]
    print(json.dumps({"pid": os.getpid()}), flush=True)
    sys.stdin.read()
    for _ in shares:
        os.wait()
    for server in listening:
        server.close()


if __name__ == "__main__":
    main()
