"""A host that is created after its daemon was started: nothing of its first minute is lost, and nobody else is delayed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from lab.command import COMMAND, bare_environment
from lab.daemon import Daemon
from lab.trapper import Trapper

if TYPE_CHECKING:
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

KEY = "tcp.status[TOTAL]"


def test_the_history_begins_with_the_first_sample(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """A roll-out that starts the daemon first and provisions the host then loses nothing, and says once what is missing."""
    host = "web-before"
    token = zabbix.api.token.create(name="first minute", userid="1")["tokenids"][0]
    secret = zabbix.api.token.generate(token)[0]["token"]
    with Trapper() as witness:
        nodes = {"zabbix": f"127.0.0.1:{zabbix.trapper_port}", "witness": witness.node}
        settings = {
            "host": host,
            "interval": "1s",
            "destinations": [{"name": name, "nodes": [node]} for name, node in nodes.items()],
            "ports": {"listening": False},
            "services": {"report": False},
            "spool": {"path": str(tmp_path / "spool.db")},
        }
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps(settings))
        with Daemon(config) as daemon:
            daemon.until("stay queued for 1 h 0 min", 0, 20)
            witness.wait_for(5)  # which is not delayed
            status = subprocess.run(
                [COMMAND, "status", "--config", config], check=False, capture_output=True, text=True
            )
            provision = [COMMAND, "provision", "--url", zabbix.web_url, "--host", host]
            environment = bare_environment(ZABBIX_API_TOKEN=secret)
            subprocess.run(provision, check=True, capture_output=True, env=environment)
            first = witness.values[0]["clock"]
            zabbix.wait_until(lambda: first in clocks(zabbix, host), "the first sample is in the history", 120)
            witness.wait_for(len(witness.requests) + 2)
            daemon.stop()
        sent = sorted({value["clock"] for value in witness.values})
        zabbix.wait_until(lambda: clocks(zabbix, host) == sent, "every sample is, once and in order", 30)
    assert "Zabbix rejects all values of host 'web-before'" in status.stdout
    assert daemon.log.count("Zabbix rejects all") == 1
    assert "zabbix: Zabbix accepts all values of host 'web-before' again" in daemon.log


def clocks(zabbix: ZabbixStack, host: str) -> list[int]:
    """Return the moments of the samples that Zabbix has."""
    return [value.clock for value in zabbix.history(host) if value.key == KEY]
