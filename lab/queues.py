"""Listeners of every kind, some with connections that wait to be accepted. A holder (see namespace.py).

Ports are fixed, as the namespace is its own. Each listener holds a number of its own of waiting connections.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 10
POLL_S = 0.005
ADDRESS, NETWORK = "192.0.2.1", 24
UNANSWERED = {"192.0.2.9": 3, "192.0.2.10": 1, "2001:db8::9": 2}  # how often this host asks whom


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """A listener to be: `waiting` connections come from `sources`, in turn, and nobody accepts them.

    With a `device` it takes connections that arrive there alone.
    """

    port: int
    host: str
    backlog: int
    waiting: int = 0
    sources: tuple[str, ...] = ("127.0.0.1",)
    dual: bool = False
    device: str = ""


EARS = (
    Ear(port=1001, host="127.0.0.1", backlog=10, waiting=3),
    Ear(port=1002, host="::1", backlog=20, waiting=4, sources=("::1",)),
    Ear(port=1003, host="::", backlog=30, waiting=6, sources=("::1", "127.0.0.1"), dual=True),
    Ear(port=1004, host="0.0.0.0", backlog=4, waiting=5),  # noqa: S104  one over the limit: the kernel takes it
    Ear(port=1005, host="127.0.0.1", backlog=0, waiting=1),
    Ear(port=1006, host="127.0.0.1", backlog=128),
    Ear(port=1006, host="192.0.2.1", backlog=64),
    Ear(port=1008, host="0.0.0.0", backlog=9, device="lo"),  # noqa: S104
    Ear(port=1009, host="::", backlog=9, device="lo"),
    Ear(port=1010, host="0.0.0.0", backlog=9, device="silent"),  # noqa: S104
)
SHARED = 1007  # by several listeners, with SO_REUSEPORT: the kernel spreads connections over them
SHARED_BACKLOGS, SHARED_WAITING = (50, 20, 100), 30


def listen(ear: Ear) -> socket.socket:
    """Its socket."""
    sock = socket.socket(socket.AF_INET6 if ":" in ear.host else socket.AF_INET)
    if ":" in ear.host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not ear.dual)
    if ear.device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ear.device.encode())
    sock.bind((ear.host, ear.port))
    sock.listen(ear.backlog)
    return sock


def share(backlog: int) -> socket.socket:
    """One of those on SHARED."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", SHARED))
    sock.listen(backlog)
    return sock


def ask(address: str) -> socket.socket:
    """Return a connection that is asked for and not answered."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.settimeout(0)
    sock.connect_ex((address, 7))
    return sock


def established() -> int:
    """How many there are, both ends counted."""
    tables = [Path("/proc/net", table).read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    return sum(line.split()[3] == "01" for lines in tables for line in lines)


def main() -> None:
    """Set everything up, report, hold."""
    commands = f"""
        link set lo up
        link add name silent type veth peer name deaf
        link set silent up
        link set deaf up
        addr add {ADDRESS}/{NETWORK} dev silent
        addr add 2001:db8::1/64 dev silent nodad
    """
    subprocess.run(["ip", "-batch", "-"], check=True, text=True, input=commands)
    for address in UNANSWERED:  # a neighbour, so that the kernel does not look for one, and gives up
        command = ["ip", "neigh", "add", address, "lladdr", "02:00:00:00:00:09", "dev", "silent"]
        subprocess.run(command, check=True)
    held = [listen(ear) for ear in EARS] + [share(backlog) for backlog in SHARED_BACKLOGS]
    for ear in EARS:
        held += [
            socket.create_connection((ear.sources[number % len(ear.sources)], ear.port))
            for number in range(ear.waiting)
        ]
    held += [socket.create_connection(("127.0.0.1", SHARED)) for _ in range(SHARED_WAITING)]
    held += [ask(address) for address, count in UNANSWERED.items() for _ in range(count)]
    expected = 2 * (sum(ear.waiting for ear in EARS) + SHARED_WAITING)
    deadline = time.monotonic() + DEADLINE_S
    while established() != expected:
        if time.monotonic() > deadline:
            sys.exit(f"queues: {established()} sockets are established, of {expected}")
        time.sleep(POLL_S)
    print(json.dumps({"held": len(held)}), flush=True)  # noqa: T201  what a holder says
    sys.stdin.read()


if __name__ == "__main__":
    main()
