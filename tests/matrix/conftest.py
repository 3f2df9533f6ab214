"""Every version of Zabbix that Debian has, with each format of the template that it is for: one Zabbix for each pair.

Each is in a network namespace that has nothing but loopback, in which its tests are too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import tcp_status_sender
from lab.namespace import LOOPBACK, Namespace, entered
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.zabbix_versions import Version

TEMPLATE = "TCP states by Zabbix trapper"
RELEASES = Path(__file__).parents[2] / ".matrix"  # where `make test-matrix` makes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A version of Zabbix, where its programs are, and the format of the template that is imported."""

    version: Version
    root: Path
    format: str

    @property
    def proxy(self) -> str:
        """Where the proxy was unpacked, as the programs see it."""
        return str(RELEASES / "zabbix-proxy") if self.root == Path("/") else "/opt/zabbix-proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A running Zabbix with the template in it, and the file that was imported."""

    pair: Pair
    zabbix: ZabbixStack
    xml: str


PAIRS = (
    Pair(version=(5, 0), root=RELEASES / "bullseye", format="3.4"),
    Pair(version=(6, 0), root=Path("/"), format="3.4"),  # what `make test` runs on, with the other format
    Pair(version=(7, 0), root=RELEASES / "trixie", format="3.4"),
    Pair(version=(7, 0), root=RELEASES / "trixie", format="6.0"),
)


def label(pair: Pair) -> str:
    """Return what a pair is called in the output."""
    return f"Zabbix {pair.version[0]}.{pair.version[1]}, format {pair.format}"


def grouped(pair: Pair) -> object:
    """Return a parameter whose tests all go to one worker: the Zabbix is started once."""
    return pytest.param(pair, id=label(pair), marks=pytest.mark.xdist_group(label(pair)))


@pytest.fixture(scope="session", params=[grouped(pair) for pair in PAIRS])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """Yield a new Zabbix of that version, into which the template was imported as the installed command prints it."""
    pair: Pair = request.param
    xml = tcp_status_sender("template", "--format", pair.format).stdout
    with (
        Namespace(LOOPBACK) as network,
        entered(network.report["pid"]),
        ZabbixStack(tmp_path_factory.mktemp("zabbix"), root=pair.root) as zabbix,
    ):
        assert zabbix.version == pair.version
        zabbix.import_template(xml)
        yield Imported(pair=pair, zabbix=zabbix, xml=xml)


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
