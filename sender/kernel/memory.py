"""What TCP takes of the whole machine, and the kernel's limits for that: orphaned sockets and memory.

The limits are files of the first network namespace alone: in a container there are none.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from sender.kernel.sockstat import SOCKSTAT
from sender.model import Usage

MAX_ORPHANS = Path("/proc/sys/net/ipv4/tcp_max_orphans")
TCP_MEM = Path("/proc/sys/net/ipv4/tcp_mem")  # three numbers of pages; above the third the kernel refuses

_USED = re.compile(r"^TCP: .* orphan (\d+) .* mem (\d+)", re.MULTILINE)


def read_usage() -> tuple[Usage, Usage]:
    """Return orphaned sockets, and memory in bytes."""
    with suppress(OSError, ValueError):
        if found := _USED.search(SOCKSTAT.read_text()):
            page, limit = os.sysconf("SC_PAGE_SIZE"), _last_number(TCP_MEM)
            memory = Usage(used=int(found[2]) * page, limit=None if limit is None else limit * page)
            return Usage(used=int(found[1]), limit=_last_number(MAX_ORPHANS)), memory
    return Usage(), Usage()


def _last_number(path: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int(path.read_text().split()[-1])
    return None
