"""A host that is well, for a quarter of an hour, at a real Zabbix 6.0 server. Not part of `make test`: `make soak`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND
from lab.daemon import Daemon
from lab.traffic import Service
from lab.zabbix_stack import ZabbixStack, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTES = float(os.environ.get("MINUTES", "15"))
HOST = "a host that is well"
HELD = 40  # connections that stay open
PAUSE_S = 0.05  # between two short ones: a thousand in TIME_WAIT


@pytest.fixture
def zabbix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a Zabbix with the template linked to HOST."""
    template = subprocess.run([COMMAND, "template"], check=True, capture_output=True, text=True).stdout
    with ZabbixStack(tmp_path_factory.mktemp("zabbix")) as zabbix:
        zabbix.import_template(template)
        zabbix.create_host(HOST, ["TCP states by Zabbix trapper"])
        zabbix.wait_for_items(HOST)
        yield zabbix


def test_a_healthy_host_raises_nothing(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """Under ordinary traffic no trigger fires, not for a moment, and every value of every sample is accepted."""
    web, database = free_ports(2)
    settings = {
        "host": HOST,
        "interval": "5s",
        "destinations": [{"name": "zabbix", "nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}],
        "ports": {"remote": [database]},
        "spool": {"path": str(tmp_path / "spool.db")},
    }
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(settings))
    for port in (web, database):
        Service(port).start()
    with ExitStack() as stack, Daemon(config) as daemon:
        for _ in range(HELD):
            stack.enter_context(socket.create_connection(("127.0.0.1", database)))
        end = time.monotonic() + MINUTES * 60
        while time.monotonic() < end:
            socket.create_connection(("127.0.0.1", web)).close()
            time.sleep(PAUSE_S)
        daemon.stop()
    events = zabbix.api.event.get(source=0, object=0, output=["name", "clock"], filter={"value": "1"})
    assert [event["name"] for event in events] == []
    stored = {value.key: value for value in zabbix.history(HOST)}
    assert stored["tcp.sender.rejected"].value == stored["tcp.sender.dropped"].value == "0"
    assert int(stored[f"tcp.remote.status[ESTABLISHED,{database}]"].value) == HELD
    assert int(stored["tcp.status[TIME_WAIT]"].value) > 100
    totals = [value for value in zabbix.history(HOST) if value.key == "tcp.status[TOTAL]"]
    assert len(totals) >= MINUTES * 60 / 5 - 2
    unsupported = zabbix.api.item.get(host=HOST, output=["key_", "error"], filter={"state": "1"})
    assert unsupported == []
