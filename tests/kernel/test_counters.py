"""Each of the kernel's counters, provoked for real in a network namespace of its own, beside what `nstat` says. Needs root."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import flood, unlisted
from lab.lossy import FAR, lossy
from lab.namespace import LOOPBACK, Namespace
from sender.items import TCP_COUNTERS, TCP_EXT_COUNTERS, to_items
from sender.kernel.counters import read_counters
from sender.kernel.memory import MAX_ORPHANS, TCP_MEM, usage
from sender.kernel.sock_diag import Listeners, SockDiag
from sender.kernel.sockstat import read_sockstat
from sender.model import CountedPorts, Reported, Vitals
from sender.sampling.watch import ListenerWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 20
POLL_S = 0.005
PORT, CLOSED = 80, 9


def until(check: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < deadline, what()
        time.sleep(POLL_S)


def said(namespace: Namespace) -> dict[str, int]:
    """Return what nstat says of the counters that are reported; those that the kernel has."""
    lines = (line.split() for line in namespace.run("nstat", "-asz").splitlines()[1:])
    found = {name: int(number) for name, number, _ in lines}
    names = {f"Tcp{name}": name for name in TCP_COUNTERS} | {f"TcpExt{name}": name for name in TCP_EXT_COUNTERS}
    return {name: found[key] for key, name in names.items() if key in found}


def counters(namespace: Namespace) -> dict[str, int]:
    """Return ours, from a moment at which nstat says the same."""
    found: dict[str, int] = {}

    def is_same() -> bool:
        found.update(namespace.call(read_counters))
        return found == said(namespace)

    until(is_same, lambda: (found, said(namespace)))
    return found


def sent(namespace: Namespace, port: int = PORT) -> dict[str, str]:
    """Return the values of a sample as the daemon sends it."""
    watch = ListenerWatch(SockDiag().sample, Listeners().look, has_peaks=True)
    snapshot = namespace.call(lambda: watch.sample(CountedPorts(listening=True, counters=True)))
    return {
        item.key: item.value for item in to_items(snapshot, Vitals(), host="web-01", tracked=Reported(local=[port]))
    }


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Yield a namespace with nothing but loopback."""
    with Namespace(LOOPBACK) as namespace:
        yield namespace


@pytest.fixture
def vanished(namespace: Namespace) -> Iterator[threading.Event]:
    """Yield what, once it is set, lets FAR hear nothing more; there somebody listens on PORT."""
    event = threading.Event()
    with (
        Namespace(LOOPBACK) as far,
        lossy(namespace, far, lambda _: event.is_set()),
        far.call(lambda: socket.create_server((FAR, PORT), backlog=128)),
    ):
        yield event


def ask(address: tuple[str, int]) -> socket.socket:
    """Return a connection that is asked for, and goes on by itself."""
    sock = socket.socket()
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    return sock


def test_what_the_kernel_has_is_sent(namespace: Namespace) -> None:
    """Every counter that this kernel has, and nstat shows, is in a sample, and no other."""
    found = said(namespace)
    keys = {key for key in sent(namespace) if key.startswith("tcp.counter[")}
    assert keys == {f"tcp.counter[{name}]" for name in found}
    assert {*TCP_COUNTERS} <= found.keys()


def test_opening_and_closing(namespace: Namespace) -> None:
    """Connections from here and to here are counted at both ends, and so are their segments."""

    def talk() -> None:
        with socket.create_server(("127.0.0.1", PORT)) as server:
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", PORT)) as client, server.accept()[0] as accepted:
                    client.sendall(b"x")
                    accepted.recv(1)

    before = counters(namespace)
    namespace.call(talk)
    found = counters(namespace)
    rises = {name: found[name] - before[name] for name in found}
    assert (rises["ActiveOpens"], rises["PassiveOpens"]) == (10, 10)
    assert rises["InSegs"] == rises["OutSegs"] >= 10 * 5
    assert not {name for name in rises if rises[name]} - {
        *("ActiveOpens", "PassiveOpens", "InSegs", "OutSegs"),
        *("EstabResets", "OutRsts"),  # where a client closes before it has read all: nobody does here, nearly
    }


