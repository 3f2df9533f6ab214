"""Destinations that reloads add, change, remove and bring back, while requests hang, fail and are answered."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.some_items import LIMITS, sample
from sender.daemon.deliveries import Deliveries
from sender.delivery.delivery import Delivery
from sender.errors import DeliveryError
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Settings
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.settings.schema import Destination

NAMES, NODES = ("d0", "d1", "d2"), ("a", "b")
KEYS = {
    "tcp.status[TOTAL]": "",
    "tcp.status[LISTEN]": "",
    "tcp.listen.queue[80]": "80",
    "tcp.listen.queue.max[80]": "80",
}
Answered = dict[str, list[int]]


@dataclass(kw_only=True)
class Servers:
    """What is behind the destinations: to each name, requests hang, break or are answered as the test says.

    `answered` has the clocks of all values that were answered, by life of a destination and key. A life begins where a
    destination is added, and goes on over changes.
    """

    lacks: frozenset[str] = frozenset()  # keys without an item
    news: threading.Condition = field(default_factory=threading.Condition)
    hangs: set[str] = field(default_factory=set)
    breaks: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    lives: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    answered: dict[tuple[str, int], Answered] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    begun: Counter[tuple[str, int]] = field(default_factory=Counter)  # requests of each life
    wrong: list[str] = field(default_factory=list)

    def connect(self, destination: Destination) -> Callable[[Sequence[Item]], Outcome]:
        """Return what sends to this destination in its present life."""
        return partial(self._send, destination.name, self.lives[destination.name])

    def _send(self, name: str, life: int, items: Sequence[Item]) -> Outcome:
        with self.news:
            if name in self.in_flight:
                self.wrong.append(f"two requests of {name} at once")
            self.in_flight.add(name)
            self.begun[name, life] += 1
            self.news.notify_all()
            if not self.news.wait_for(lambda: name not in self.hangs, 20):
                self.wrong.append(f"{name} hangs for ever")
            self.in_flight.discard(name)
            self.news.notify_all()
            if name in self.breaks:
                self.breaks.discard(name)
                raise DeliveryError("the connection broke")
            for item in items:
                self.answered[name, life][item.key].append(item.clock)
        rejected = sum(item.key in self.lacks for item in items)
        return Outcome(accepted=len(items) - rejected, rejected=rejected)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until what requests or their ends can bring about is so."""
        with self.news:
            for _ in range(20_000):
                if condition():
                    return
                self.news.wait(0.001)  # the end of a request is not the end of what a delivery does with it
        pytest.fail("it does not come about")


