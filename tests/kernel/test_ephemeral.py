"""Local ports that run out towards one destination, in network namespaces of the test's own. Needs root."""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.every_state import LINGER_RESET
from lab.namespace import Namespace
from sender.items import EPHEMERAL_TOP
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, EphemeralPorts, TcpState
from sender.sampling.tops import TopTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PORT = 80
V4, V6 = "192.0.2.1", "2001:db8::1"
ADDRESSES = f"""set -e
ip link set lo up
for address in {V4}/32 192.0.2.2/32 {V6}/128; do ip addr add $address dev lo; done
echo "{{}}"; exec cat"""
FIRST, LAST, RESERVED, LISTENED = 40000, 40199, "39990-40009,40100,40150-40153,40200", 40050
USABLE = 200 - 15  # and LISTENED, where somebody listens there, is none
IP_BIND_ADDRESS_NO_PORT = 24  # include/uapi/linux/in.h
DEADLINE_S = 20
REUSE_DELAY = Path("/proc/sys/net/ipv4/tcp_tw_reuse_delay")  # since Linux 6.14


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Yield a namespace with some addresses of its own and few ports to connect from."""
    with Namespace(("sh", "-c", ADDRESSES)) as namespace:
        set_to(namespace, ip_local_port_range=f"{FIRST} {LAST}", ip_local_reserved_ports=RESERVED)
        set_to(namespace, tcp_rfc1337="1")  # a late segment would now and then end a socket in TIME_WAIT, by a RST
        yield namespace


@pytest.fixture
def server(namespace: Namespace) -> Iterator[socket.socket]:
    """Yield what listens on PORT of every address, IPv4 and IPv6."""
    with namespace.call(lambda: listen("::", PORT)) as server:
        yield server


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    """Yield a place for what a test has open, all of which is closed after it."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


def set_to(namespace: Namespace, **settings: str) -> None:
    """Set these of the namespace, below net.ipv4."""
    namespace.run("sysctl", "-qw", *(f"net.ipv4.{name}={value}" for name, value in settings.items()))


def listen(host: str, port: int) -> socket.socket:
    """Return a listener; one on :: takes IPv4 too."""
    dual = host == "::"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, port), family=family, dualstack_ipv6=dual, backlog=1024)
    server.settimeout(DEADLINE_S)
    return server


def connect(namespace: Namespace, host: str, port: int = PORT, own: str = "") -> socket.socket:
    """Return a connection, whose port the kernel takes, also where the program says which address is its own."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            if own:
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((own, 0))
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    return namespace.call(make)


def is_refused(namespace: Namespace, host: str, port: int = PORT, own: str = "") -> bool:
    """Return whether the kernel finds no port for one more connection, which ends at once."""
    try:
        sock = connect(namespace, host, port, own)
    except OSError as error:
        assert error.errno == errno.EADDRNOTAVAIL
        return True
    reset(sock)
    return False


def reset(sock: socket.socket) -> None:
    """Close it so that nothing is left of the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.close()


def found(namespace: Namespace) -> EphemeralPorts:
    """Return what a sample says."""
    ephemeral = namespace.call(lambda: SockDiag().sample(CountedPorts(ephemeral=True))).ephemeral
    assert ephemeral is not None
    return ephemeral


Pair = tuple[socket.socket, socket.socket]


def shut_client(pair: Pair) -> None:
    """Leave the client in FIN_WAIT2, the server in CLOSE_WAIT."""
    pair[0].shutdown(socket.SHUT_WR)


def shut_server(pair: Pair) -> None:
    """Leave the server in FIN_WAIT2, the client in CLOSE_WAIT."""
    pair[1].shutdown(socket.SHUT_WR)


def close_client(pair: Pair) -> None:
    """Leave a small FIN_WAIT2 that no program has any more, and the server in CLOSE_WAIT."""
    pair[0].close()


def close_both(pair: Pair) -> None:
    """Leave the client in TIME_WAIT, and no server."""
    pair[0].close()
    pair[1].recv(1)
    pair[1].close()


