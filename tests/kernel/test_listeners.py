"""Drops and peaks of real accept queues, in network namespaces of the test's own, beside what `ss` and `nstat` say. Needs root."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lab.namespace import LOOPBACK, Namespace
from sender.daemon.daemon import scheduler_for
from sender.items import to_items
from sender.kernel.sock_diag import Listeners, SockDiag
from sender.model import CountedPorts, Look, Reported, Vitals
from sender.sampling.rare import RareValues
from sender.sampling.watch import ListenerWatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.model import Listener

DEADLINE_S = 20
PORT, OTHER = 80, 81
WANTED = CountedPorts(listening=True)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Yield a namespace with nothing but loopback."""
    with Namespace(LOOPBACK) as namespace:
        yield namespace


def listen(host: str, backlog: int, *, port: int = PORT, dual: bool = False, shared: bool = False) -> socket.socket:
    """Return a listener of this namespace that accepts nobody."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock


def ask(host: str, port: int = PORT) -> socket.socket:
    """Return a connection that is asked for, and goes on by itself."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        sock.connect((host, port))
    return sock


def knock(namespace: Namespace, host: str, times: int) -> None:
    """Ask so often at once, until the kernel has answered all, and give up."""
    clients = namespace.call(lambda: [ask(host) for _ in range(times)])
    for client in clients:  # before any asks again
        client.close()


def dropped(namespace: Namespace) -> int:
    """Return how many requests the kernel has dropped at listeners, by nstat."""
    words = namespace.run("nstat", "-asz", "TcpExtListenDrops").split()
    return int(words[words.index("TcpExtListenDrops") + 1])


def shown(namespace: Namespace, port: int = PORT) -> list[int]:
    """Return the drops of each listener on a port, by ss."""
    return [int(drops) for drops in re.findall(r",d(\d+)\)", namespace.run("ss", "-Hltmn", f"sport = {port}"))]


def look(namespace: Namespace) -> dict[int, Look]:
    """Return a look, from a moment at which the kernel's own count is the same before and after."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        before = dropped(namespace)
        found = namespace.call(Listeners().look)
        if dropped(namespace) == before:
            return found
        assert time.monotonic() < deadline


def test_each_ports_drops_are_its_own(namespace: Namespace) -> None:
    """Those of a full queue are there as `ss` and the kernel's counter have them; another port has none."""
    with namespace.call(lambda: listen("127.0.0.1", 2)), namespace.call(lambda: listen("127.0.0.1", 2, port=OTHER)):
        knock(namespace, "127.0.0.1", 8)
        found = look(namespace)
        assert found[PORT].drops == dropped(namespace) == sum(shown(namespace)) >= 8 - 3
        assert found[OTHER] == Look(waiting=0, drops=0)
        assert shown(namespace, OTHER) == [0]


@pytest.mark.parametrize(
    ("listeners", "targets"),
    [
        pytest.param([("127.0.0.1", False)] * 3, ["127.0.0.1"], id="SO_REUSEPORT"),
        pytest.param([("127.0.0.1", False), ("::1", False)], ["127.0.0.1", "::1"], id="IPv4 and IPv6"),
        pytest.param([("::", True)], ["127.0.0.1", "::1"], id="dual stack"),
        pytest.param(
            [("127.0.0.1", False), ("127.0.0.1", False), ("::1", False), ("::", True)],
            ["127.0.0.1", "::1", "127.0.0.2"],
            id="all of them",
        ),
    ],
)
def test_all_listeners_of_a_port_are_one(
    namespace: Namespace, listeners: Sequence[tuple[str, bool]], targets: Sequence[str]
) -> None:
    """The drops of a port are those of every listener on it, and its queue is the longest."""
    held = [
        namespace.call(lambda host=host, dual=dual, place=place: listen(host, 2 + place, dual=dual, shared=True))  # type: ignore[misc]
        for place, (host, dual) in enumerate(listeners)
    ]
    for number, target in enumerate(targets, 1):
        knock(namespace, target, 40 * number)
    found = look(namespace)[PORT]
    each = shown(namespace)
    assert len(each) == len(listeners)
    assert found.drops == sum(each) == dropped(namespace) > 0
    assert len([drops for drops in each if drops]) >= min(len(targets), len(listeners))
    assert found.waiting == max(waiting(namespace)) >= 3
    for sock in held:
        sock.close()


