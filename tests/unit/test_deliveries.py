"""What the deliveries to all destinations want together."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from lab.some_items import LIMITS, Zabbix, sample
from lab.watched_daemon import wait_until
from sender.daemon.deliveries import Deliveries
from sender.delivery.delivery import Delivery
from sender.settings import section
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from sender.spool.spool import Spool

SETTINGS = section.read(Settings, {"host": "web-01", "destinations": [{"name": "main", "nodes": ["192.0.2.1"]}]})


class Short(threading.Event):
    """An interrupt of pauses that are none."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """As Event.wait, a millisecond at most."""
        return super().wait(0.001)


def test_discovery_is_wanted_by_those_that_can_get_it(spool: Spool, zabbix: Zabbix) -> None:
    """A destination that needs discovery and then fails costs the others nothing; it needs it when the outage is over."""
    hasty = partial(Delivery, interrupt=Short(), monotonic=lambda: 0.0)
    deliveries = Deliveries(spool, LIMITS, connect=lambda _: zabbix.send, delivery=hasty)
    deliveries.apply(SETTINGS, LIMITS)
    delivery = deliveries.active["main"]

    def take(clock: int) -> None:
        spool.append(sample(clock, 443))
        deliveries.wake()

    take(1)
    wait_until(lambda: len(zabbix.taken) == 3, "it has three requests")
    zabbix.lacks = lambda item: item.port == "443"
    for clock in (2, 3):  # rejected in one request, then in parts, to see which
        take(clock)
        wait_until(lambda: not spool.backlog, "nothing is queued")
    assert deliveries.wants_discovery
    zabbix.is_down = True
    take(4)
    wait_until(lambda: delivery.cause, "the outage is noticed")
    assert not deliveries.wants_discovery
    zabbix.is_down = False
    wait_until(lambda: deliveries.wants_discovery, "the outage is over")
    deliveries.close(5)
