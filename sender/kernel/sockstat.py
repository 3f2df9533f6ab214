"""How many TCP sockets there are besides those that a dump lists: /proc/net/sockstat and /proc/net/protocols.

A socket that a RST has ended is in none of the kernel's tables, so no dump lists it, and yet it is there until its program
closes it. The kernel does not count such sockets. It has two totals from which what is in its tables can be taken away:

- `alloc`, the TCP sockets of the whole machine, those of other network namespaces included;
- `used`, the sockets of this namespace (since Linux 4.17), those of every protocol included.

What remains of the first is too much by other namespaces' sockets, and of the second by sockets that are not TCP's and in no
table either, such as an unconnected UDP one. Where the kernel has sockets of its own (WireGuard, VXLAN, NFS), which are in its
tables and not in `used`, the second is too small by as many: sk_alloc(), net/core/sock.c, counts those of programs alone. The
smaller one is taken. Where the second is too small, the first is no better: nothing tells a daemon without privilege that there
are no other namespaces, and with them it is too much by thousands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sender.kernel.release import release

SOCKSTAT = Path("/proc/net/sockstat")
PROTOCOLS = Path("/proc/net/protocols")

_USED = re.compile(r"^sockets: used (\d+)$", re.MULTILINE)
_TCP = re.compile(r"^TCP: .* tw (\d+) alloc (\d+)", re.MULTILINE)
_MACHINE = re.compile(r"^TCP: .* orphan (\d+) .* mem (\d+)", re.MULTILINE)
_PROTOCOL = re.compile(r"^(\S+) +\d+ +(\d+) ", re.MULTILINE)  # name, size, sockets in this namespace's tables


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketStat:
    """What the kernel says beside its dump; None where it does not.

    `time_wait` are the sockets of this namespace that count against the limit of TIME_WAIT, `of_machine` the TCP sockets in
    all namespaces, `unhashed` about those of this one in no table, `mptcp` whether there can be MPTCP sockets; `orphans` are
    sockets without a program, and `memory_pages` what TCP takes, both of the whole machine.
    """

    time_wait: int | None = None
    of_machine: int | None = None
    unhashed: int | None = None
    mptcp: bool | None = None
    orphans: int | None = None
    memory_pages: int | None = None


def read_sockstat() -> SocketStat:
    """Return what can be read; nothing of it may be taken for 0 where it is None."""
    text = _text(SOCKSTAT)
    tcp, used, machine = _TCP.search(text), _USED.search(text), _MACHINE.search(text)
    tables = {name: int(sockets) for name, sockets in _PROTOCOL.findall(_text(PROTOCOLS))}
    return SocketStat(
        time_wait=int(tcp[1]) if tcp else None,
        of_machine=int(tcp[1]) + int(tcp[2]) if tcp else None,
        unhashed=_unhashed(int(tcp[2]), int(used[1]), tables) if tcp and used and "TCP" in tables else None,
        mptcp=_can_be_mptcp(tables) if "MPTCP" in tables else None,
        orphans=int(machine[1]) if machine else None,
        memory_pages=int(machine[2]) if machine else None,
    )


def _unhashed(allocated: int, used: int, tables: dict[str, int]) -> int:
    """Return about how many TCP sockets are in no table. Read one after the other, the figures can differ by a few."""
    in_tables = tables["TCP"] + tables.get("TCPv6", 0)
    return max(0, min(allocated - in_tables, used - sum(tables.values())))


def _can_be_mptcp(tables: dict[str, int]) -> bool:
    """Return whether there can be MPTCP sockets, whose number stands in their rows since Linux 6.3, and 0 before.

    Commit c558246ee73e, "mptcp: add statistics for mptcp socket in use".
    """
    return release() < (6, 3) or any(tables.get(name, 0) for name in ("MPTCP", "MPTCPv6"))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
