"""`python -m bench.disturbance`: how long connect() to a busy port takes while somebody lists the sockets.

Many connections are accepted on one port, in a network namespace of their own. A client connects to that port about a
thousand times a second on one processor, while another process lists all sockets every 0.2 s on the other.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import draw
from lab.namespace import Namespace
from sender.kernel.requests import ALL_STATES, BOUND_INACTIVE, one_walk
from sender.kernel.sock_diag import SockDiag

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 7_500  # connections to a process and to a client's address; both ends are below the usual limit on descriptors
IP_BIND_ADDRESS_NO_PORT = 24  # include/uapi/linux/in.h: connect() chooses the port, so that addresses share them
EVERY_S, PAUSE_S = 0.2, 0.001
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: close() leaves no TIME_WAIT behind
CLIENT_CPU, SAMPLER_CPU = 0, 1
HEADINGS = ("sampling", "connects", "99.9 % within ms", "worst ms")


def ss() -> None:
    """List as `ss` does."""
    subprocess.run(["ss", "-tan"], stdout=subprocess.DEVNULL, check=True)


WAYS: dict[str, Callable[[], object]] = {
    "none": lambda: None,
    "ours": SockDiag().sample,
    "ours, with state bit 13": SockDiag([[one_walk(ALL_STATES | BOUND_INACTIVE)]]).sample,
    "ss -tan": ss,
}


def alone_on(processor: int) -> None:
    """Keep this process on a processor, ahead of all that the machine does besides."""
    os.sched_setaffinity(0, {processor})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


def hold(listener: socket.socket, number: int, count: int, ready: int) -> None:
    """Live as the process that holds both ends of `count` connections, after its fork."""
    os.close(1)  # the first process's, whose end would go unseen if it were open here too
    ends = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((f"127.0.1.{1 + number}", 0))
        client.connect(listener.getsockname())
        ends += [client, listener.accept()[0]]
    os.write(ready, b".")
    os.close(ready)
    sys.stdin.read()
    os._exit(0)


def fill(listener: socket.socket, connections: int) -> None:
    """Let processes of their own make and hold the connections."""
    shares = [range(connections)[first : first + SHARE] for first in range(0, connections, SHARE)]
    waiting, ready = os.pipe()
    for number, share in enumerate(shares):
        if os.fork() == 0:
            hold(listener, number, len(share), ready)
    os.close(ready)
    with os.fdopen(waiting, "rb") as signs:
        if len(signs.read()) != len(shares):
            sys.exit("bench.disturbance: some of the connections could not be made")


def sample_on(sample: Callable[[], object]) -> int:
    """Start a process that samples again and again, and return its number."""
    process = os.fork()
    if process == 0:
        alone_on(SAMPLER_CPU)
        while True:
            due = time.monotonic() + EVERY_S
            sample()
            time.sleep(max(0, due - time.monotonic()))
    return process


def connect(listener: socket.socket) -> float:
    """Return how many seconds it took to connect; hang up afterwards."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        begin = time.perf_counter()
        client.connect(listener.getsockname())
        seconds = time.perf_counter() - begin
        listener.accept()[0].close()
    return seconds


def measure(listener: socket.socket, sample: Callable[[], object], seconds: float) -> list[float]:
    """Return how long each connect() took, the longest last, while somebody samples."""
    process, end, took = sample_on(sample), time.monotonic() + seconds, []
    while time.monotonic() < end:
        took.append(connect(listener))
        time.sleep(PAUSE_S)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return sorted(took)


def inside(connections: int, seconds: float) -> None:
    """Measure each way in this namespace, report, and live until standard input closes."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("10000 65000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * SHARE + 100, 2 * SHARE + 100))
    listener = socket.create_server(("127.0.0.1", 443), backlog=1024)
    fill(listener, connections)
    alone_on(CLIENT_CPU)
    print(json.dumps({name: measure(listener, sample, seconds) for name, sample in WAYS.items()}), flush=True)
    sys.stdin.read()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.disturbance", description=__doc__)
    parser.add_argument("--connections", type=int, default=88_000, help="on the one port (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="for each way to sample (default: %(default)s)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return inside(arguments.connections, arguments.seconds)
    with Namespace([sys.executable, "-m", "bench.disturbance", "--inside", *sys.argv[1:]]) as namespace:
        cells = [
            (name, f"{len(took):,}", f"{took[-1 - len(took) // 1000] * 1e3:.2f}", f"{took[-1] * 1e3:.2f}")
            for name, took in namespace.report.items()
        ]
    print(f"{arguments.connections:,} connections accepted on one port", draw(HEADINGS, cells, words=1), sep="\n\n")
    return None


if __name__ == "__main__":
    main()
