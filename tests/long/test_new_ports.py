"""New ports: one that waits by the clock, and a thousand at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from lab.some_items import PORT_KEYS, Zabbix, sample
from sender.delivery.delivery import Delivery
from sender.delivery.new_ports import NewPorts
from sender.model import Item, Outcome
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.spool.spool import Spool


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


def test_held_values_go_without_another_sample(spool: Spool, zabbix: Zabbix) -> None:
    """With an interval of an hour, a new port does not wait for the next sample, only for its items."""
    zabbix.lacks = lambda item: item.port == "443"
    now = [0.0]
    delivery = Delivery("main", zabbix.send, spool, monotonic=lambda: now[0])
    spool.append(sample(1, 443))
    thread = threading.Thread(target=delivery.run, daemon=True)
    thread.start()
    with zabbix.news:
        assert zabbix.news.wait_for(lambda: len(zabbix.taken) == 1, 20)
    zabbix.lacks = lambda _: False
    now[0] = 100.0
    with zabbix.news:
        assert zabbix.news.wait_for(lambda: len(zabbix.taken) == 3, 20)
    delivery.stop()
    thread.join()