def waiting(namespace: Namespace) -> list[int]:
    """Return the length of each accept queue on the port, by ss."""
    return [int(line.split()[1]) for line in namespace.run("ss", "-Hltn", f"sport = {PORT}").splitlines()]


def test_a_service_that_restarts_begins_anew(namespace: Namespace) -> None:
    """Its counter is 0 again, and sent as that; while nobody listens there is no figure, and other counters go on."""
    watch, rare = ListenerWatch(SockDiag().sample, Listeners().look, has_peaks=True), RareValues()
    moment = 0

    def sent() -> list[str]:
        nonlocal moment
        moment += 30
        snapshot = namespace.call(lambda: watch.sample(WANTED))
        items = to_items(snapshot, Vitals(), host="web-01", tracked=Reported(local=[PORT]))
        return [item.value for item in rare.due(items, moment) if item.key == "tcp.listen.drops[80]"]

    server = namespace.call(lambda: listen("127.0.0.1", 2))
    assert sent() == ["0"]
    knock(namespace, "127.0.0.1", 20)
    (first,) = sent()
    assert int(first) == dropped(namespace) >= 20 - 3
    assert (sent(), sent()) == ([first], [])
    server.close()
    assert sent() == []
    server = namespace.call(lambda: listen("127.0.0.1", 2))
    assert (sent(), sent(), sent()) == (["0"], ["0"], [])
    knock(namespace, "127.0.0.1", 10)
    before, again = sent()
    assert (before, int(again)) == ("0", dropped(namespace) - int(first))
    server.close()


class Service:
    """A service with a backlog of 16 that accepts at once, except in a pause, in which 40 clients come."""

    BACKLOG, CLIENTS = 16, 40

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._listener = namespace.call(lambda: listen("127.0.0.1", self.BACKLOG))
        self._may_accept, self._is_over = threading.Lock(), False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def pause(self, for_s: float) -> None:
        """Let the clients come, stay for so long, and leave."""
        with self._may_accept:
            end = time.monotonic() + for_s
            clients = self._namespace.call(lambda: [ask("127.0.0.1") for _ in range(self.CLIENTS)])
            time.sleep(max(0, end - time.monotonic()))
            for client in clients:  # some have asked again, if it was for over a second, and were dropped again
                client.close()

    def _accept(self) -> None:
        self._listener.settimeout(0.01)
        while not self._is_over:
            with self._may_accept, contextlib.suppress(TimeoutError):
                self._listener.accept()[0].close()
            time.sleep(0.001)  # a lock goes to who asks first, and that shall be a pause

    def close(self) -> None:
        """End."""
        self._is_over = True
        self._thread.join()
        self._listener.close()


@pytest.fixture
def service(namespace: Namespace) -> Iterator[Service]:
    """Yield the service."""
    service = Service(namespace)
    yield service
    service.close()


def test_bursts_between_two_samples(namespace: Namespace, service: Service) -> None:
    """A burst of 0.4 s leaves its drops exactly, one of more than a second its peak too; no sample has seen a queue.

    The daemon's own scheduler looks every second. Samples are 3 s apart, and not 10, to save time: what lies between them is
    a burst and quiet.
    """
    watch = ListenerWatch(SockDiag().sample, Listeners().look, has_peaks=True)
    samples: list[Listener] = []
    taken = threading.Condition()

    def tick() -> None:
        with taken:
            samples.append(watch.sample(WANTED).listeners[PORT])
            taken.notify_all()

    def after(number: int) -> Listener:
        with taken:
            assert taken.wait_for(lambda: len(samples) >= number, DEADLINE_S)
            assert len(samples) == number, "this machine is too slow to say"
            return samples[-1]

    scheduler = scheduler_for(3, tick, watch.look)
    namespace.call(scheduler.start)  # so its threads are there, too
    try:
        found = [after(1)]
        kernel = [dropped(namespace)]
        for number, for_s in ((2, 0.4), (3, 1.6)):
            service.pause(for_s)
            found.append(after(number))
            kernel.append(dropped(namespace))
    finally:
        scheduler.shutdown()
    assert [listener.drops for listener in found] == kernel
    assert kernel[0] == 0
    assert kernel[1] >= service.CLIENTS - service.BACKLOG - 1
    assert kernel[2] >= 2 * (service.CLIENTS - service.BACKLOG - 1)
    assert [listener.waiting for listener in found] == [0, 0, 0]
    assert found[2].peak == service.BACKLOG + 1
