"""What /proc says of TCP's counters, orphans and memory, from the kernel's own text: by name, or not at all."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sender.items import TCP_COUNTERS, TCP_EXT_COUNTERS
from sender.kernel.counters import read_counters
from sender.kernel.memory import usage
from sender.kernel.sockstat import read_sockstat
from sender.model import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SNMP = """\
Ip: Forwarding DefaultTTL InReceives
Ip: 1 64 77
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs \
RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 11 12 13 14 9999 15 16 17 18 19 9999
UdpLite: InDatagrams
UdpLite: 0
"""
NETSTAT = """\
TcpExt: SyncookiesSent SyncookiesRecv ListenOverflows ListenDrops TCPAbortOnMemory TCPAbortOnTimeout \
TCPMemoryPressures TCPMemoryPressuresChrono TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop TCPSynRetrans
TcpExt: 21 9999 22 23 24 25 26 9999 27 28 29 18446744073709551615
IpExt: InNoRoutes ListenDrops
IpExt: 0 9999
"""
TCP = {
    "ActiveOpens": 11,
    "PassiveOpens": 12,
    "AttemptFails": 13,
    "EstabResets": 14,
    "InSegs": 15,
    "OutSegs": 16,
    "RetransSegs": 17,
    "InErrs": 18,
    "OutRsts": 19,
}
TCP_EXT = {
    "SyncookiesSent": 21,
    "ListenOverflows": 22,
    "ListenDrops": 23,
    "TCPAbortOnMemory": 24,
    "TCPAbortOnTimeout": 25,
    "TCPMemoryPressures": 26,
    "TCPTimeWaitOverflow": 27,
    "TCPReqQFullDoCookies": 28,
    "TCPReqQFullDrop": 29,
    "TCPSynRetrans": 2**64 - 1,
}
SOCKSTAT = (
    "sockets: used 9\nTCP: inuse 5 orphan 3 tw 500 alloc 3500 mem 149\nUDP: inuse 0 mem 7\nFRAG: inuse 0 memory 0\n"
)
FILES = {
    "sender.kernel.counters.SNMP": SNMP,
    "sender.kernel.counters.NETSTAT": NETSTAT,
    "sender.kernel.sockstat.SOCKSTAT": SOCKSTAT,
    "sender.kernel.memory.MAX_ORPHANS": "1000\n",
    "sender.kernel.memory.TCP_MEM": "100\t200\t298\n",
}
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let the kernel say so in its files; None for one that is not there."""

    def write(**texts: str | bytes | None) -> None:
        for name, text in FILES.items():
            path = tmp_path / name
            monkeypatch.setattr(name, path)
            path.unlink(missing_ok=True)
            said = texts.get(name.rsplit(".", 1)[1], text)
            if said is not None:
                path.write_bytes(said if isinstance(said, bytes) else said.encode())

    write()
    return write


def reordered(text: str, group: str) -> str:
    """Return the file with the names of a group, and their numbers, the other way round."""
    lines = [line.split() for line in text.splitlines()]
    return "\n".join(" ".join([line[0], *line[:0:-1]] if line[0] == group else line) for line in lines)


def without(text: str, name: str) -> str:
    """Return the file of a kernel that has no such name."""
    lines = [line.split(" ") for line in text.splitlines()]
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        if name in names:
            del numbers[names.index(name)]
            names.remove(name)
            break
    return "\n".join(map(" ".join, lines))


def test_each_counter_has_its_number(told: Callable[..., None]) -> None:
    """Every counter that is reported is found by its name, up to the largest number, and no other group's is taken for it."""
    told()
    assert read_counters() == {**TCP, **TCP_EXT}
    assert list(read_counters()) == [*TCP_COUNTERS, *TCP_EXT_COUNTERS]


def test_names_in_another_order_are_the_same(told: Callable[..., None]) -> None:
    """The place of a name is the kernel's to choose."""
    told(SNMP=reordered(SNMP, "Tcp:"), NETSTAT=reordered(NETSTAT, "TcpExt:"))
    assert read_counters() == {**TCP, **TCP_EXT}


