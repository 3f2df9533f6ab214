"""Zabbix as its admin sees it: the real frontend in a real browser. Needs root and Debian's packages.

Everything here happens in a network namespace that has nothing but loopback: what the browser may want from elsewhere, it
cannot even ask for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sender import __version__
from sender.config import Destination
from sender.model import Item
from sender.uplink import Uplink
from support.browser import Browser
from support.command import COMMAND, tcp_status_sender
from support.frontend import Frontend
from support.namespace import Namespace, entered
from support.trapper import Trapper, counts
from support.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = "TCP states by Zabbix trapper"
GROUP = "Linux servers"
STAGE = ("sh", "-ec", """ip link set lo up; echo "{\\"pid\\": $$}"; exec cat""")
EVERY_STATE = (sys.executable, str(Path(__file__).parents[1] / "support" / "every_state.py"))


@pytest.fixture(scope="module")
def zabbix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """A Zabbix as it is when new, in a network of its own, in which this thread stays as long."""
    with (
        Namespace(STAGE) as stage,
        entered(stage.report["pid"]),
        ZabbixStack(tmp_path_factory.mktemp("zabbix")) as zabbix,
    ):
        yield zabbix


@pytest.fixture(scope="module")
def frontend(zabbix: ZabbixStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    """Its frontend in a browser, Admin logged in, and the template imported from the file that the command prints."""
    file = tmp_path_factory.mktemp("template") / "tcp_states_template.xml"
    file.write_text(tcp_status_sender("template").stdout)
    with Browser(tmp_path_factory.mktemp("browser") / "state", zabbix.web_url) as browser:
        frontend = Frontend(browser)
        frontend.log_in("Admin", "zabbix")
        assert frontend.import_template(file) == "Imported successfully"
        yield frontend


def uplink(zabbix: ZabbixStack) -> Uplink:
    """A way into the server."""
    return Uplink(Destination.model_validate({"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}))


def passing_on(zabbix: ZabbixStack) -> Trapper:
    """A trapper that hands every value on to the server, and the server's answer back."""

    def answer(request: dict[str, Any]) -> bytes:
        outcome = uplink(zabbix).send([Item(**value) for value in request["data"]])
        return counts(outcome.accepted, outcome.rejected)

    return Trapper(answer)


def test_latest_data_shows_what_the_kernel_counts(zabbix: ZabbixStack, frontend: Frontend, tmp_path: Path) -> None:
    """A host made in the web interface, one sample of the command: its Latest data are what its kernel has, by state."""
    assert frontend.create_host("app-01", TEMPLATE, GROUP) == "Host added"
    zabbix.wait_for_items("app-01")
    with Namespace(EVERY_STATE) as host:
        host.run("ip", "link", "set", "lo", "up")
        with host.call(lambda: passing_on(zabbix)) as trapper:  # it listens there, and sends from here
            config = tmp_path / "config.yaml"
            config.write_text(json.dumps({"host": "app-01", "destinations": [{"nodes": [trapper.node]}]}))
            done = subprocess.run(
                host.inside(COMMAND, "run", "--once", "--config", str(config)),
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
            )
        states = host.report["states"]
    assert done.returncode == 0, done.stderr
    states["LISTEN"] += 1  # the trapper
    shown = frontend.latest_data("app-01", expect="TCP: TIME_WAIT")
    assert {state: shown[f"TCP: {state}"] for state in states} == {state: str(count) for state, count in states.items()}
    assert shown["TCP: Total"] == str(sum(states.values()))
    assert shown["TCP sender: Version"] == __version__
