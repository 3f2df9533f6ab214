"""Trouble made with real sockets, step by step, in the network namespace in which it runs: `python -m lab.troubles NAME`.

Each line on standard input makes it worse by one step, and the line after the last step ends it. What a step has begun goes on
until then. Knows no trigger, and nothing of `sender`.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from lab.every_state import IPV4, LINGER_RESET, SCRIPT_PORTS, Flags, Peer, Segment, State
from lab.unlisted import mptcp, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYSCTLS = Path("/proc/sys/net/ipv4")
LOOPBACK = "127.0.0.1"
SERVICE, DATABASE = 8080, 5432
FLOODED, HALF_OPEN_LIMIT, HALF_OPEN = 443, 256, 240
NEARLY_FULL, FULL, BURSTS = 9001, 9002, 9003
FEW, MANY = 110, 1010  # more than 100, more than 1,000
TIME_WAIT_LIMIT, TIME_WAITS = 2000, 1700  # the daemon's own connections come to it, up to 60
PAUSE_S = 0.02

Pair = tuple[socket.socket, socket.socket]


def going_on(act: Callable[[], None], every_s: float) -> None:
    """Do something again and again, for as long as this program runs."""

    def repeat() -> None:
        while True:
            act()
            time.sleep(every_s)

    threading.Thread(target=repeat, daemon=True).start()


def listen(port: int, backlog: int = 100) -> socket.socket:
    """Return a listener on loopback."""
    return socket.create_server((LOOPBACK, port), backlog=backlog)


def connect(address: str, port: int) -> socket.socket:
    """Return a connection that was asked for, and may become one."""
    client = socket.socket()
    client.setblocking(False)  # noqa: FBT003
    client.connect_ex((address, port))
    return client


def pairs(listener: socket.socket, count: int) -> list[Pair]:
    """Return so many connections, each as the client's end and the one that was accepted."""
    return [(socket.create_connection(listener.getsockname()), listener.accept()[0]) for _ in range(count)]


def leaks() -> Iterator[None]:
    """Open connections, and close one end of each: a service and the client of a database forget theirs. Then make many."""
    service, database = listen(SERVICE), listen(DATABASE)

    def more(count: int) -> list[Pair]:
        return [*pairs(service, count), *(pair[::-1] for pair in pairs(database, count))]

    def close_one_end(held: list[Pair]) -> None:
        for one, _ in held:
            one.close()

    few = more(FEW)
    yield
    close_one_end(few)
    yield
    many = more(MANY - FEW)
    close_one_end(many)
    yield


def slow_leak() -> Iterator[None]:
    """Let a service forget three connections a second."""
    service, held = listen(SERVICE), []

    def forget() -> None:
        for client, accepted in pairs(service, 1):
            held.append(accepted)
            client.close()

    going_on(forget, 1 / 3)
    yield


def unanswered() -> Iterator[None]:
    """Ask where nobody answers: at one address, then at many."""
    Peer()
    held = [connect(IPV4.peer, FLOODED) for _ in range(FEW)]
    yield
    held += [connect(f"192.0.2.{number}", FLOODED) for number in range(10, 70)]
    yield


def flood() -> Iterator[None]:
    """Forge requests: almost as many as the listener lets in, then more, then more without SYN cookies."""
    peer = Peer()
    target = socket.inet_aton(IPV4.host), FLOODED

    def ask(number: int) -> None:
        source = bytes([192, 0, 2, 3 + number % 250]), 10_000 + number
        peer.send(Segment(source=source, target=target, seq=number, ack=0, flags=Flags.SYN))

    with socket.create_server((IPV4.host, FLOODED), backlog=HALF_OPEN_LIMIT):
        # The kernel gives each up within seconds. They do not begin together, so that few are missing at a time.
        numbers = cycle(range(HALF_OPEN))
        going_on(lambda: ask(next(numbers)), 0.001)
        yield
        for number in range(HALF_OPEN, HALF_OPEN + 1500):
            ask(number)
        yield
        (SYSCTLS / "tcp_syncookies").write_text("0")
        for number in range(HALF_OPEN + 1500, HALF_OPEN + 3000):
            ask(number)
        yield