@pytest.mark.parametrize("name", [*TCP, *TCP_EXT])
def test_a_name_that_the_kernel_lacks_has_no_figure(told: Callable[..., None], name: str) -> None:
    """It is left out, never 0, and the others stay what they are."""
    told(SNMP=without(SNMP, name), NETSTAT=without(NETSTAT, name) if name in TCP_EXT else NETSTAT)
    expected = {**TCP, **TCP_EXT}
    del expected[name]
    assert read_counters() == expected


BROKEN = {
    "no file": None,
    "empty": "",
    "no such group": "Ip: Forwarding\nIp: 1\n",
    "names alone": "{group} ListenDrops ActiveOpens\n",
    "a number less": "{group} ActiveOpens ListenDrops\n{group} 1\n",
    "a number more": "{group} ActiveOpens ListenDrops\n{group} 1 2 3\n",
    "no numbers": "{group} ActiveOpens ListenDrops\n{group} one two\n",
    "a third line": "{group} ActiveOpens ListenDrops\n{group} 1 2\n{group} 1 2\n",
    "the group alone": "{group}\n{group}\n",
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_has_no_figures(told: Callable[..., None], kind: str) -> None:
    """What cannot be read is left out, never 0 in its place, and the other file's counters are there."""
    text = BROKEN[kind]
    told(SNMP=text.format(group="Tcp:") if isinstance(text, str) else text)
    assert read_counters() == TCP_EXT
    told(NETSTAT=text.format(group="TcpExt:") if isinstance(text, str) else text)
    assert read_counters() == TCP


def test_orphans_and_memory(told: Callable[..., None]) -> None:
    """Orphans are sockets, memory is pages made bytes; the third number of tcp_mem is the limit."""
    told()
    orphans, memory = usage(read_sockstat())
    assert orphans == Usage(used=3, limit=1000)
    assert memory == Usage(used=149 * PAGE, limit=298 * PAGE)
    assert orphans.pused == pytest.approx(0.3)
    assert memory.pused == 50


@pytest.mark.parametrize(
    ("page", "release", "is_known"),
    [
        (65536, "5.14.0-427.el9.ppc64le", False),
        (65536, "5.19.17", False),
        (16384, "4.18.0-553.el8.aarch64", False),
        (65536, "unheard-of", False),
        (65536, "6.0.0-1-arm64", True),
        (65536, "6.12.9", True),
        (4096, "5.14.0-427.el9.x86_64", True),
    ],
)
def test_memory_in_an_unknown_unit(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch, page: int, release: str, *, is_known: bool
) -> None:
    """A kernel before 6.0 with large pages may count in pages or in 4,096 bytes: no figure, rather than one 16 times too high."""
    told()
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": page}.__getitem__)
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release=release))
    orphans, memory = usage(read_sockstat())
    assert orphans == Usage(used=3, limit=1000)
    assert memory == (Usage(used=149 * page, limit=298 * page) if is_known else Usage())


@pytest.mark.parametrize("limits", [None, "", "many\n", b"\xff"])
def test_without_limits_there_is_no_percentage(told: Callable[..., None], limits: str | bytes | None) -> None:
    """A container has the figures, as they are the machine's, and no limits."""
    told(MAX_ORPHANS=limits, TCP_MEM=limits)
    assert usage(read_sockstat()) == (Usage(used=3), Usage(used=149 * PAGE))
    assert [each.pused for each in usage(read_sockstat())] == [None, None]


def test_a_limit_of_0_is_no_division(told: Callable[..., None]) -> None:
    """An administrator may allow no orphans at all."""
    told(MAX_ORPHANS="0\n")
    assert usage(read_sockstat())[0] == Usage(used=3, limit=0)
    assert usage(read_sockstat())[0].pused is None


@pytest.mark.parametrize(
    "text",
    [None, "", "sockets: used 9\n", "TCP: inuse 5 tw 500\n", "TCP: inuse 5 orphan x tw 1 alloc 2 mem 3\n", b"\xff\xfe"],
)
def test_without_sockstat_nothing_is_known(told: Callable[..., None], text: str | bytes | None) -> None:
    """No figure, and no percentage either: never 0."""
    told(SOCKSTAT=text)
    assert usage(read_sockstat()) == (Usage(), Usage())
