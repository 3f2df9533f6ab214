"""A real Zabbix 6.0 server that registers the host by itself, at the word of the daemon, which reads an agent's file."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND
from lab.daemon import Daemon
from lab.keys import STEADY
from lab.trapper import Trapper, accept, packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
METADATA = "Linux tcp-status-sender"
AUTOREGISTRATION = 2  # `eventsource` of an action
ADD_HOST, LINK_TEMPLATE = "2", "6"  # `operationtype`
METADATA_CONTAINS = {"conditiontype": 24, "operator": 2, "value": METADATA}  # of a filter: host metadata, contains


@pytest.fixture
def action(zabbix: ZabbixStack) -> Iterator[str]:
    """Yield a registration action that the server knows: it creates the host and links the template. Gives its name."""
    (template,) = zabbix.api.template.get(filter={"host": TEMPLATE}, output=["templateid"])
    name = f"Register hosts with {METADATA}"
    created = zabbix.api.action.create(
        name=name,
        eventsource=AUTOREGISTRATION,
        filter={"evaltype": 0, "conditions": [METADATA_CONTAINS]},
        operations=[
            {"operationtype": ADD_HOST},
            {"operationtype": LINK_TEMPLATE, "optemplate": [{"templateid": template["templateid"]}]},
        ],
    )
    zabbix.create_host(f"host before {name}", [])
    zabbix.wait_for_items(f"host before {name}")
    yield name
    zabbix.api.action.delete(*created["actionids"])


def agent_file(directory: Path, *lines: str) -> Path:
    """Return an agent's configuration of these lines; `config.yaml` beside it names it and asks for registration."""
    agent = directory / "zabbix_agentd.conf"
    agent.write_text("".join(f"{line}\n" for line in lines))
    settings = {
        "agent_config": str(agent),
        "autoregistration": {"metadata": METADATA},
        "interval": "1s",
        "ports": {"listening": False},
        "services": {"report": False},
        "spool": {"path": str(directory / "spool.db")},
    }
    path = directory / "config.yaml"
    path.write_text(json.dumps(settings))
    return path


def either(values: Callable[[dict[str, Any]], bytes], checks: bytes) -> Callable[[dict[str, Any]], bytes]:
    """Return the answer of a trapper that takes values, and knows one answer to all else."""
    return lambda request: values(request) if "data" in request else checks


def test_a_new_host_makes_itself_known(zabbix: ZabbixStack, action: str, tmp_path: Path) -> None:
    """From an agent's file and the key `autoregistration`, a host that nobody has created gets its template and its values.

    ServerActive names three: the server, one that is away, and a witness, who gets every value too.
    """
    host = f"host of {action}"
    with (
        Trapper(lambda _: b"") as dead,
        Trapper(either(accept, packet(b'{"response":"success","data":[]}'))) as witness,
    ):
        servers = f"127.0.0.1:{zabbix.trapper_port},127.0.0.1:{dead.port};127.0.0.2:{dead.port},{witness.node}"
        path = agent_file(tmp_path, f"Hostname={host},another", f"ServerActive={servers}", "Timeout=2")
        with Daemon(path) as daemon:
            values = zabbix.wait_for_history(host, 3 * len(STEADY), 60)
            (found,) = zabbix.api.host.get(filter={"host": host}, selectParentTemplates=["host"], output=["host"])
            witness.wait_for(3)
            daemon.stop()
    assert [template["host"] for template in found["parentTemplates"]] == [TEMPLATE]
    sent = [value for request in witness.requests for value in request.get("data", [])]
    stamps = {(value["key"], value["clock"], value["ns"]) for value in sent}
    assert {(value.key, value.clock, value.ns) for value in values} <= stamps
    clocks = sorted({value["clock"] for value in sent})
    assert clocks == list(range(clocks[0], clocks[-1] + 1))
    assert min(value.clock for value in values) == clocks[0]  # what was sampled before the host was there came, too
    assert f"zabbix_agentd.conf: Hostname: only '{host}' is used, not 'another'" in daemon.log
    assert "does not register" not in daemon.log


def test_a_host_that_zabbix_refuses_to_know(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """A host that is there but disabled is not registered: the log says so, in the server's words."""
    name = "host that is disabled"
    zabbix.api.host.update(hostid=zabbix.create_host(name, [TEMPLATE]), status=1)
    zabbix.wait_for_items(name)
    path = agent_file(tmp_path, f"Hostname={name}", f"ServerActive=127.0.0.1:{zabbix.trapper_port}")
    done = subprocess.run([COMMAND, "run", "--once", "--config", path], check=False, capture_output=True, text=True)
    assert f"main: Zabbix does not register host {name!r}: host [{name}] not monitored" in done.stderr
    assert done.returncode == 1