def test_a_full_accept_queue(namespace: Namespace) -> None:
    """A listener of backlog 2 that does not accept: the same drops in both counters, for the port, and by `ss -ltmn`."""

    def overflow() -> list[socket.socket]:
        server = socket.create_server(("127.0.0.1", PORT), backlog=2)
        return [server, *(ask(("127.0.0.1", PORT)) for _ in range(8))]

    server, *clients = namespace.call(overflow)
    until(lambda: said(namespace)["ListenDrops"] >= 8 - 3, lambda: said(namespace))
    for client in clients:
        client.close()  # or they would ask again
    found, values = counters(namespace), sent(namespace)
    assert found["ListenDrops"] == found["ListenOverflows"] >= 8 - 3
    shown = namespace.run("ss", "-Hltmn", f"sport = {PORT}")
    drops = shown[shown.rindex(",d") + 2 : shown.rindex(")")]
    assert values["tcp.listen.drops[80]"] == drops == str(found["ListenDrops"]) == values["tcp.counter[ListenDrops]"]
    assert values["tcp.listen.queue[80]"] == values["tcp.listen.queue.peak[80]"] == "3"
    server.close()


def test_half_open_connections_with_cookies() -> None:
    """A flood is answered with cookies: each is counted, and nothing is dropped."""
    with Namespace((sys.executable, "-m", "lab.flood")) as namespace:
        found = counters(namespace)
        half_open = int(sent(namespace)["tcp.status[SYN_RECV]"])
    assert found["SyncookiesSent"] == found["TCPReqQFullDoCookies"] == flood.REQUESTS - half_open
    assert found["TCPReqQFullDrop"] == 0


def test_half_open_connections_without_cookies() -> None:
    """Without cookies the same flood is dropped: as a full queue, at listeners, and for the port."""
    with Namespace((sys.executable, "-m", "lab.flood", "without-cookies")) as namespace:
        found, values = counters(namespace), sent(namespace, flood.PORT)
        half_open = int(values["tcp.status[SYN_RECV]"])
    assert found["SyncookiesSent"] == found["TCPReqQFullDoCookies"] == 0
    assert 0 < found["TCPReqQFullDrop"] <= found["ListenDrops"] == flood.REQUESTS - half_open
    assert values[f"tcp.listen.drops[{flood.PORT}]"] == str(found["ListenDrops"])


def test_a_closed_port(namespace: Namespace) -> None:
    """Each attempt fails, and the reset that ends it is one that this host has sent."""

    def knock() -> None:
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", CLOSED))

    before = counters(namespace)
    namespace.call(knock)
    found = counters(namespace)
    assert [found[name] - before[name] for name in ("ActiveOpens", "AttemptFails", "OutRsts")] == [20, 20, 20]


def test_a_reset_connection(namespace: Namespace) -> None:
    """One that is open and ends by a reset is counted at both ends, as both are here."""

    def reset() -> None:
        with socket.create_server(("127.0.0.1", PORT)) as server:
            unlisted.reset(PORT)
            server.accept()[0].close()

    before = counters(namespace)
    namespace.call(reset)
    found = counters(namespace)
    assert found["EstabResets"] - before["EstabResets"] == 2
    assert found["OutRsts"] - before["OutRsts"] == 1


def test_a_broken_segment(namespace: Namespace) -> None:
    """One with a wrong checksum is an error, and nothing else."""
    segment = struct.pack("!HHIIBBHHH", 1024, PORT, 0, 0, 5 << 4, 0x02, 0xFFFF, 0xDEAD, 0)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
            sock.sendto(segment, ("127.0.0.1", 0))

    before = counters(namespace)
    namespace.call(send)
    until(lambda: said(namespace)["InErrs"] > before["InErrs"], lambda: said(namespace))
    found = counters(namespace)
    assert {name: found[name] - before[name] for name in found if found[name] != before[name]} == {
        "InErrs": 1,
        "InSegs": 1,
    }


def test_a_path_that_loses_packets(namespace: Namespace) -> None:
    """The first request is lost, and then every seventh packet: what is sent again is counted where it is sent."""
    size = 300_000

    def serve() -> socket.socket:
        return socket.create_server((FAR, PORT))

    with Namespace(LOOPBACK) as far, lossy(namespace, far, lambda number: number == 1 or number % 7 == 0):
        server = far.call(serve)
        client = namespace.call(lambda: socket.create_connection((FAR, PORT)))
        accepted, _ = server.accept()
        rest, left = memoryview(bytes(size)), size
        client.settimeout(0)
        while left:
            with contextlib.suppress(BlockingIOError):
                rest = rest[client.send(rest) :] if rest else rest
            accepted.settimeout(POLL_S)
            with contextlib.suppress(TimeoutError):
                left -= len(accepted.recv(65536))
        found, there = counters(namespace), counters(far)
        for sock in (client, accepted, server):
            sock.close()
    assert found["TCPSynRetrans"] == 1
    assert found["RetransSegs"] >= 1 + 5
    assert there["RetransSegs"] == there["TCPSynRetrans"] == 0


