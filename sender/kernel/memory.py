"""What TCP takes of the whole machine, and the kernel's limits for that: orphaned sockets and memory.

The limits are files of the first network namespace alone: in a container there are none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sender.kernel.release import release
from sender.model import Usage

if TYPE_CHECKING:
    from sender.kernel.sockstat import SocketStat

MAX_ORPHANS = Path("/proc/sys/net/ipv4/tcp_max_orphans")
TCP_MEM = Path("/proc/sys/net/ipv4/tcp_mem")  # three numbers of pages; above the third the kernel refuses
_QUANTUM = 4096  # bytes


def usage(stat: SocketStat) -> tuple[Usage, Usage]:
    """Return orphaned sockets, and memory in bytes."""
    if stat.orphans is None or stat.memory_pages is None:
        return Usage(), Usage()
    return Usage(used=stat.orphans, limit=_last_number(MAX_ORPHANS)), _memory(stat.memory_pages)


def _memory(pages: int) -> Usage:
    """Return what so many pages are in bytes; nothing where they may be no pages.

    Linux 4.12 to 5.19 counted in SK_MEM_QUANTUM of 4,096 bytes, whatever a page has (commit bd68a2a854ad, reverted in 6.0 by
    e70f3c701276), while tcp_mem is in pages. Distributions may have taken either into an older kernel.
    """
    page, limit = os.sysconf("SC_PAGE_SIZE"), _last_number(TCP_MEM)
    if page > _QUANTUM and release() < (6, 0):
        return Usage()
    return Usage(used=pages * page, limit=None if limit is None else limit * page)


def _last_number(path: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int(path.read_text().split()[-1])
    return None
