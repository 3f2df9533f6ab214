"""What docs/migrating.md says of hosts that come from a `netstat` UserParameter or from the agent's own key, as it is."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from lab import documents
from lab.command import COMMAND
from lab.documents import REPOSITORY
from lab.namespace import Namespace
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

EVERY_STATE = (sys.executable, str(REPOSITORY / "lab" / "every_state.py"))
TEMPLATE = "TCP states by Zabbix trapper"
OLD = ("ESTABLISHED", "TIME_WAIT", "LISTEN")
AGENT, TRAPPER = 0, 2
KEPT = """select (select count(*) from history_uint where itemid = {0}),
    (select count(*) from trends_uint where itemid = {0})"""
HISTORY = "insert into history_uint (itemid, clock, value, ns) values"
TRENDS = "insert into trends_uint (itemid, clock, num, value_min, value_avg, value_max) values"
AGENT_INTERFACE = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"}


class Migrant:
    """A host of Zabbix agent with the old items, its own or those of the template `old`, with history and trends."""

    def __init__(self, zabbix: ZabbixStack, name: str, old: str = "") -> None:
        self.zabbix, self.name = zabbix, name
        self.id = zabbix.create_host(name, [old] if old else [], interfaces=[AGENT_INTERFACE])
        if not old:
            (interface,) = zabbix.api.hostinterface.get(hostids=self.id)
            add_items(zabbix, self.id, interfaceid=interface["interfaceid"])
        self.ids = {item["key_"]: item["itemid"] for item in self.items()}
        hour = int(time.time()) // 3600 * 3600
        for number in self.ids.values():
            for ago in (180, 120, 60):
                zabbix.query(f"{HISTORY} ({number}, {hour - ago}, 7, 1) returning 1")
            zabbix.query(f"{TRENDS} ({number}, {hour - 100 * 86400}, 60, 1, 2, 3) returning 1")

    def items(self) -> list[dict[str, Any]]:
        """Those of the old keys, as they are now."""
        keys = [f"tcp.status[{state}]" for state in OLD]
        found: list[dict[str, Any]] = self.zabbix.api.item.get(hostids=self.id, filter={"key_": keys}, output="extend")
        return found

    def kept(self) -> dict[str, tuple[str, ...]]:
        """How many values of history and of trends each of them has."""
        return {item["key_"]: self.zabbix.query(KEPT.format(item["itemid"]))[0] for item in self.items()}

    def send(self) -> Outcome:
        """One value for each of the old keys, as the daemon sends them."""
        self.zabbix.wait_for_items(self.name)
        uplink = Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{self.zabbix.trapper_port}"]}))
        now = int(time.time())
        return uplink.send([Item(host=self.name, key=key, value="20000", clock=now, ns=1) for key in self.ids])

    def is_taken_over(self) -> bool:
        """Return the same items, with all that they had, now take what is sent to them."""
        items = self.items()
        assert {item["key_"]: item["itemid"] for item in items} == self.ids
        assert {int(item["type"]) for item in items} == {TRAPPER}
        assert {(item["history"], item["trends"]) for item in items} == {("14d", "365d")}
        assert set(self.kept().values()) == {("3", "1")}
        assert self.send() == Outcome(accepted=len(OLD))
        self.zabbix.wait_until(lambda: set(self.kept().values()) == {("4", "1")}, "new values beside old ones", 30)
        return True


def add_items(zabbix: ZabbixStack, owner: str, **more: str) -> None:
    """Add the three items of the UserParameter, as they stood in thousands of Zabbixes."""
    kind = {"type": AGENT, "value_type": 3, "delay": "60s", "history": "90d", "trends": "365d"}
    for state in OLD:
        zabbix.api.item.create(hostid=owner, name=state, key_=f"tcp.status[{state}]", **kind, **more)


@pytest.fixture(scope="module")
def old(zabbix: ZabbixStack) -> str:
    """Return a template with the old items and a trigger; its name."""
    name = "Old netstat"
    groups = zabbix.api.hostgroup if zabbix.version < (6, 2) else zabbix.api.templategroup
    (group,) = groups.get(filter={"name": ["Templates/Operating systems"]})
    (template,) = zabbix.api.template.create(host=name, groups=[{"groupid": group["groupid"]}])["templateids"]
    add_items(zabbix, template)
    expression = f"last(/{name}/tcp.status[TIME_WAIT])>10000"
    zabbix.api.trigger.create(description="Old: many in TIME_WAIT", expression=expression)
    return name


def template_id(zabbix: ZabbixStack, name: str) -> str:
    """By its name."""
    (found,) = zabbix.api.template.get(filter={"host": [name]}, output=["templateid"])
    return str(found["templateid"])


def provision(zabbix: ZabbixStack, host: str) -> subprocess.CompletedProcess[str]:
    """Return the command, as Admin."""
    login = {"ZABBIX_USER": "Admin", "ZABBIX_PASSWORD": "zabbix"}
    return subprocess.run(
        [COMMAND, "provision", "--url", zabbix.web_url, "--host", host],
        env={**os.environ, **login},
        capture_output=True,
        text=True,
        check=False,
    )


def test_items_of_the_host_itself_are_taken_over(zabbix: ZabbixStack) -> None:
    """Linking the template makes trapper items of them: the same ones, with their history and trends."""
    host = Migrant(zabbix, "netstat of its own")
    done = provision(zabbix, host.name)
    assert done.returncode == 0, done.stderr
    assert host.is_taken_over()


def test_items_of_an_old_template_are_in_the_way(zabbix: ZabbixStack, old: str) -> None:
    """While it is linked, the new one is refused, and nothing changes; unlinked, it leaves the items to be taken over."""
    host = Migrant(zabbix, "netstat in the way", old)
    done = provision(zabbix, host.name)
    assert done.returncode == 1
    assert 'Item "tcp.status[' in done.stderr
    assert "inherited from another template" in done.stderr
    assert {int(item["type"]) for item in host.items()} == {AGENT}
    zabbix.api.host.massremove(hostids=[host.id], templateids=[template_id(zabbix, old)])
    assert provision(zabbix, host.name).returncode == 0
    assert host.is_taken_over()


def test_one_template_in_place_of_the_other(zabbix: ZabbixStack, old: str) -> None:
    """Unlinked and linked in one step, as the form does it, the same; the old trigger stays, as the host's own, and works."""
    host = Migrant(zabbix, "netstat replaced", old)
    zabbix.api.host.update(hostid=host.id, templates=[{"templateid": template_id(zabbix, TEMPLATE)}])
    assert host.is_taken_over()
    (trigger,) = zabbix.api.trigger.get(hostids=host.id, filter={"description": "Old: many in TIME_WAIT"})
    assert trigger["templateid"] == "0"

    def fires() -> bool:
        host.send()
        (now,) = zabbix.api.trigger.get(triggerids=trigger["triggerid"], output=["value"])
        return bool(now["value"] == "1")

    zabbix.wait_until(fires, "the old trigger judges the new values", timeout_s=30)


