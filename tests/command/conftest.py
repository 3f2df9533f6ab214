"""What tests of the command share: a configuration of the test's own, processes that end with the test."""

from __future__ import annotations

import json
import logging
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND
from lab.some_items import LIMITS, Zabbix
from sender.delivery.delivery import Delivery
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command and gives the process, which the end of the test kills."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration for host web-01 every second, to the given ports as destinations d0, d1 and so on.

    What else listens on this machine is left out.
    """

    def config(*ports: int, **settings: Any) -> Path:
        destinations = [{"name": f"d{n}", "nodes": [f"127.0.0.1:{port}"]} for n, port in enumerate(ports)]
        path = tmp_path / "config.yaml"
        values = {"host": "web-01", "interval": 1, "destinations": destinations, "ports": {"listening": False}}
        path.write_text(json.dumps({**values, "spool": {"path": str(tmp_path / "spool.db")}, **settings}))
        return path

    return config


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the messages logged since it was called last, from INFO up."""
    caplog.set_level(logging.INFO)

    def logged() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return logged


@pytest.fixture
def zabbix() -> Zabbix:
    """One that has all items."""
    return Zabbix()


@pytest.fixture
def spool() -> Iterator[Spool]:
    """An empty spool for main."""
    spool = Spool(":memory:", ["main"], LIMITS)
    yield spool
    spool.close()


@pytest.fixture
def delivery(spool: Spool, zabbix: Zabbix) -> Delivery:
    """To main, at a moment that is later at each look at the clock: whatever waits for one is due."""
    moments = iter(range(0, 10**9, 1000))
    return Delivery("main", zabbix.send, spool, monotonic=lambda: float(next(moments)))
