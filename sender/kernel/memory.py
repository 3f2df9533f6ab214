"""What TCP takes of the whole machine, and the kernel's limits for that: orphaned sockets and memory.

The limits are files of the first network namespace alone: in a container there are none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sender.model import Usage

if TYPE_CHECKING:
    from sender.kernel.sockstat import SocketStat

MAX_ORPHANS = Path("/proc/sys/net/ipv4/tcp_max_orphans")
TCP_MEM = Path("/proc/sys/net/ipv4/tcp_mem")  # three numbers of pages; above the third the kernel refuses


def usage(stat: SocketStat) -> tuple[Usage, Usage]:
    """Return orphaned sockets, and memory in bytes."""
    if stat.orphans is None or stat.memory_pages is None:
        return Usage(), Usage()
    page, limit = os.sysconf("SC_PAGE_SIZE"), _last_number(TCP_MEM)
    memory = Usage(used=stat.memory_pages * page, limit=None if limit is None else limit * page)
    return Usage(used=stat.orphans, limit=_last_number(MAX_ORPHANS)), memory


def _last_number(path: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int(path.read_text().split()[-1])
    return None
