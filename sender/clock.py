"""The clock that nobody sets, for ages and gaps. Imports nothing of ours."""

from __future__ import annotations

import time


def boottime() -> float:
    """Return seconds since the machine was booted, those in which it was suspended included (CLOCK_BOOTTIME, time(7))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
