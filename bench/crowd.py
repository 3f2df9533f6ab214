"""A holder (see lab/namespace.py) of many TCP sockets: `python -m bench.crowd ESTABLISHED TIME_WAIT PORTS [LISTENING [CLIENTS]]`.

One socket in four is IPv6; the established ones share so many local ports, and so many other ports are listened on. With CLIENTS
each process is a systemd unit by its cgroup, and local ports are of the kernel's own range, as those of clients: of half of the
sockets, towards a hundred destinations, while the others are clients' of the ports that are listened on, as a proxy has them (1);
or of all, towards a destination for each (2). The crowd lasts until standard input closes; those in TIME_WAIT last
60 s at most.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sender.kernel.cgroups import find_root

TCP_REPAIR = 19  # include/uapi/linux/tcp.h: connect() makes an established socket at once, without a peer
FIRST_PORT = 30_000  # of the crowd, which uses this and the next ones, up to 60,000
FIRST_LISTENING, LISTENING = 9_000, 10
SHARE = 15_000  # sockets to a process: below the usual limits on descriptors
PROXY, EACH = 1, 2  # CLIENTS
DESTINATIONS = 100  # of a proxy
CLIENTS_RANGE = "29952 60999"  # as in the default one, few ports share their first byte with others outside
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


def established(number: int, ports: int, clients: int) -> socket.socket:
    """Make socket `number` of the crowd; its local and remote ports together are unlike any other's."""
    sock, host = new_socket(number)
    remote, local = divmod(number, ports)
    if clients == PROXY and number % 8 < 4:  # of both families  # noqa: PLR2004
        nth = number // 8 * 4 + number % 8  # of these alone: the half of a million fits into the ports
        remote, local = divmod(nth, LISTENING)
        local -= FIRST_PORT - FIRST_LISTENING
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.bind((host, FIRST_PORT + local))
    if clients == EACH:
        high, low = number >> 16, number & 0xFFFF
        sock.connect((f"fd00::{high:x}:{low:x}" if host == "::1" else f"127.{1 + high}.{low >> 8}.{low & 255}", 443))
    else:
        sock.connect((host, 1 + remote))
    return sock


def be_unit(share: int) -> Path | None:
    """Put this process into a cgroup as of a systemd service; return its directory, None where there is no cgroup2."""
    root = find_root()
    if root is None:
        return None
    unit = root / f"bench-{os.getppid()}.slice" / f"worker-{share}.service"
    unit.mkdir(parents=True)
    (unit / "cgroup.procs").write_text(str(os.getpid()))
    return unit


def end_units() -> None:
    """Remove the cgroups of this process's children, which have ended."""
    slice_ = (find_root() or Path("/nowhere")) / f"bench-{os.getpid()}.slice"
    with suppress(OSError):
        for unit in slice_.glob("*.service"):
            unit.rmdir()
        slice_.rmdir()


def hold(numbers: range, ports: int, clients: int, ready: int) -> None:
    """Live as one process of the crowd, after its fork."""
    os.close(1)  # the first process's, whose end would go unseen if it were open here too
    if clients:
        be_unit(numbers[0] // SHARE)
    crowd = [established(number, ports, clients) for number in numbers]
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
    in_established, in_time_wait, ports, listening_ports, clients, *_ = (*map(int, sys.argv[1:]), 0, 0)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # As all of 127.0.0.0/8 is the machine's own.
    subprocess.run(["ip", "-6", "route", "add", "local", "fd00::/64", "dev", "lo"], check=True)
    for name, value in (SYSCTLS | ({"ip_local_port_range": CLIENTS_RANGE} if clients else {})).items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SHARE + 100, SHARE + 100))
    shares = [range(in_established)[first : first + SHARE] for first in range(0, in_established, SHARE)]
    waiting, ready = os.pipe()
    for numbers in shares:
        if os.fork() == 0:
            hold(numbers, ports, clients, ready)
    os.close(ready)
    with os.fdopen(waiting, "rb") as signs:
        if len(signs.read()) != len(shares):
            sys.exit("bench.crowd: some of the sockets could not be made")
    leave_time_wait(in_time_wait)
    listening = [socket.create_server(("", FIRST_LISTENING + number)) for number in range(listening_ports)]
    print(json.dumps({"pid": os.getpid()}), flush=True)
    sys.stdin.read()
    for _ in shares:
        os.wait()
    end_units()
    for server in listening:
        server.close()


if __name__ == "__main__":
    main()
