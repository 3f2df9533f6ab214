"""Real samples into a real Zabbix 6.0 server, found again in its database. Needs root and Debian's packages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from lab.command import COMMAND
from lab.keys import CLOSE, FIRST_KEYS
from lab.namespace import Namespace
from lab.trapper import Trapper
from lab.zabbix_stack import Value
from sender.items import DISCOVERIES
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.zabbix_stack import ZabbixStack

REPOSITORY = Path(__file__).parents[2]
EVERY_STATE = (sys.executable, str(REPOSITORY / "lab" / "every_state.py"))
TEMPLATE = "TCP states by Zabbix trapper"


def config(directory: Path, host: str, *ports: int, **settings: Any) -> Path:
    """Return a configuration with one destination per port."""
    destinations = [{"name": f"d{n}", "nodes": [f"127.0.0.1:{port}"]} for n, port in enumerate(ports)]
    path = directory / "config.yaml"
    defaults = {
        "interval": 1,
        "ports": {"listening": False},
        "services": {"report": False},
        "spool": {"path": str(directory / "spool.db")},
    }
    path.write_text(json.dumps({"host": host, "destinations": destinations, **defaults, **settings}))
    return path


def run_once(config: Path) -> subprocess.CompletedProcess[str]:
    """`run --once` with this configuration."""
    command = [COMMAND, "run", "--once", "--config", str(config)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def stored(sent: list[dict[str, Any]]) -> list[Value]:
    """How the values in these requests must stand in the database, of which discovery is none."""
    sent = [value for value in sent if value["key"] not in DISCOVERIES]
    values = [Value(key=v["key"], value=str(v["value"]), clock=v["clock"], ns=v["ns"]) for v in sent]
    return in_order(values)


def in_order(values: list[Value]) -> list[Value]:
    """By moment and key, and with those of FLOAT items as the number that they are."""
    numbers = [
        Value(
            key=v.key,
            value=str(float(v.value)) if v.key.endswith(("sample.time", "pused")) else v.value,
            clock=v.clock,
            ns=v.ns,
        )
        for v in values
    ]
    return sorted(numbers, key=lambda value: (value.clock, value.ns, value.key))


def test_once_arrives_in_the_database(zabbix: ZabbixStack, host: str, tmp_path: Path) -> None:
    """Every value of a sample is in Zabbix's database as it was sent, clock and ns included."""
    with Trapper() as witness:  # a second destination, which gets what every destination gets
        done = run_once(config(tmp_path, host, zabbix.trapper_port, witness.port))
    assert done.returncode == 0, done.stderr
    sent = [value["key"] for value in witness.values]
    assert [key for key in sent if key != CLOSE] == [key for key in FIRST_KEYS if key != CLOSE]
    expected = stored(witness.values)
    assert in_order(zabbix.wait_for_history(host, len(expected))) == expected


