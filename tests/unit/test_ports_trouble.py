"""Ports where everything goes wrong at once: outages in which they leave, refused discovery, other names, damaged memories."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import tcp_status_sender
from lab.daemon import Daemon
from lab.some_items import LIMITS, Zabbix
from lab.trapper import Trapper, counts
from sender import items
from sender.delivery.delivery import Delivery
from sender.delivery.new_ports import NewPorts
from sender.items import LOCAL, REMOTE, local_port
from sender.model import Item, Outcome
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PORT_KEYS = ("tcp.status[ESTABLISHED,{}]", "tcp.listen.queue[{}]")


def sample(clock: int, *ports: int, discovery: bool = False, host: str = "web-01") -> list[Item]:
    """One value of the host, both discoveries if wanted, and two of each port."""
    keys = ["tcp.status[TOTAL]", *((LOCAL, REMOTE) if discovery else ())]
    keys += [key.format(port) for port in ports for key in PORT_KEYS]
    return [Item(host=host, key=key, value=str(clock), clock=clock, ns=1, port=items.port_of(key)) for key in keys]


def test_a_port_that_leaves_in_an_outage_comes_once(spool: Spool, zabbix: Zabbix, delivery: Delivery) -> None:
    """In one request go samples with the port and samples without it; none of its values goes a second time."""
    spool.append(sample(1, 443))
    assert delivery.drain()
    for clock in (2, 3):
        spool.append(sample(clock, 443))
    spool.append(sample(4))
    assert delivery.drain()
    assert set(Counter((item.key, item.clock) for item in zabbix.taken).values()) == {1}
    assert [item.clock for item in zabbix.of_port(443)] == [1, 1, 2, 2, 3, 3]
    assert delivery.new_ports.ports == []
    assert delivery.new_ports.known == set()


@pytest.mark.parametrize(
    ("known", "port"),
    [
        ("443", 443),
        ("65535", 65535),
        ("remote 443", None),
        ("65536", None),
        ("0", None),
        ("4" * 5000, None),
        ("", None),
    ],
)
def test_only_ports_are_remembered_as_ports(known: str, port: int | None) -> None:
    """What the spool remembers has no checksum, and a number that is no port would fail every sample."""
    assert local_port(known) == port


def test_a_spool_that_remembers_nonsense_stops_nothing(config: Callable[..., Path], tmp_path: Path) -> None:
    """The daemon starts on it, and samples."""
    path = tmp_path / "spool.db"
    spool = Spool(str(path), ["d0"], LIMITS)
    spool.learn("d0", ["98080"])
    spool.append(sample(1))
    spool.close()
    with Trapper() as trapper, Daemon(config(trapper.port, ports={"local": []})) as daemon:
        trapper.wait_for(2)
        daemon.stop()
        assert "Traceback" not in daemon.log


@pytest.mark.parametrize("with_it", [{2, 5}, {5}])
def test_refused_discovery_is_named(
    spool: Spool, zabbix: Zabbix, delivery: Delivery, logged: Callable[[], list[str]], with_it: set[int]
) -> None:
    """As by a template from before ports: the sample that is sent in parts is one that has discovery again."""
    zabbix.lacks = lambda item: item.key in (LOCAL, REMOTE)
    spool.append(sample(0, discovery=True))
    assert delivery.drain()
    assert delivery.wants_discovery
    for clock in range(1, 6):
        spool.append(sample(clock, discovery=clock in with_it))
        assert delivery.drain()
        if clock == min(with_it):
            assert any(f"main refuses of host 'web-01': {LOCAL}, {REMOTE}. " in line for line in logged())
            assert not delivery.wants_discovery


def test_once_names_refused_discovery(config: Callable[..., Path]) -> None:
    """`run --once` does not say that every value is accepted, and end with 1."""
    with Trapper(_without_discovery) as trapper:
        done = tcp_status_sender("run", "--once", "--config", config(trapper.port))
    assert done.returncode == 1
    assert f"d0 refuses of host 'web-01': {LOCAL}, {REMOTE}. " in done.stderr
    assert "accepts every value" not in done.stderr


def _without_discovery(request: dict[str, Any]) -> bytes:
    refused = sum(sent["key"] in (LOCAL, REMOTE) for sent in request["data"])
    return counts(len(request["data"]) - refused, refused)


def test_a_backlog_for_another_name_comes_whole(spool: Spool, zabbix: Zabbix) -> None:
    """A destination that is renamed in an outage has the items; more waits for it than would be held of a new port."""
    for clock in range(1000):
        spool.append(sample(clock, 22, 443))
    spool.serve(["dr"], LIMITS)
    assert Delivery("dr", zabbix.send, spool).drain()
    for port in (22, 443):
        assert [item.clock for item in zabbix.of_port(port)] == [clock for clock in range(1000) for _ in PORT_KEYS]


def test_fresh_samples_do_not_wait_for_many_new_ports(spool: Spool, zabbix: Zabbix, delivery: Delivery) -> None:
    """Each new port is a request of its own; where these take long, what is sampled meanwhile goes in between."""
    ports = range(1, 6)
    zabbix.lacks = lambda item: item.key != "tcp.status[TOTAL]"
    news = iter([sample(2, *ports), sample(3, *ports)])
    send = zabbix.send

    def slowly(items: Sequence[Item]) -> Outcome:
        if items[0].key != "tcp.status[TOTAL]":
            for fresh in news:
                spool.append(fresh)
                break
        return send(items)

    slow = Delivery("main", slowly, spool, monotonic=delivery.new_ports._monotonic)  # noqa: SLF001
    spool.append(sample(1, *ports))
    zabbix.lacks = lambda _: False
    assert slow.drain()
    first = [request[0].key for request in zabbix.requests]
    assert first[:4] == ["tcp.status[TOTAL]", PORT_KEYS[0].format(1), "tcp.status[TOTAL]", PORT_KEYS[0].format(2)]
    assert {item.clock for item in zabbix.of_port(5)} == {1, 2, 3}


@pytest.mark.heavy
def test_many_new_ports_share_the_memory() -> None:
    """Of a thousand ports, a few dozen samples each."""
    subject = NewPorts("main")
    ports = range(1, 1001)
    for clock in range(60):
        subject.hold(sample(clock, *ports))
    taken: list[Item] = []

    def send(items: Sequence[Item]) -> Outcome:
        taken.extend(items)
        return Outcome(accepted=len(items))

    while subject.ports:
        subject.offer(send)
    assert len(taken) == 48_000 * len(PORT_KEYS)


def test_a_renamed_host_has_to_get_its_items_first(
    spool: Spool, zabbix: Zabbix, delivery: Delivery, logged: Callable[[], list[str]]
) -> None:
    """After a reload with another name, known ports are new ones again: nothing is refused, no request has two hosts."""
    zabbix.lacks = lambda item: item.host == "web-02" and "443" in item.key
    spool.append(sample(1, 443))
    assert delivery.drain()
    for clock in (2, 3):
        spool.append(sample(clock, 443, host="web-02"))
        assert delivery.drain()
    zabbix.lacks = lambda _: False
    spool.append(sample(4, 443, host="web-02"))
    assert delivery.drain()
    taken = [(item.host, item.clock) for item in zabbix.of_port(443) if "queue" in item.key]
    assert taken == [("web-01", 1), ("web-02", 2), ("web-02", 3), ("web-02", 4)]
    assert all(len({item.host for item in request}) == 1 for request in zabbix.requests)
    assert not any("refuse" in line for line in logged())
