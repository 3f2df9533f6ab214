"""Text for people: moments, durations, lists that stay readable, tables. Pure; imports nothing of ours."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_NAMED = 20


def printable(text: str) -> str:
    """Return `text` as one line that no terminal takes for a command: it may quote a file's or a server's bytes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def moment(clock: float) -> str:
    """Return `clock`, s since 1970, as local time with its distance from UTC."""
    return datetime.fromtimestamp(clock).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: 95 s as 1 min 35 s, a week and three hours as 7 d 3 h."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def some_of(names: Collection[object], most: int = _NAMED) -> str:
    """Return the first names, separated by commas, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(str, islice(names, most))) + (f" and {more} more" if more > 0 else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[int] = ()) -> list[str]:
    """Return the lines of a table with `head` above `rows`; the columns in `numbers` stand to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