def test_unlink_and_clear_loses_the_history(zabbix: ZabbixStack, old: str) -> None:
    """Cleared, the old items are gone, and those of the new template begin with nothing."""
    host = Migrant(zabbix, "netstat cleared", old)
    templates = [{"templateid": template_id(zabbix, TEMPLATE)}]
    zabbix.api.host.update(
        hostid=host.id, templates=templates, templates_clear=[{"templateid": template_id(zabbix, old)}]
    )
    assert set(host.kept().values()) == {("0", "0")}
    assert not {item["itemid"] for item in host.items()} & set(host.ids.values())


def connect(stack: ExitStack, port: int, count: int) -> None:
    """So many established connections to a port of this network namespace's loopback, both ends of each."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", port)))
    for _ in range(count):
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        stack.enter_context(server.accept()[0])


def test_the_agents_keys_and_ours_count_the_same(tmp_path: Path) -> None:
    """Each pair in the page's table, asked of a real agent and of us in one network namespace, has one value."""
    section = documents.sections("docs/migrating.md")["Which key becomes which"]
    pairs = re.findall(r"^\| `(net\.tcp\.socket\.count\[[^`]*\])` \| `(tcp\.[^`]+\])` \|", section, re.MULTILINE)
    assert len(pairs) == 12
    config = tmp_path / "config.yaml"
    ports = {"listening": False, "local": [443], "remote": [5432], "states": ["ESTABLISHED"]}
    config.write_text(json.dumps({"ports": ports}))
    with Namespace(EVERY_STATE) as namespace, ExitStack() as stack:
        namespace.run("ip", "link", "set", "lo", "up")
        for port, count in ((443, 3), (5432, 2)):
            namespace.call(partial(connect, stack, port, count))
        request = json.loads(namespace.run(COMMAND, "run", "--dry-run", "--once", "--config", str(config)))
        ours = {value["key"]: value["value"] for value in request["data"]}
        assert (ours["tcp.status[ESTABLISHED,443]"], ours["tcp.remote.status[ESTABLISHED,5432]"]) == ("3", "2")
        theirs = {
            key: namespace.run("zabbix_agentd", "--config", "/dev/null", "--test", key).rpartition("|")[2].strip("]\n")
            for key, _ in pairs
        }
    assert theirs == {agents: ours[key] for agents, key in pairs}