def test_time_wait_over_its_limit(namespace: Namespace) -> None:
    """Connections that end without TIME_WAIT, because there are too many, are each counted."""
    namespace.run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=5")

    def talk() -> None:
        with socket.create_server(("127.0.0.1", PORT)) as server:
            for _ in range(30):
                client = socket.create_connection(("127.0.0.1", PORT))
                accepted, _ = server.accept()
                client.close()
                accepted.close()

    namespace.call(talk)
    found = counters(namespace)
    assert found["TCPTimeWaitOverflow"] == 25
    assert sent(namespace)["tcp.status[TIME_WAIT]"] == "5"


def test_a_peer_that_vanishes(namespace: Namespace, vanished: threading.Event) -> None:
    """A connection that is ended because nothing comes back is counted, and so is what was sent again before."""
    client = namespace.call(lambda: socket.create_connection((FAR, PORT)))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)  # ms
    vanished.set()
    assert counters(namespace)["TCPAbortOnTimeout"] == 0
    client.sendall(b"x")
    client.settimeout(DEADLINE_S)
    with pytest.raises(TimeoutError, match="timed out"):
        client.recv(1)
    found = counters(namespace)
    assert found["TCPAbortOnTimeout"] == 1
    assert found["RetransSegs"] >= 1
    client.close()


def test_a_request_that_nobody_answers(namespace: Namespace, vanished: threading.Event) -> None:
    """It is sent again, which is counted as both, and when it is given up the attempt has failed."""
    namespace.run("sysctl", "-eqw", "net.ipv4.tcp_syn_retries=1", "net.ipv4.tcp_syn_linear_timeouts=0")
    vanished.set()
    client = namespace.call(lambda: ask((FAR, PORT)))
    until(lambda: said(namespace)["AttemptFails"] == 1, lambda: said(namespace))
    found = counters(namespace)
    assert found["TCPSynRetrans"] == found["RetransSegs"] == 1
    client.close()


def test_orphans(namespace: Namespace, vanished: threading.Event) -> None:
    """Sockets without a program are the whole machine's, as `ss -s` says, and gone when the kernel gives them up."""
    many = 25

    def leave() -> None:
        clients = [socket.create_connection((FAR, PORT)) for _ in range(many)]
        vanished.set()
        for client in clients:
            client.close()

    namespace.call(leave)

    def shown() -> int:
        words = namespace.run("ss", "-s").replace(",", " ").split()
        return int(words[words.index("orphaned") + 1])

    assert sent(namespace)["tcp.status[FIN_WAIT1]"] == str(many)
    until(lambda: sent(namespace)["tcp.orphans"] == str(shown()), lambda: (sent(namespace), shown()))
    assert int(sent(namespace)["tcp.orphans"]) >= many
    before = usage(read_sockstat())[0].used or 0
    namespace.run("sysctl", "-qw", "net.ipv4.tcp_orphan_retries=1")
    until(lambda: sent(namespace)["tcp.status[FIN_WAIT1]"] == "0", lambda: sent(namespace))
    # Meanwhile other programs of this machine may have left some.
    until(lambda: (usage(read_sockstat())[0].used or 0) <= before - many // 2, read_sockstat)


def test_memory(namespace: Namespace) -> None:
    """Data that nobody reads is in the machine's TCP memory, in bytes; the limits are the first namespace's alone."""

    def fill() -> list[socket.socket]:
        server = socket.create_server(("127.0.0.1", PORT))
        pairs = [(socket.create_connection(("127.0.0.1", PORT)), server.accept()[0]) for _ in range(8)]
        for client, _ in pairs:
            client.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    client.send(bytes(65536))
        return [server, *(sock for pair in pairs for sock in pair)]

    held = namespace.call(fill)
    assert int(sent(namespace)["tcp.memory"]) > 8 * 65536
    values = sent(namespace)
    assert "tcp.memory.pused" not in values or Path(TCP_MEM).exists()
    orphans, memory = usage(read_sockstat())
    for each, limit in ((orphans, MAX_ORPHANS), (memory, TCP_MEM)):
        assert (each.limit is not None) == limit.exists()
        if each.limit is not None:
            assert each.pused == 100 * (each.used or 0) / each.limit
    for sock in held:
        sock.close()
