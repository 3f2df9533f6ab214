"""What the deliveries to all destinations want together."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from lab.some_items import LIMITS, Zabbix, sample
from sender.daemon.deliveries import Deliveries
from sender.delivery.delivery import Delivery
from sender.settings import section
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.spool.spool import Spool

SETTINGS = section.read(Settings, {"host": "web-01", "destinations": [{"name": "main", "nodes": ["192.0.2.1"]}]})


class Short(threading.Event):
    """An interrupt of pauses that are none."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """As Event.wait, a millisecond at most."""
        return super().wait(0.001)


def is_so(condition: Callable[[], bool]) -> bool:
    """Wait until it is, and return whether it ever was."""
    for _ in range(20_000):
        if condition():
            return True
        time.sleep(0.001)
    return False


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
    assert is_so(lambda: len(zabbix.taken) == 3)
    zabbix.lacks = lambda item: item.port == "443"
    for clock in (2, 3):  # rejected in one request, then in parts, to see which
        take(clock)
        assert is_so(lambda: not spool.backlog)
    assert deliveries.wants_discovery
    zabbix.is_down = True
    take(4)
    assert is_so(lambda: delivery.cause is not None)
    assert not deliveries.wants_discovery
    zabbix.is_down = False
    assert is_so(lambda: deliveries.wants_discovery)
    deliveries.close(5)
