"""The template and the daemon's values in every version of Zabbix: imported, made into items, and stored once each."""

from __future__ import annotations

import json
import re
import socket
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest
from zabbix_utils import APIRequestError

from lab.command import tcp_status_sender
from lab.daemon import Daemon
from lab.keys import FIRST_KEYS, STORED, WHOLE_MACHINE
from lab.trapper import Trapper
from lab.zabbix_proxy import ZabbixProxy
from lab.zabbix_stack import TRAPPER, Value, free_ports
from sender.items import DISCOVERIES, TEXTS, port_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
FIELDS = ("key", "value", "clock", "ns")
VERSION = "tcp.sender.version"
NINE = 9  # keys of a local port: four states, four of the accept queue, the requests dropped
# What every format makes, whatever the version: a part that an import leaves out is left out without a word.
COUNTS = {
    "item": 75,
    "itemprototype": 51,
    "trigger": 26,
    "triggerprototype": 11,
    "graph": 14,
    "graphprototype": 12,
    "discoveryrule": 4,
    "usermacro": 43,
}


@pytest.fixture
def witness() -> Iterator[Trapper]:
    """Yield a second destination, which gets what every destination gets."""
    with Trapper() as witness:
        yield witness


def config(directory: Path, host: str, zabbix: ZabbixStack | ZabbixProxy, witness: Trapper, **settings: Any) -> Path:
    """Return a configuration that sends to both, every second."""
    ports = {"zabbix": zabbix.trapper_port, "witness": witness.port}
    destinations = [{"name": name, "nodes": [f"127.0.0.1:{port}"]} for name, port in ports.items()]
    spool = {"path": str(directory / "spool.db")}
    path = directory / "config.yaml"
    common = {"interval": 1, "services": {"report": False}, "spool": spool}
    path.write_text(json.dumps({"host": host, "destinations": destinations, **common, **settings}))
    return path


def in_order(values: Iterable[Value]) -> list[Value]:
    """By moment and key, each number as a number that a database may have written in another way."""
    numbers = [v if v.key in (VERSION, *TEXTS) else replace(v, value=f"{float(v.value):.9g}") for v in values]
    return sorted(numbers, key=attrgetter("clock", "ns", "key"))


def to_be_stored(witness: Trapper) -> list[Value]:
    """Return what the witness has, as it must stand in the database; discovery does not."""
    values = [Value(**{name: sent[name] for name in FIELDS}) for sent in witness.values]
    return in_order(value for value in values if value.key not in DISCOVERIES)


def template_id(zabbix: ZabbixStack) -> str:
    """Return the id of the imported template."""
    (template,) = zabbix.api.template.get(filter={"host": TEMPLATE}, output=["templateid"])
    return str(template["templateid"])


def exported(zabbix: ZabbixStack) -> str:
    """Return the template as Zabbix writes it, but for the moment at which it does."""
    options = {"templates": [template_id(zabbix)]}
    xml = zabbix.api.configuration.export(options=options, format="xml")
    return re.sub("<date>.*</date>", "", xml)


def port_keys(zabbix: ZabbixStack, host: str) -> list[str]:
    """Return the keys of the items that discovery has made and that take values: in format 3.4 others are disabled."""
    found = zabbix.api.item.get(host=host, filter={"flags": 4, "status": 0, "type": TRAPPER}, output=["key_"])
    return [item["key_"] for item in found]


def of_ports(zabbix: ZabbixStack, host: str) -> int:
    """How many values of ports are stored."""
    return sum(port_of(value.key) != "" for value in zabbix.history(host))


