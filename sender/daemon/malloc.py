"""How glibc's malloc keeps memory for this process. Knows the C library; knows nothing of what the memory is for."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h; mallopt(3)
_LARGE = 64 * 1024  # bytes: parts of a packet, and zlib's own buffers


def limit_arenas() -> None:
    """From now on, let all threads share one arena, and large buffers go back to the kernel as soon as they are free.

    By default each thread that waits while another allocates gets an arena of its own, which keeps what a backlog took:
    a reload, which starts threads while others end, made the daemon larger by 0.8 MB at a time. One is enough, as Python
    lets one thread run at a time. Where there is no glibc, this does nothing.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
