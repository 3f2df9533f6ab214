"""From the state that others ran before 1.0.0 to this one: a template that is linked, a spool in which samples wait. `make test-upgrade`.

The older command is built from this repository's history, with the libraries that it had.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND
from lab.relay import REFUSING, WHOLE, Relay
from lab.tokens import new_token
from lab.watched_daemon import Daemon
from lab.zabbix_stack import ZabbixStack
from sender.items import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
OLDER = "048fcd42ed0ca30282dccbfae6f2d1aa68a597d1"  # the last commit before the folders of `sender/`
HOST = "of before"
TOTAL = "tcp.status[TOTAL]"


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the older command, in an environment of its own."""
    place = tmp_path_factory.mktemp("older")
    archive = ["git", "-C", str(REPOSITORY), "archive", OLDER]
    with subprocess.Popen(archive, stdout=subprocess.PIPE) as files:
        subprocess.run(["tar", "-x", "-C", str(place)], stdin=files.stdout, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    subprocess.run([place / "venv/bin/python", "-m", "pip", "install", "-qq", str(place)], check=True)
    return place / "venv/bin/tcp-status-sender"


def printed(command: Path | str, *arguments: str) -> str:
    """Return what a command prints."""
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def zabbix(tmp_path_factory: pytest.TempPathFactory, older: Path) -> Iterator[ZabbixStack]:
    """Yield a Zabbix in which HOST has the older template."""
    with ZabbixStack(tmp_path_factory.mktemp("zabbix")) as zabbix:
        zabbix.import_template(printed(older, "template"))
        zabbix.create_host(HOST, [TEMPLATE])
        zabbix.wait_for_items(HOST)
        yield zabbix


def items(zabbix: ZabbixStack) -> dict[str, str]:
    """Return the host's items: key and id."""
    return {each["key_"]: each["itemid"] for each in zabbix.api.item.get(host=HOST, output=["key_"])}


@contextmanager
def running(command: Path | str, config: Path) -> Iterator[Daemon]:
    """Let a daemon run."""
    daemon = Daemon([command, "run", "--config", config])
    try:
        daemon.until(" started: host ")
        yield daemon
    finally:
        daemon.process.send_signal(signal.SIGTERM)
        daemon.end()


def totals(zabbix: ZabbixStack) -> Counter[int]:
    """Return the seconds for which Zabbix has a sample."""
    return Counter(value.clock for value in zabbix.history(HOST) if value.key == TOTAL)


def test_nothing_is_lost(older: Path, zabbix: ZabbixStack, tmp_path: Path) -> None:
    """Every sample of the older daemon arrives once, those that waited by the newer one; items keep their history, hosts their macros."""
    config = tmp_path / "config.yaml"
    with Relay(zabbix.trapper_port) as relay:
        settings = {
            "host": HOST,
            "interval": "1s",
            "destinations": [{"nodes": [f"127.0.0.1:{relay.port}"]}],
            "spool": {"path": str(tmp_path / "spool.db")},
        }
        config.write_text(json.dumps(settings))
        with running(older, config) as daemon:
            zabbix.wait_for_history(HOST, 30)
            relay.become(REFUSING)
            daemon.until("delivery to main fails")
            zabbix.wait_until(lambda: _queued(config) >= 300, "samples wait", 30)
        before, delivered = items(zabbix), totals(zabbix)
        (host,) = zabbix.api.host.get(filter={"host": HOST}, output=["hostid"])
        zabbix.api.usermacro.create(hostid=host["hostid"], macro="{$TCP.CLOSE_WAIT.MAX.WARN}", value="7")
        token = tmp_path / "token"
        token.write_text(new_token(zabbix, "1"))
        printed(COMMAND, "provision", "--url", zabbix.web_url, "--token-file", str(token), "--host", HOST)
        zabbix.wait_for_items(HOST)
        relay.become(WHOLE)
        with running(COMMAND, config) as daemon:
            daemon.until("queued from the previous run")
            daemon.until("Zabbix accepts all values")
            zabbix.wait_until(lambda: _queued(config) == 0, "nothing waits any more", 60)
            zabbix.wait_until(lambda: len(totals(zabbix)) - len(delivered) >= 8, "what waited is in the history", 60)
    after, stored = items(zabbix), totals(zabbix)
    assert before.items() <= after.items()
    assert {"tcp.counter[RetransSegs]", "tcp.status.top[CLOSE_WAIT]"} <= after.keys() - before.keys()
    (macro,) = zabbix.api.usermacro.get(hostids=host["hostid"], output=["macro", "value"])
    assert macro["value"] == "7"
    assert set(stored.values()) == {1}
    # From one second to the next, save for the one stop.
    assert sum(later - earlier > 1 for earlier, later in pairwise(sorted(stored))) <= 1


def _queued(config: Path) -> int:
    """Return how many values wait."""
    found = json.loads(printed(COMMAND, "status", "--config", str(config), "--json"))
    return int(found["destinations"][0]["queued"])
