"""The clock that nobody sets: for ages and gaps, where the wall clock may jump. Imports nothing of ours."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds since the machine was booted, those in which it was suspended included (CLOCK_BOOTTIME, time(7))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