# What becomes of a connection, and in which states its two sockets, or the one, are then.
ENDS: list[tuple[Callable[[Pair], None], tuple[TcpState, ...]]] = [
    (lambda pair: None, (TcpState.ESTABLISHED, TcpState.ESTABLISHED)),
    (shut_client, (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)),
    (shut_server, (TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2)),
    (close_client, (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)),
    (close_both, (TcpState.TIME_WAIT,)),
]


def settled(namespace: Namespace, states: Counter[TcpState]) -> EphemeralPorts:
    """Return what a sample says, once there are so many sockets: the last packets of a connection may be on their way."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        snapshot = namespace.call(lambda: SockDiag().sample(CountedPorts(ephemeral=True)))
        if {state: snapshot.states[state] for state in {s for _, each in ENDS for s in each}} == states:
            assert snapshot.ephemeral
            return snapshot.ephemeral
        assert time.monotonic() < deadline, (snapshot.states, states)


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ([V4], f"{V4}:80 from {V4}"),
        ([V6], f"[{V6}]:80 from {V6}"),
        ([f"::ffff:{V4}"], f"{V4}:80 from {V4}"),
        ([V4, f"::ffff:{V4}"], f"{V4}:80 from {V4}"),
    ],
    ids=["IPv4", "IPv6", "IPv4 in IPv6's form", "both forms of IPv4"],
)
def test_it_is_100_percent_when_the_kernel_refuses(
    namespace: Namespace, server: socket.socket, held: list[socket.socket], hosts: Sequence[str], text: str
) -> None:
    """Not before; each connection is one more in whatever state, with others beside it, and one that ends makes room."""
    usable = USABLE - 1
    states: Counter[TcpState] = Counter(dict.fromkeys((s for _, each in ENDS for s in each), 0))
    with namespace.call(lambda: listen("127.0.0.2", LISTENED)) as busy:
        # Five towards each of some others. What the server has on LISTENED is on a port that counts for nobody.
        for host, port in [("127.0.0.2", LISTENED), ("192.0.2.2", PORT), ("::1", PORT)]:
            for _ in range(5):
                held += connect(namespace, host, port), (busy if port == LISTENED else server).accept()[0]
                states[TcpState.ESTABLISHED] += 2
        assert (settled(namespace, states).used, found(namespace).usable) == (5, usable)
        for number, host, (end, left) in zip(range(1, usable + 1), cycle(hosts), cycle(ENDS), strict=False):
            pair = connect(namespace, host), server.accept()[0]
            held += pair
            end(pair)
            states.update(left)
            said = settled(namespace, states)
            assert (said.used, said.usable) == (max(number, 5), usable)
            if number > 5:
                assert said.destination == text
        assert found(namespace).pused == 100
        for host in hosts:
            assert is_refused(namespace, host)
        assert not is_refused(namespace, "192.0.2.2")  # the same ports serve every other destination
        held.append(connect(namespace, "192.0.2.2"))
        assert (found(namespace).used, found(namespace).destination) == (usable, text)
        reset(held[30])  # the first client, behind the others
        assert found(namespace).used == usable - 1
        held.append(connect(namespace, hosts[0]))
        assert found(namespace).pused == 100
        assert is_refused(namespace, hosts[0])


def test_each_own_address_has_all_the_ports(
    namespace: Namespace, server: socket.socket, held: list[socket.socket]
) -> None:
    """Where one can connect no more, another can, towards the same destination; the worst of both is told."""
    assert server.getsockname()[1] == PORT
    held += [connect(namespace, V4, own="127.0.0.1") for _ in range(USABLE - 1)]
    held += [connect(namespace, V4, own="127.0.0.3") for _ in range(USABLE)]
    assert is_refused(namespace, V4, own="127.0.0.3")
    assert found(namespace) == EphemeralPorts(used=USABLE, usable=USABLE, destination=f"{V4}:80 from 127.0.0.3")
    held.append(connect(namespace, V4, own="127.0.0.1"))
    assert is_refused(namespace, V4, own="127.0.0.1")
    reset(held[USABLE])
    assert found(namespace) == EphemeralPorts(used=USABLE, usable=USABLE, destination=f"{V4}:80 from 127.0.0.1")


def test_a_client_is_never_named(namespace: Namespace, held: list[socket.socket]) -> None:
    """One that was accepted on a port of the range, as by FTP in passive mode, counts when its listener is gone; nobody is named."""

    def connected() -> socket.socket:
        return socket.create_connection(
            (V4, LISTENED), source_address=(V4, LAST + 1)
        )  # which counts for no destination

    with namespace.call(lambda: listen(V4, LISTENED)) as server:
        held += namespace.call(connected), server.accept()[0]
    snapshot = namespace.call(lambda: SockDiag().sample(CountedPorts(ephemeral=True)))
    assert snapshot.ephemeral == EphemeralPorts(used=1, usable=USABLE, destination=f"{V4}:{LAST + 1} from {V4}")
    assert TopTexts(names_destinations=True).due(snapshot, 0)[EPHEMERAL_TOP] == "none"


@pytest.mark.parametrize("ports", [1, 2, 3, 4, 7, 20])
def test_a_range_of_any_size(
    namespace: Namespace, server: socket.socket, held: list[socket.socket], ports: int
) -> None:
    """An even number of ports is used up to the last; of an odd one, the kernel leaves one out for some destinations."""
    assert server.getsockname()[1] == PORT
    set_to(namespace, ip_local_port_range=f"{FIRST} {FIRST + ports - 1}", ip_local_reserved_ports="")
    while not is_refused(namespace, V4):
        held.append(connect(namespace, V4))
        assert (found(namespace).used, found(namespace).usable) == (len(held), ports)
    assert ports - len(held) in ((0, 1) if ports % 2 and ports > 1 else (0,))


def test_a_port_that_a_program_has_bound_is_lost(
    namespace: Namespace, server: socket.socket, held: list[socket.socket]
) -> None:
    """The kernel takes it for nobody, and says so only of listeners: then it refuses that much below 100 percent."""
    assert server.getsockname()[1] == PORT
    held += [namespace.call(socket.socket) for _ in range(3)]
    for port, sock in enumerate(held, LISTENED):
        sock.bind(("127.0.0.1", port))
    held[0].listen()
    held[1].connect(("192.0.2.2", PORT))
    usable = USABLE - 1
    held += [connect(namespace, V4) for _ in range(usable - 2)]
    assert is_refused(namespace, V4)
    assert (found(namespace).used, found(namespace).usable) == (usable - 2, usable)


@pytest.mark.parametrize(
    ("host", "settings", "again"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        (V4, {}, False),
        (V6, {}, False),
        (V4, {"tcp_tw_reuse": "1"}, True),
        (V6, {"tcp_tw_reuse": "1"}, True),
        ("127.0.0.1", {"tcp_tw_reuse": "0"}, False),
        ("127.0.0.1", {"tcp_timestamps": "0"}, False),
    ],
)
def test_time_wait_that_the_kernel_takes_again(
    namespace: Namespace, server: socket.socket, host: str, settings: dict[str, str], *, again: bool
) -> None:
    """Such a port is in use for a second; then, by default on loopback, it is used no more, and connections go on."""
    set_to(namespace, **{"tcp_tw_reuse": "2", **settings})
    if REUSE_DELAY.exists():
        set_to(namespace, tcp_tw_reuse_delay="60000")
    for _ in range(USABLE):
        close_both((connect(namespace, host), server.accept()[0]))
    states = Counter({**dict.fromkeys((s for _, each in ENDS for s in each), 0), TcpState.TIME_WAIT: USABLE})
    said = settled(namespace, states)
    assert (said.used, said.usable, is_refused(namespace, host)) == (USABLE, USABLE, True)
    if REUSE_DELAY.exists():
        set_to(namespace, tcp_tw_reuse_delay="1")
    deadline = time.monotonic() + DEADLINE_S
    while again and found(namespace).used:
        assert time.monotonic() < deadline
    assert found(namespace).used == (0 if again else USABLE)
    assert is_refused(namespace, host) != again
    with connect(namespace, "192.0.2.2"):
        assert found(namespace).used == (1 if again else USABLE)