class Unhurried(threading.Event):
    """An interrupt that nobody waits for."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """As Event.wait, at once."""
        return self.is_set()


def unhurried(name: str, send: Callable[[Sequence[Item]], Outcome], spool: Spool) -> Delivery:
    """Return a delivery that makes no pause, and for which whatever waits for a moment is due."""
    moments = itertools.count(0, 1000)
    return Delivery(name, send, spool, interrupt=Unhurried(), monotonic=lambda: float(next(moments)))


class World:
    """A daemon's deliveries, their spool, and the servers behind them."""

    def __init__(self, lacks: frozenset[str]) -> None:
        self.servers = Servers(lacks=lacks)
        self.clock = 0
        self.since: dict[tuple[str, int], int] = {}  # the last clock before each life
        self.nodes: dict[str, str] = {}
        self.most: dict[tuple[str, int], int] = {}  # requests of a life that is over
        self._kept: dict[str, str] = {}  # removed while their request hangs: the node of that life
        self.spool = Spool(":memory:", ["first"], LIMITS)
        self.deliveries = Deliveries(self.spool, LIMITS, connect=self.servers.connect, delivery=unhurried)

    def sample(self) -> None:
        """Take one."""
        self.clock += 1
        self.spool.append(
            [Item(host="h", key=key, value="1", clock=self.clock, ns=1, port=port) for key, port in KEYS.items()]
        )
        self.deliveries.wake()

    def put(self, name: str, node: str) -> None:
        """Reload with this destination."""
        self._reload({**self.nodes, name: node})

    def remove(self, name: str) -> None:
        """Reload without this destination, if there is another."""
        if self.nodes.keys() - {name}:
            self._reload({each: node for each, node in self.nodes.items() if each != name})

    def _reload(self, nodes: Mapping[str, str]) -> None:
        servers, before = self.servers, self.nodes
        for name, node in nodes.items():
            if name not in before and self._kept.pop(name, None) != node:  # else it was never away
                servers.lives[name] += 1
                self.since[name, servers.lives[name]] = self.clock
            self.most.pop((name, servers.lives[name]), None)
        self.nodes = dict(nodes)
        destinations = [{"name": name, "nodes": [node]} for name, node in nodes.items()]
        self.deliveries.apply(section.read(Settings, {"interval": 1, "destinations": destinations}), LIMITS)
        for name in set(before) - set(nodes):
            self._see_off(name, before[name])

    def _see_off(self, name: str, node: str) -> None:
        """See to it that one that was just removed ends, or hangs in its last request."""
        servers, life = self.servers, (name, self.servers.lives[name])
        begun = servers.begun[life]
        servers.wait_for(lambda: name not in alive() or name in servers.in_flight & servers.hangs)
        assert servers.begun[life] <= begun + 1  # which was about to begin just then
        self.most[life] = servers.begun[life]
        if name in servers.in_flight:
            self._kept[name] = node
        else:
            assert self.spool.queued(name) == 0

    def hang(self, name: str) -> None:
        """Let the next request of `name` hang, and wait until one does, if there is one."""
        with self.servers.news:
            self.servers.hangs.add(name)
        self.sample()
        if name in self.nodes:
            self.servers.wait_for(lambda: name in self.servers.in_flight)

    def free(self, name: str) -> None:
        """Let the requests of `name` have their answers."""
        with self.servers.news:
            self.servers.hangs.discard(name)
            self.servers.news.notify_all()
        if self._kept.pop(name, None):
            self.servers.wait_for(lambda: name not in alive())
            assert self.spool.queued(name) == 0

    def break_(self, name: str) -> None:
        """Let the request of `name` break that is in flight, or the next one."""
        with self.servers.news:
            self.servers.breaks.add(name)
        self.free(name)

    def is_drained(self) -> bool:
        """Return whether nothing is queued or held for anybody."""
        active = self.deliveries.active
        return not any(delivery.queued or delivery.new_ports.ports or delivery.cause for delivery in active.values())

    def close(self) -> None:
        """Let everything come to its end."""
        for name in NAMES:
            self.free(name)
        self.servers.wait_for(self.is_drained)
        self.deliveries.close(20)
        self.servers.wait_for(lambda: not alive())
        self.spool.close()


def alive() -> set[str]:
    """Return the names of destinations that have a thread."""
    names = (thread.name for thread in threading.enumerate())
    return {name.removeprefix("delivery to ") for name in names if name.startswith("delivery to ")}


names = st.sampled_from(NAMES)
samples = st.just(("sample",))
puts = st.tuples(st.just("put"), names, st.sampled_from(NODES))  # add, change or bring back
others = st.tuples(st.sampled_from(["remove", "hang", "hang", "free", "break_"]), names)
script = st.lists(samples | puts | puts | others | others | others, min_size=5, max_size=30)


AWAY = [("put", "d1", "a"), ("hang", "d0"), ("hang", "d1"), ("sample",), ("remove", "d0"), ("sample",)]


