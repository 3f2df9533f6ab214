"""The fixtures that folders of tests share; tests/conftest.py has pytest load them. Knows of no single test."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.certificates import Authority, Pair
from lab.command import COMMAND
from lab.some_items import LIMITS, Zabbix
from lab.uplinks import ISSUER, KEY, SUBJECT
from sender.delivery.delivery import Delivery
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --screenshots, which `make screenshots` uses."""
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="write the pictures of the documentation there")


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for pictures: a temporary one, unless asked for otherwise."""
    chosen: Path | None = request.config.getoption("--screenshots")
    if not chosen:
        return tmp_path_factory.mktemp("pictures")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts the command and returns the process, which the end of the test kills."""
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
    """Return a function that writes a configuration: host web-01 every second, to the given ports as d0, d1 and so on.

    What else listens on this machine is left out.
    """

    def config(*ports: int, **settings: Any) -> Path:
        destinations = [{"name": f"d{n}", "nodes": [f"127.0.0.1:{port}"]} for n, port in enumerate(ports)]
        path = tmp_path / "config.yaml"
        values = {
            "host": "web-01",
            "interval": 1,
            "destinations": destinations,
            "ports": {"listening": False},
            "services": {"report": False},
        }
        path.write_text(json.dumps({**values, "spool": {"path": str(tmp_path / "spool.db")}, **settings}))
        return path

    return config


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns the messages logged since it was called last, from INFO up."""
    caplog.set_level(logging.INFO)

    def logged() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return logged


@pytest.fixture
def dead_port() -> Iterator[int]:
    """Return a port on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def zabbix() -> Zabbix:
    """Return one that has all items."""
    return Zabbix()


@pytest.fixture
def spool() -> Iterator[Spool]:
    """Return an empty spool for main."""
    spool = Spool(":memory:", ["main"], LIMITS)
    yield spool
    spool.close()


class Hasty(Delivery):
    """A delivery that does not wait."""

    def pause(self, _: float) -> bool:
        """Go on at once."""
        return False


@pytest.fixture
def delivery(spool: Spool, zabbix: Zabbix) -> Delivery:
    """Return one to main, at a moment that is later at each look at the clock: whatever waits for one is due."""
    moments = iter(range(0, 10**9, 1000))
    return Hasty("main", zabbix.send, spool, monotonic=lambda: float(next(moments)))


@pytest.fixture
def psk_file(tmp_path: Path) -> Path:
    """Return the file with the key, as the agent has it."""
    path = tmp_path / "psk"
    path.touch(mode=0o600)
    path.write_text(KEY.hex() + "\n")
    return path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the CA that both sides trust."""
    return Authority(tmp_path_factory.mktemp("ca") / "trusted", ISSUER)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a CA that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("ca") / "stranger", "CN=Stranger")


@pytest.fixture(scope="session")
def server(authority: Authority) -> Pair:
    """Return a server's certificate as it should be."""
    return authority.issue("server", SUBJECT)


@pytest.fixture(scope="session")
def client(authority: Authority) -> Pair:
    """Return the certificate of this host as it should be."""
    return authority.issue("client", "CN=web-01")
