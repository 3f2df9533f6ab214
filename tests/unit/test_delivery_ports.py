"""Delivery where Zabbix has not all the items: ports wait, are remembered, doubted, and asked for anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lab.some_items import LIMITS, Zabbix
from sender.delivery.delivery import Delivery
from sender.items import KEYS, LOCAL, port_of
from sender.model import Item
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PORT = "tcp.status[{},443]"
STATES = ("ESTABLISHED", "TIME_WAIT")


def of_443(item: Item) -> bool:
    """Whether it is one of port 443."""
    return item.key.endswith(",443]")


def sample(clock: int, *, discovery: bool = False) -> list[Item]:
    """One value of the host, discovery if wanted, and two of port 443."""
    keys = ["tcp.status[TOTAL]", *([LOCAL] if discovery else []), *(PORT.format(state) for state in STATES)]
    return [Item(host="web-01", key=key, value="1", clock=clock, ns=1) for key in keys]


def test_a_new_ports_values_are_neither_refused_nor_lost(spool: Spool, zabbix: Zabbix, delivery: Delivery) -> None:
    """While its items are missing the host's values go on; once they are there all that was held comes, in order, once."""
    zabbix.lacks = of_443
    for clock in range(5):
        spool.append(sample(clock))
        assert delivery.drain()
    assert zabbix.clocks("tcp.status[TOTAL]") == list(range(5))
    zabbix.lacks = lambda _: False
    for clock in range(5, 8):
        spool.append(sample(clock))
        assert delivery.drain()
    for state in STATES:
        assert zabbix.clocks(PORT.format(state)) == list(range(8))
    assert (spool.rejected, spool.backlog, delivery.state) == (0, 0, "all values accepted")


def test_the_state_tells_of_ports_that_wait(spool: Spool, zabbix: Zabbix, delivery: Delivery) -> None:
    """`systemctl status` does not say that all is well while values are held."""
    zabbix.lacks = of_443
    spool.append(sample(1))
    delivery.drain()
    assert delivery.state == "all values accepted; values of 1 new ports or units held"


def test_which_ports_are_known_outlives_the_daemon(tmp_path: Path, zabbix: Zabbix) -> None:
    """After a restart a known port's values go with the others in one request, and ports are remembered for sampling."""
    path = str(tmp_path / "spool.db")
    spool = Spool(path, ["main"], LIMITS)
    spool.append(sample(1))
    assert Delivery("main", zabbix.send, spool).drain()
    spool.append(sample(2))
    spool.close()
    spool = Spool(path, ["main"], LIMITS)
    assert spool.known("main") == ["443"]
    assert Delivery("main", zabbix.send, spool).drain()
    assert len(zabbix.requests[-1]) == 3
    spool.close()


def test_a_port_that_a_sample_lacks_is_known_after_a_restart(tmp_path: Path, zabbix: Zabbix) -> None:
    """As a namespace whose turn it was not when the daemon ended: its values go with the others in one request."""
    path = str(tmp_path / "spool.db")
    for number, last in enumerate((sample(2)[:1], sample(4))):
        spool = Spool(path, ["main"], LIMITS)
        delivery = Delivery("main", zabbix.send, spool)
        for items in (sample(2 * number + 1), last):
            spool.append(items)
            assert delivery.drain()
        spool.close()
    assert [len(items) for items in zabbix.requests] == [1, 2, 1, 3, 3]


def test_what_was_learned_last_outlives_the_daemon(tmp_path: Path, zabbix: Zabbix) -> None:
    """Also where no sample comes between the making of a port's items and the end, and what was refused of them too."""
    zabbix.lacks = lambda item: item.key == PORT.format("TIME_WAIT")
    spool = Spool(str(tmp_path / "spool.db"), ["main"], LIMITS)
    spool.append(sample(1))
    assert Delivery("main", zabbix.send, spool).drain()
    spool.close()
    spool = Spool(str(tmp_path / "spool.db"), ["main"], LIMITS)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        assert db.execute("SELECT known, rejected FROM destination").fetchall() == [("443", 1)]
    assert (spool.known("main"), spool.rejected) == (["443"], 0)
    spool.close()


def test_a_port_that_loses_its_items_is_asked_for_anew(
    spool: Spool, zabbix: Zabbix, delivery: Delivery, logged: Callable[[], list[str]]
) -> None:
    """All of a port refused: it is named, discovery is wanted, and from then on its values wait for their items."""
    spool.append(sample(1))
    assert delivery.drain()
    zabbix.lacks = of_443
    for clock in (2, 3):  # refused in one request, then in parts, to see which
        spool.append(sample(clock))
        assert delivery.drain()
    assert any("main: Zabbix rejects these keys of host 'web-01': all of port 443. " in line for line in logged())
    assert delivery.wants_discovery
    assert spool.rejected == 4
    for clock in (4, 5):
        spool.append(sample(clock, discovery=clock == 5))
        assert delivery.drain()
    assert not delivery.wants_discovery
    zabbix.lacks = lambda _: False
    assert delivery.drain()
    assert zabbix.clocks(PORT.format("TIME_WAIT")) == [1, 4, 5]
    assert spool.rejected == 4


def test_a_state_without_an_item_is_named_with_its_port(
    spool: Spool, zabbix: Zabbix, delivery: Delivery, logged: Callable[[], list[str]]
) -> None:
    """Where only some of a port is refused, its other values go on, and the refused ones are counted."""
    zabbix.lacks = lambda item: item.key == PORT.format("TIME_WAIT")
    for clock in (1, 2, 3, 4):
        spool.append(sample(clock))
        assert delivery.drain()
    assert any(
        "main: Zabbix rejects these keys of host 'web-01': 1 of 2 values of port 443. " in line for line in logged()
    )
    assert zabbix.clocks(PORT.format("ESTABLISHED")) == [1, 2, 3, 4]
    assert spool.rejected == 4
    assert not delivery.wants_discovery


def test_a_host_that_becomes_known_gets_its_ports(spool: Spool, zabbix: Zabbix) -> None:
    """While the host is unknown nobody else is bothered with discovery; once it is known, it is wanted, and ports come."""
    delivery = Delivery("main", zabbix.send, spool, monotonic=lambda: 0.0)
    zabbix.lacks = lambda _: True
    spool.append(sample(1, discovery=True))
    assert delivery.drain()
    assert not delivery.wants_discovery
    zabbix.lacks = lambda _: False
    spool.append(sample(2))
    delivery.unknown_host.retry_now()
    assert delivery.drain()
    assert not delivery.wants_discovery  # the first sample, which stayed queued, had it
    spool.append(sample(3, discovery=True))
    assert delivery.drain()
    assert zabbix.clocks(PORT.format("ESTABLISHED")) == [1, 2, 3]
    assert zabbix.clocks("tcp.status[TOTAL]") == [1, 2, 3]


@pytest.mark.parametrize(
    ("key", "port"),
    [
        ("tcp.status[ESTABLISHED,443]", "443"),
        ("tcp.status[FIN_WAIT1,22]", "22"),
        ("tcp.listen.queue[443]", "443"),
        ("tcp.listen.queue.pused[443]", "443"),
        ("tcp.remote.status[SYN_SENT,5432]", "remote 5432"),
        *((key, "") for key in KEYS),
        (LOCAL, ""),
    ],
)
def test_which_key_is_of_which_port(key: str, port: str) -> None:
    """Those that discovery makes are told from those of the host, and remote ports from local ones."""
    assert port_of(key) == port