@pytest.mark.heavy
@example(steps=[*AWAY, ("put", "d0", "a"), ("free", "d0")], lacks=frozenset())
@example(steps=[*AWAY, ("put", "d0", "a"), ("break_", "d0")], lacks=frozenset())
@example(steps=[*AWAY, ("put", "d0", "b"), ("sample",), ("free", "d0")], lacks=frozenset())
@example(steps=[*AWAY, ("put", "d0", "b"), ("remove", "d0"), ("put", "d0", "a"), ("free", "d0")], lacks=frozenset())
@example(steps=[*AWAY, ("break_", "d0"), ("put", "d0", "a")], lacks=frozenset())
@given(steps=script, lacks=st.sampled_from([frozenset[str](), frozenset({"tcp.status[LISTEN]"})]))
def test_reloads_lose_nothing_and_double_nothing(steps: list[tuple[str, ...]], lacks: frozenset[str]) -> None:
    """Of every life of a destination, each value is answered once and in order; whoever is removed gets nothing more."""
    errors = Errors()
    logging.getLogger("sender").addHandler(errors)
    world = World(lacks)
    try:
        world.put("d0", "a")
        for step, *arguments in steps:
            getattr(world, step)(*arguments)
        world.sample()
    finally:
        world.close()
        logging.getLogger("sender").removeHandler(errors)
    assert (world.servers.wrong, errors.messages) == ([], [])
    for (name, life), answered in world.servers.answered.items():
        check_order(answered)
        if life == world.servers.lives[name] and name in world.nodes:
            check_completeness(answered, since=world.since[name, life], last=world.clock)
    assert all(world.servers.begun[life] <= most for life, most in world.most.items())
    assert {(name, world.servers.lives[name]) for name in world.nodes} <= set(world.servers.answered)


def test_who_comes_back_with_another_server_begins_anew() -> None:
    """Removed while its request hangs, a name that comes back elsewhere gets what is queued for others, not only the rest."""
    world = World(frozenset())
    try:
        for name in ("d0", "d1"):
            world.put(name, "a")
            world.hang(name)
        world.remove("d0")
        world.put("d0", "b")
        world.free("d0")
    finally:
        world.close()
    first, second = (world.servers.answered["d0", life]["tcp.status[TOTAL]"] for life in (1, 2))
    assert (first, second) == ([1], [1, 2])


def check_order(answered: Answered) -> None:
    """Each key's values came once, in order, without a gap."""
    for key, clocks in answered.items():
        assert clocks == list(range(clocks[0], clocks[-1] + 1)), key


def check_completeness(answered: Answered, *, since: int, last: int) -> None:
    """Each key has all values from the beginning of the life on."""
    assert set(answered) == set(KEYS)
    for key, clocks in answered.items():
        assert clocks[0] <= since + 1, key
        assert clocks[-1] == last, key


class Errors(logging.Handler):
    """What was logged of unexpected errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """As Handler.emit."""
        if record.exc_info:
            self.messages.append(self.format(record))


def test_a_reload_offers_a_rejected_sample_at_once() -> None:
    """Whoever corrects the host's name, or creates the host and reloads, does not wait for the end of a pause."""
    spool, asked = Spool(":memory:", ["d0"], LIMITS), threading.Condition()
    hosts: list[str] = []

    def send(items: Sequence[Item]) -> Outcome:
        with asked:
            hosts.append(items[0].host)
            asked.notify_all()
        known = items[0].host == "right"
        return Outcome(accepted=len(items) * known, rejected=len(items) * (not known))

    def settings(host: str) -> Settings:
        destinations = [{"name": "d0", "nodes": ["192.0.2.1"]}]
        return section.read(Settings, {"host": host, "interval": 1, "destinations": destinations})

    deliveries = Deliveries(spool, LIMITS, connect=lambda _: send)
    spool.append(sample(1, host="wrong"))
    deliveries.apply(settings("wrong"), LIMITS)
    waiting = deliveries.active["d0"].unknown_host
    with asked:
        assert asked.wait_for(lambda: hosts == ["wrong", "wrong"], 20)  # the first time again at once
        while not waiting.due_s:
            asked.wait(0.01)
        for _ in range(10):
            waiting.wait()  # as after some minutes of it
        assert waiting.due_s > 20
        spool.append(sample(2, host="right"))
        deliveries.apply(settings("right"), LIMITS)
        assert asked.wait_for(lambda: hosts == ["wrong", "wrong", "wrong", "right"], 20)
    deliveries.close(5)
    assert spool.queued("d0") == 0
    spool.close()