def test_every_state_arrives_in_the_database(zabbix: ZabbixStack, host: str, tmp_path: Path) -> None:
    """Sockets in all eleven states, counted in a namespace by the command, stand in the database state by state."""
    settings = str(config(tmp_path, host, 9))
    with Namespace(EVERY_STATE) as namespace:
        request = json.loads(namespace.run(COMMAND, "run", "--dry-run", "--once", "--config", settings))
        expected = namespace.report["states"]
    destination = section.read(Destination, {"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]})
    sent = len(request["data"])  # in a namespace without the kernel's limits of the whole machine
    assert Uplink(destination).send([Item(**value) for value in request["data"]]) == Outcome(accepted=sent)
    values = {value.key: value.value for value in zabbix.wait_for_history(host, sent - len(DISCOVERIES))}
    assert {state: int(values[f"tcp.status[{state}]"]) for state in expected} == expected
    assert int(values["tcp.status[TOTAL]"]) == sum(expected.values())


@pytest.mark.parametrize("compression", [True, False])
def test_the_daemon_arrives_in_the_database(
    zabbix: ZabbixStack, host: str, tmp_path: Path, *, compression: bool
) -> None:
    """Some seconds of the daemon: every value of every sample, once, compressed or plain."""
    with Trapper() as witness:
        path = config(tmp_path, host, zabbix.trapper_port, witness.port)
        settings = json.loads(path.read_text())
        settings["destinations"][0]["compression"] = compression
        path.write_text(json.dumps(settings))
        process = subprocess.Popen([COMMAND, "run", "--config", str(path)], stderr=subprocess.PIPE, text=True)
        try:
            witness.wait_for(3)
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=20)[1]
        finally:
            process.kill()
    assert process.returncode == 0, log
    expected = stored(witness.values)
    assert in_order(zabbix.wait_for_history(host, len(expected))) == expected


def test_an_unknown_host_is_said(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """A host name that Zabbix does not know, here in the wrong case, is exit code 1 and a sentence with advice."""
    zabbix.create_host("Case-Matters", [TEMPLATE])
    zabbix.wait_for_items("Case-Matters")
    with Trapper() as witness:
        done = run_once(config(tmp_path, "case-matters", zabbix.trapper_port, witness.port))
    assert done.returncode == 1
    assert f"d0: Zabbix rejects all {len(witness.values)} values of host 'case-matters'" in done.stderr
    assert "under exactly this name (case matters)" in done.stderr


def test_one_disabled_item_costs_only_itself(zabbix: ZabbixStack, host: str, tmp_path: Path) -> None:
    """A value that Zabbix refuses does not take the others with it, and the log names its key."""
    (item,) = zabbix.api.item.get(host=host, filter={"key_": "tcp.status[LISTEN]"})
    zabbix.api.item.update(itemid=item["itemid"], status=1)
    zabbix.wait_for_items(host)
    with Trapper() as witness:
        done = run_once(config(tmp_path, host, zabbix.trapper_port, witness.port))
    assert done.returncode == 1
    assert f"d0: Zabbix rejected 1 of {len(witness.requests[0]['data'])} values of host '{host}'" in done.stderr
    assert f"d0: Zabbix rejects these keys of host '{host}': tcp.status[LISTEN]. " in done.stderr
    expected = [value for value in stored(witness.values) if value.key != "tcp.status[LISTEN]"]
    assert in_order(zabbix.wait_for_history(host, len(expected))) == expected


def test_zabbix_took_every_field_of_the_template(zabbix: ZabbixStack) -> None:
    """What Zabbix itself exports holds all that was imported: Zabbix silently ignores what it does not understand."""
    bundled = subprocess.run([COMMAND, "template"], check=True, capture_output=True, text=True).stdout
    (template,) = zabbix.api.template.get(filter={"host": TEMPLATE}, output=["templateid"])
    exported = zabbix.api.configuration.export(options={"templates": [template["templateid"]]}, format="xml")
    ours, theirs = leaves(bundled), leaves(exported)
    assert [leaf for leaf in ours if leaf not in theirs] == []


def leaves(xml: str) -> list[tuple[str, ...]]:
    """Every text in a template, under the uuid of the element that it belongs to."""

    def walk(element: ET.Element, owner: str) -> Iterator[tuple[str, ...]]:
        owner = element.findtext("uuid") or owner
        for child in element:
            if len(child):
                yield from walk(child, owner)
            else:
                yield owner, child.tag, " ".join((child.text or "").split())

    return list(walk(ET.fromstring(xml), ""))  # noqa: S314  ours, and our own server's


def test_silence_is_a_problem_and_a_value_its_end(zabbix: ZabbixStack, host: str, tmp_path: Path) -> None:
    """The nodata trigger fires on a host that falls silent, and recovers with its next sample."""
    (known,) = zabbix.api.host.get(filter={"host": host}, output=["hostid"])
    zabbix.api.usermacro.create(hostid=known["hostid"], macro="{$TCP.NODATA.TIMEOUT}", value="30s")
    zabbix.wait_for_items(host)
    path = config(tmp_path, host, zabbix.trapper_port)
    assert run_once(path).returncode == 0

    def problem(value: int) -> bool:
        return bool(zabbix.api.trigger.get(hostids=known["hostid"], filter={"value": value}, output=["triggerid"]))

    zabbix.wait_until(lambda: problem(1), "the nodata trigger fires", timeout_s=120)
    (event,) = zabbix.api.problem.get(hostids=known["hostid"], output=["name", "severity"])
    assert event["name"] == "TCP: No data from tcp-status-sender (for 30s)"
    assert event["severity"] == "2"
    assert run_once(path).returncode == 0
    zabbix.wait_until(lambda: problem(0), "the nodata trigger recovers", timeout_s=60)