def time_wait() -> Iterator[None]:
    """Let a service close its connections first: almost as many as the kernel keeps, then more. In the end it keeps more."""
    limit = SYSCTLS / "tcp_max_tw_buckets"
    usual = limit.read_text()
    limit.write_text(str(TIME_WAIT_LIMIT))
    service = listen(SERVICE)

    def close(count: int) -> None:
        for client, accepted in pairs(service, count):
            accepted.close()
            client.close()

    close(TIME_WAITS)
    yield
    close(TIME_WAITS)
    yield
    limit.write_text(usual)


def unlisted() -> Iterator[None]:
    """Let a service keep what a reset has ended, and another one what its clients with MPTCP have closed."""
    service = listen(SERVICE)
    held: list[object] = [mptcp(FEW, FEW)]
    for _ in range(FEW):
        reset(SERVICE)
        held.append(service.accept())
    yield


def queues() -> Iterator[None]:
    """Fill one accept queue nearly, and one fully. A third is too short for bursts; it is empty when a second begins."""
    slow, hangs, pauses = listen(NEARLY_FULL), listen(FULL, 4), listen(BURSTS, 8)
    held = [slow, hangs]
    held += [
        socket.create_connection((LOOPBACK, port))
        for port, count in ((NEARLY_FULL, 90), (FULL, 5))
        for _ in range(count)
    ]
    pauses.setblocking(False)  # noqa: FBT003

    def burst() -> None:
        time.sleep(1.3 - time.time() % 1)
        clients = [connect(LOOPBACK, BURSTS) for _ in range(40)]
        time.sleep(0.2)
        for each in clients:
            each.close()
        with suppress(BlockingIOError):
            while True:
                pauses.accept()[0].close()

    going_on(burst, 0)
    yield
    yield


def bad_network() -> Iterator[None]:
    """Send to peers that have vanished, and ask again and again for a service that is down."""
    Peer()
    held = deque[socket.socket]()

    def send_into_nothing() -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        sock.connect((IPV4.peer, SCRIPT_PORTS + State.ESTABLISHED))
        sock.send(b"nobody will have this")
        held.append(sock)
        if len(held) > 200:  # those of four seconds
            held.popleft().close()

    def ask_what_is_down() -> None:
        for _ in range(12):
            connect(LOOPBACK, FLOODED).close()

    going_on(send_into_nothing, PAUSE_S)
    going_on(ask_what_is_down, PAUSE_S)
    yield


def exhaustion() -> Iterator[None]:
    """Send to peers that take little of it, on a machine that lets TCP have little more than that, and then less."""
    service, held, sent = listen(SERVICE), [], []
    for client, accepted in pairs(service, FEW):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
        accepted.setblocking(False)  # noqa: FBT003
        accepted.send(bytes(1_000_000))
        held.append(client)
        sent.append(accepted)
    last = sent.pop()
    for each in sent:
        each.close()
    used = int(Path("/proc/net/sockstat").read_text().split(" mem ")[1].split()[0])
    (SYSCTLS / "tcp_max_orphans").write_text(str(len(sent) * 10 // 9))
    (SYSCTLS / "tcp_mem").write_text(f"{used} {used} {2 * used}")
    last.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    last.send(bytes(1_000_000))
    yield
    (SYSCTLS / "tcp_mem").write_text(f"{used} {used} {used * 10 // 9}")
    yield


def main() -> None:
    """Make the trouble that the argument names."""
    steps = globals()[sys.argv[1]]()
    sys.stdin.readline()
    for _ in steps:
        sys.stdin.readline()


if __name__ == "__main__":
    main()
