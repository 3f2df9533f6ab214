"""A Zabbix that has some of the items, as a delivery sees it (a function that takes values), and samples for it. No network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sender import items
from sender.errors import DeliveryError
from sender.items import LOCAL, REMOTE
from sender.model import Item, Outcome
from sender.spool.sample import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMITS = Limits(max_age_s=1e10, max_bytes=2**28)  # of a spool whose samples are numbered by their clocks
PORT_KEYS = ("tcp.status[ESTABLISHED,{}]", "tcp.listen.queue[{}]")


def sample(clock: int, *ports: int, discovery: bool = False, host: str = "web-01") -> list[Item]:
    """Return one value of the host, both discoveries if wanted, and two of each port."""
    keys = ["tcp.status[TOTAL]", *((LOCAL, REMOTE) if discovery else ())]
    keys += [key.format(port) for port in ports for key in PORT_KEYS]
    return [Item(host=host, key=key, value=str(clock), clock=clock, ns=1, port=items.port_of(key)) for key in keys]


class Zabbix:
    """Has every item but those that `lacks` says; `is_down` lets every request fail. `news` comes with each request."""

    def __init__(self) -> None:
        self.is_down = False
        self.lacks: Callable[[Item], bool] = lambda _: False
        self.requests: list[Sequence[Item]] = []
        self.taken: list[Item] = []
        self.news = threading.Condition()

    def send(self, items: Sequence[Item]) -> Outcome:
        """As Uplink.send."""
        if self.is_down:
            raise DeliveryError("connection refused")
        self.requests.append(items)
        taken = [item for item in items if not self.lacks(item)]
        with self.news:
            self.taken += taken
            self.news.notify_all()
        return Outcome(accepted=len(taken), rejected=len(items) - len(taken))

    def clocks(self, key: str) -> list[int]:
        """Of the values of a key, in the order in which they came."""
        return [item.clock for item in self.taken if item.key == key]

    def of_port(self, port: int) -> list[Item]:
        """Return what was taken for it, in the order in which it came."""
        return [item for item in self.taken if item.key.endswith((f",{port}]", f"[{port}]"))]
