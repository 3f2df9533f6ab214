"""Every version of Zabbix that Debian has, with each format of the template that it is for: one Zabbix for each pair.

Each is in a network namespace that has nothing but loopback, in which its tests are too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lab.browser import Browser
from lab.command import tcp_status_sender
from lab.frontend import Frontend, complaints
from lab.matrix import grouped
from lab.namespace import LOOPBACK, Namespace, entered
from lab.storyteller import replay
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.matrix import Pair

TEMPLATE = "TCP states by Zabbix trapper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A running Zabbix with the template in it, and the file that was imported."""

    pair: Pair
    zabbix: ZabbixStack
    source: str


@pytest.fixture(scope="session", params=grouped("3.4", "6.0", "7.0"))
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """Yield a new Zabbix of that version, into which the template was imported as the installed command prints it."""
    pair: Pair = request.param
    source = tcp_status_sender("template", "--format", pair.format).stdout
    with (
        Namespace(LOOPBACK) as network,
        entered(network.report["pid"]),
        ZabbixStack(tmp_path_factory.mktemp("zabbix"), root=pair.root) as zabbix,
    ):
        assert zabbix.version == pair.version
        zabbix.import_template(source)
        yield Imported(pair=pair, zabbix=zabbix, source=source)


@pytest.fixture(scope="session")
def zabbix(imported: Imported) -> ZabbixStack:
    """Return the running Zabbix."""
    return imported.zabbix


@pytest.fixture
def host(imported: Imported, request: pytest.FixtureRequest) -> str:
    """Return a host of the test's own with the template linked, of which the server knows."""
    name = request.function.__name__
    imported.zabbix.create_host(name, [TEMPLATE])
    imported.zabbix.wait_for_items(name)
    return str(name)


@pytest.fixture
def told(zabbix: ZabbixStack, host: str) -> dict[str, str]:
    """Return an hour in which a web server goes wrong is in the database; the last value of each key."""
    return replay(zabbix, host, int(time.time()))


@pytest.fixture
def browser(zabbix: ZabbixStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a browser in which Admin is logged in; the frontend had nothing to complain about."""
    with Browser(tmp_path_factory.mktemp("browser") / "state", zabbix.web_url) as browser:
        Frontend(browser).log_in("Admin", "zabbix")
        yield browser
    assert complaints(zabbix) == []
