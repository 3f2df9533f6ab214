"""A trapper in one network namespace that hands values on to a real Zabbix in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.storyteller import uplink
from lab.trapper import Trapper, counts
from sender.model import Item

if TYPE_CHECKING:
    from lab.zabbix_stack import ZabbixStack


def passing_on(zabbix: ZabbixStack) -> Trapper:
    """Return a trapper that hands every value on to the server, and the server's answer back.

    It listens where it is made, and connects to the server from where it is entered.
    """

    def answer(request: dict[str, Any]) -> bytes:
        outcome = uplink(zabbix).send([Item(**value) for value in request["data"]])
        return counts(outcome.accepted, outcome.rejected)

    return Trapper(answer)
