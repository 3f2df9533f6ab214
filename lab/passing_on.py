"""A trapper in one network namespace that hands values on to a real Zabbix in another, in a faster time if wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lab.storyteller import uplink
from lab.trapper import Trapper, counts
from sender.model import Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.zabbix_stack import ZabbixStack

UPTIME = "tcp.sender.uptime"  # the only value that is itself a time


def unchanged(item: Item) -> Item:
    """Return it as it is."""
    return item


class FastTime:
    """A time that goes `speed` times as fast as the real one since this was made, and is in the past for `minutes`.

    Zabbix judges a value at that value's own time. So the 15 minutes for which a trigger waits are a few seconds.
    """

    def __init__(self, speed: int, minutes: int = 10) -> None:
        self._speed = speed
        self._made = int(time.time())
        self._began = self._made - minutes * 60 * (speed - 1)

    def __call__(self, item: Item) -> Item:
        """Return an item as it would be if the daemon had lived in this time."""
        clock = self._began + (item.clock - self._made) * self._speed
        value = str(int(item.value) * self._speed) if item.key == UPTIME else item.value
        return Item(host=item.host, key=item.key, value=value, clock=clock, ns=item.ns)


def passing_on(zabbix: ZabbixStack, told: Callable[[Item], Item] = unchanged, *, address: str = "127.0.0.1") -> Trapper:
    """Return a trapper that hands every value on to the server, as `told`, and the server's answer back.

    It listens where it is made, and connects to the server from where it is entered.
    """

    def answer(request: dict[str, Any]) -> bytes:
        outcome = uplink(zabbix).send([told(Item(**value)) for value in request["data"]])
        return counts(outcome.accepted, outcome.rejected)

    return Trapper(answer, address=address)
