"""Connections to ever other addresses, each of which leaves a socket in TIME_WAIT. Run it in a network namespace of its own."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PORT = 80
NETWORK, FIRST = "10.0.0.0/8", IPv4Address("10.0.0.1")
SYSCTLS = {
    "ip_local_port_range": "1024 60999",
    "tcp_max_tw_buckets": "4000000",
    "tcp_rfc1337": "1",  # a late segment of the same connection would now and then end a socket in TIME_WAIT, by a RST
}


def prepare() -> socket.socket:
    """Make every address of the network one of this namespace, and return what listens on PORT of each."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "route", "add", "local", NETWORK, "dev", "lo"], check=True)
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    return socket.create_server(("", PORT))


def visit(server: socket.socket, numbers: Iterable[int]) -> None:
    """Connect to the address of each of these numbers, and close it from the client's side."""
    for number in numbers:
        with socket.create_connection((str(FIRST + number), PORT)):
            accepted, _ = server.accept()
        accepted.recv(1)  # returns when the client's FIN is here
        accepted.close()
