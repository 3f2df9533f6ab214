"""Ports where everything goes wrong at once: outages in which they leave, refused discovery, other names, damaged memories."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from lab.some_items import LIMITS, PORT_KEYS, Zabbix, sample
from sender.delivery.delivery import Delivery
from sender.items import LOCAL, REMOTE, local_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item, Outcome
    from sender.spool.spool import Spool


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
            assert any(
                f"main: Zabbix rejects these keys of host 'web-01': {LOCAL}, {REMOTE}. " in line for line in logged()
            )
            assert not delivery.wants_discovery


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
    assert not any("reject" in line for line in logged())