@contextmanager
def listener(port: int) -> Iterator[None]:
    """Somebody who listens on the port."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_the_import_makes_everything(zabbix: ZabbixStack) -> None:
    """Items, prototypes, triggers, graphs, rules and macros are all there: none was left out in this version."""
    made = {}
    for kind in COUNTS:
        whose = "hostids" if kind == "usermacro" else "templateids"
        made[kind] = len(getattr(zabbix.api, kind).get(**{whose: template_id(zabbix)}, output=["name"]))
    assert made == COUNTS


def test_which_version_takes_a_host_without_an_interface(zabbix: ZabbixStack) -> None:
    """From 5.2 on, as the template's description and docs/installing.md say; before, one that nothing connects to is enough."""
    group = zabbix.api.hostgroup.create(name="Of hosts without an interface")["groupids"][0]
    host = {"groups": [{"groupid": group}], "templates": [{"templateid": template_id(zabbix)}]}
    if zabbix.version < (5, 2):
        with pytest.raises(APIRequestError, match="No interfaces for host"):
            zabbix.api.host.create(host="bare", **host)
    else:
        assert zabbix.api.host.create(host="bare", **host)["hostids"]
    agent = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"}
    assert zabbix.api.host.create(host="not bare", interfaces=[agent], **host)["hostids"]


def test_the_import_can_be_repeated(imported: Any) -> None:
    """Importing the same file again changes nothing: what Zabbix exports stays the same."""
    before = exported(imported.zabbix)
    assert "tcp.status[ESTABLISHED]" in before
    imported.zabbix.import_template(imported.source)
    assert exported(imported.zabbix) == before


def test_the_host_has_the_dashboard(zabbix: ZabbixStack, host: str) -> None:
    """The host shows the template's dashboard: a screen, before 5.2."""
    (known,) = zabbix.api.host.get(filter={"host": host}, output=["hostid"])
    if zabbix.version >= (5, 2):
        shown = zabbix.api.templatedashboard.get(templateids=template_id(zabbix), output=["name"])
    else:
        shown = zabbix.api.templatescreen.get(hostids=known["hostid"], output=["name"])
    assert [one["name"] for one in shown] == ["TCP states"]


def test_one_sample_is_stored(imported: Any, host: str, witness: Trapper, tmp_path: Path) -> None:
    """`run --once` succeeds, and every value of the sample is stored as it was sent, once, clock and ns included."""
    zabbix, ports = imported.zabbix, {"listening": False}
    done = tcp_status_sender("run", "--once", "--config", config(tmp_path, host, zabbix, witness, ports=ports))
    assert done.returncode == 0, done.stderr
    assert [value["key"] for value in witness.values] == [key for key in FIRST_KEYS if key not in WHOLE_MACHINE]
    stored = zabbix.wait_for_history(host, len(STORED) - len(WHOLE_MACHINE))
    assert in_order(stored) == to_be_stored(witness)


def test_the_daemon_and_a_new_port(imported: Any, host: str, witness: Trapper, tmp_path: Path) -> None:
    """Every value of the daemon is stored once, and those of a port from the sample on in which it is discovered."""
    zabbix, (port,) = imported.zabbix, free_ports(1)
    only = {"exclude": [f"1-{port - 1}", f"{port + 1}-65535"]}
    with Daemon(config(tmp_path, host, zabbix, witness, ports=only)) as daemon, listener(port):
        zabbix.wait_until(lambda: len(port_keys(zabbix, host)) == NINE, "discovery makes the port's items", 60)
        zabbix.wait_until(lambda: of_ports(zabbix, host) >= 3 * NINE, "three samples of the port are stored", 60)
        daemon.stop()
    expected = to_be_stored(witness)
    assert in_order(zabbix.wait_for_history(host, len(expected))) == expected
    assert {value.key for value in expected if port_of(value.key)} == set(port_keys(zabbix, host))
    assert not re.search("reject(s|ed) .*of host", daemon.log)


def test_a_proxy_passes_it_on(imported: Any, witness: Trapper, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a proxy of the same version takes for its host is stored at the server as it was sent, once."""
    zabbix, directory = imported.zabbix, tmp_path_factory.mktemp("proxy")
    with ZabbixProxy(zabbix, zabbix.directory / "proxy", "proxy-01", imported.pair.proxy) as proxy:
        zabbix.create_host("behind-proxy", [TEMPLATE], **proxy.hosts)
        proxy.wait_for_items("behind-proxy")
        sample = config(directory, "behind-proxy", proxy, witness, ports={"listening": False})
        done = tcp_status_sender("run", "--once", "--config", sample)
        assert done.returncode == 0, done.stderr
        stored = zabbix.wait_for_history("behind-proxy", len(STORED) - len(WHOLE_MACHINE))
    assert in_order(stored) == to_be_stored(witness)
