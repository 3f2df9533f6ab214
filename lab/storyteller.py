"""Tells the hour of story.py to a real Zabbix, the way the daemon would have: with its own uplink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import story
from lab.program import StackError
from sender.model import Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.zabbix_stack import ZabbixStack
    from sender.model import Item


def uplink(zabbix: ZabbixStack) -> Uplink:
    """Return a way into the server."""
    return Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}))


def replay(zabbix: ZabbixStack, host: str, end: int) -> dict[str, str]:
    """Give a host of which the server knows the hour until `end`; once all of it is stored, the last value of each key."""
    hour = list(story.hour(host, end))
    keys = {item.key for item in hour[0]}
    _send(zabbix, story.discoveries(host, end))
    zabbix.wait_until(lambda: keys <= _known_keys(zabbix, host), "discovery has made the items of all ports", 60)
    zabbix.wait_for_items(host)
    for sample in hour:
        _send(zabbix, sample)
    zabbix.wait_until(lambda: _is_stored(zabbix, host, hour[-1]), "the whole hour is in the database", 60)
    return {item.key: item.value for item in hour[-1]}


def _send(zabbix: ZabbixStack, items: Sequence[Item]) -> None:
    outcome = uplink(zabbix).send(items)
    if outcome != Outcome(accepted=len(items)):
        raise StackError(f"zabbix_server does not take the story: {outcome}")


def _known_keys(zabbix: ZabbixStack, host: str) -> set[str]:
    return {item["key_"] for item in zabbix.api.item.get(host=host, output=["key_"])}


def _is_stored(zabbix: ZabbixStack, host: str, sample: Sequence[Item]) -> bool:
    """Whether every value of the sample is in the database, but for the version, which does not change."""
    stored = {value.key for value in zabbix.history(host) if value.clock == sample[0].clock}
    return {item.key for item in sample} - {"tcp.sender.version"} <= stored
