"""One real Zabbix for all tests of a run, and a host of its own for each."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = "TCP states by Zabbix trapper"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --zabbix, with which the same tests run on another version."""
    parser.addoption("--zabbix", type=Path, metavar="DIR", default=Path("/"), help="a folder made by .ci/debian-root")


@pytest.fixture(scope="session")
def zabbix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a real Zabbix into which the template was imported, as the installed command prints it."""
    template = subprocess.run([COMMAND, "template"], check=True, capture_output=True, text=True).stdout
    root: Path = request.config.getoption("--zabbix").absolute()
    with ZabbixStack(tmp_path_factory.mktemp("zabbix"), root=root) as zabbix:
        zabbix.import_template(template)
        yield zabbix


@pytest.fixture
def host(zabbix: ZabbixStack, request: pytest.FixtureRequest) -> str:
    """Return a host of the test's own with the template linked, of which the server knows."""
    name = f"host of {request.node.name.replace('[', ' ').replace(']', '')}"[:120]
    zabbix.create_host(name, [TEMPLATE])
    zabbix.wait_for_items(name)
    return name
