"""The clock that nobody sets, for ages and gaps; times in words. Imports nothing of ours."""

from __future__ import annotations

import time
from datetime import datetime


def boottime() -> float:
    """Seconds since the machine was booted, those in which it was suspended included (CLOCK_BOOTTIME, time(7))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def moment(clock: float) -> str:
    """`clock`, s since 1970, as this host's clock on the wall shows it, with its distance from UTC."""
    return datetime.fromtimestamp(clock).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")


def duration(seconds: float) -> str:
    """In the two largest units: 95 s as 1 min 35 s, a week and three hours as 7 d 3 h."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
