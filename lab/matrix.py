"""Every Zabbix that Debian has, with each format of the template that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.zabbix_versions import Version

RELEASES = Path(__file__).parents[1] / ".matrix"  # where `make test-matrix` makes them


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


PAIRS = (
    Pair(version=(5, 0), root=RELEASES / "bullseye", format="3.4"),
    Pair(version=(6, 0), root=Path("/"), format="3.4"),  # what `make test` runs on, with the other format
    Pair(version=(7, 0), root=RELEASES / "trixie", format="3.4"),
    Pair(version=(7, 0), root=RELEASES / "trixie", format="6.0"),
    Pair(version=(7, 0), root=RELEASES / "trixie", format="7.0"),
    Pair(
        version=(7, 0), root=RELEASES / "zabbix" / "forky", format="7.0"
    ),  # of the testing release: a later point release
)


def label(pair: Pair) -> str:
    """Return what a pair is called in the output."""
    return f"Zabbix {pair.version[0]}.{pair.version[1]} of {pair.root.name or 'here'}, format {pair.format}"


def grouped(*formats: str) -> list[object]:
    """Return a parameter for each pair with one of these formats, all of whose tests go to one worker: its Zabbix is started once."""
    return [
        pytest.param(pair, id=label(pair), marks=pytest.mark.xdist_group(label(pair)))
        for pair in PAIRS
        if pair.format in formats
    ]
