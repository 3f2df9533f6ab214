"""What /proc says of sockets that no dump lists, from the kernel's own text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sender.kernel.sockstat import SocketStat, read_sockstat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Told = Callable[..., SocketStat]

HEAD = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n"
TABLES = {"MPTCPv6": 1, "UDPv6": 4, "TCPv6": 20, "UNIX": 300, "MPTCP": 2, "UDP": 5, "TCP": 30, "NETLINK": 8}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Told:
    """Return what is read where the kernel says so."""

    def read(*, used: int = 370, alloc: int = 50, tables: dict[str, int] | None = None) -> SocketStat:
        sockstat, protocols = tmp_path / "sockstat", tmp_path / "protocols"
        for name, path in (("SOCKSTAT", sockstat), ("PROTOCOLS", protocols)):
            monkeypatch.setattr(f"sender.kernel.sockstat.{name}", path)
        sockstat.write_text(
            f"sockets: used {used}\nTCP: inuse 30 orphan 3 tw 17 alloc {alloc} mem 9\nUDP: inuse 5 mem 3\n"
        )
        lines = (
            f"{name:<9} 2304 {count:>6}      -1   NI       0   yes  kernel      y  n\n"
            for name, count in (TABLES if tables is None else tables).items()
        )
        protocols.write_text(HEAD + "".join(lines))
        return read_sockstat()

    return read


def test_sockets_in_no_table(told: Told) -> None:
    """Where there is one network namespace, it is what is allocated and stands in no table."""
    assert told(used=370, alloc=50).unhashed == 0
    assert told(used=370 + 150, alloc=50 + 150).unhashed == 150


def test_other_namespaces_are_not_taken_for_it(told: Told) -> None:
    """Containers' sockets are in `alloc`, and not in this namespace's `used`."""
    assert told(used=370, alloc=50 + 4000).unhashed == 0
    assert told(used=370 + 150, alloc=50 + 150 + 4000).unhashed == 150


def test_other_protocols_are_not_taken_for_it(told: Told) -> None:
    """An unconnected UDP socket is in `used`, and not in `alloc`."""
    assert told(used=370 + 60, alloc=50).unhashed == 0


def test_figures_of_two_moments_are_never_less_than_none(told: Told) -> None:
    """The kernel is read twice, and a socket may have come in between."""
    assert told(used=369, alloc=48).unhashed == 0


def test_the_other_figures(told: Told) -> None:
    """Time-wait sockets are this namespace's, and `of_machine` has those and all that are allocated."""
    found = told(alloc=50)
    assert (found.time_wait, found.of_machine, found.mptcp) == (17, 67, True)


@pytest.mark.parametrize(
    ("release", "rows", "can_be"),
    [
        ("6.3.0-1-amd64", {"MPTCPv6": 0, "MPTCP": 0}, False),
        ("6.18.44", {"MPTCPv6": 0, "MPTCP": 1}, True),
        ("6.18.44", {"MPTCPv6": 1, "MPTCP": 0}, True),
        ("6.2.16", {"MPTCPv6": 0, "MPTCP": 0}, True),
        ("5.14.0-427.el9.x86_64", {"MPTCP": 0}, True),
        ("unheard-of", {"MPTCP": 0}, True),
        ("5.14.0-427.el9.x86_64", {}, None),
    ],
)
def test_mptcp_before_its_sockets_are_told(
    told: Told, monkeypatch: pytest.MonkeyPatch, release: str, rows: dict[str, int], *, can_be: bool | None
) -> None:
    """A kernel before 6.3 says 0 whatever there is, so the 0 of such a one is no 0, and it must be asked."""
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release=release))
    assert told(tables={"TCP": 5, **rows}).mptcp is can_be


def test_a_kernel_without_ipv6_or_mptcp(told: Told) -> None:
    """What has no line is not there: IPv6 is nothing to be added, MPTCP nothing to be told."""
    found = told(used=10, alloc=9, tables={"TCP": 5})
    assert (found.unhashed, found.mptcp) == (4, None)


@pytest.mark.parametrize("text", ["", "sockets: used 7\n", "TCP: inuse 5\n", "\0\n"])
def test_what_is_not_told_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """A file that is missing, empty or another kernel's yields nothing, and never 0."""
    path = tmp_path / "file"
    path.write_text(text)
    monkeypatch.setattr("sender.kernel.sockstat.SOCKSTAT", path)
    monkeypatch.setattr("sender.kernel.sockstat.PROTOCOLS", tmp_path / "none")
    assert read_sockstat() == SocketStat()
