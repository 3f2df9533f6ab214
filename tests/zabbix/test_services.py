"""Services are discovered in a real Zabbix under their names, whatever stands in them, and their values arrive."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from sender.items import UNIT, UNITS
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from lab.zabbix_stack import ZabbixStack

NAMES = ("nginx.service", "user sessions", "kernel", "getty@tty1.service", "dev-disk\\x2d1:a.service")
EXCLUDED = "other.service"


def test_services_have_items_of_their_name(zabbix: ZabbixStack, host: str) -> None:
    """Spaces, colons and backslashes are part of a key; the macro keeps a service out."""
    (found,) = zabbix.api.host.get(filter={"host": host}, output=["hostid"])
    macro = {"macro": "{$TCP.SERVICE.NOT_MATCHES}", "value": rf"^{EXCLUDED}$"}
    zabbix.api.usermacro.create(hostid=found["hostid"], **macro)
    zabbix.wait_for_items(host)
    services = json.dumps([{UNIT: name} for name in (*NAMES, EXCLUDED)])
    assert sent(zabbix, host, {UNITS: services}) == Outcome(accepted=1)
    keys = {f"tcp.service.status[{state},{name}]" for state in ("ESTABLISHED", "CLOSE_WAIT") for name in NAMES}

    def are_there() -> bool:
        items = zabbix.api.item.get(hostids=found["hostid"], search={"key_": "tcp.service.status"}, output=["key_"])
        return {item["key_"] for item in items} == keys

    zabbix.wait_until(are_there, "the services have their items", 60)
    zabbix.wait_for_items(host)
    assert sent(zabbix, host, dict.fromkeys(keys, "7")) == Outcome(accepted=len(keys))
    assert {value.key for value in zabbix.wait_for_history(host, len(keys))} == keys


def sent(zabbix: ZabbixStack, host: str, values: dict[str, str]) -> Outcome:
    """Send these values as the daemon would."""
    uplink = Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}))
    now = int(time.time())
    return uplink.send([Item(host=host, key=key, value=value, clock=now, ns=1) for key, value in values.items()])
