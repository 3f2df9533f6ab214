"""What the benchmark prints of each crowd: a table. Contenders in, lines out; the targets are in targets.py."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contenders import Contender

HEADINGS = ("contender", "timed", "median ms", "x floor", "x ours", "peak MB", "count", "rounds")
NOTES = (
    "sample: one sample in a running process. Ours is what the daemon pays per interval, for every state together.",
    "command: a whole command with the start of its program: what an agent pays per item.",
    "zabbix_agentd -t: an agent answers this key itself, without that start (the smallest crowd shows how long it is).",
    "first line: also a whole command, until its first line of output.",
    "all of it: with owners, ports that are listened on, ephemeral ports and counters, as the daemon samples by default.",
    "look: the listening sockets alone, once a second between two samples. read: the kernel's counters, with each sample.",
    "dump: another network namespace, which is empty, with each sample where namespaces are reported.",
    "scrape: one HTTP request to a running exporter.",
    "Python: import asyncio: how long a Python takes to start on this machine, whatever it then does.",
    "Rounds are interleaved, ratios are medians of those within a round, and the slow sit out most rounds.",
)
FLOOR, OURS, COMMAND, YARDSTICK, PEERS = range(5)  # rows of a table, the last one and those after it
LOOK, COUNTERS = range(2)  # its parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """A crowd of `size` sockets, who counted it, and the memory of a daemon that lived with it.

    `parts` are what our daemon does beside the count: a look at the listeners, the counters, another network namespace.
    """

    title: str
    size: int
    rows: Sequence[Contender]
    daemon_mb: float
    parts: Sequence[Contender] = ()


def median_s(row: Contender) -> float:
    """Over the rounds in which it took part."""
    return median(second for second in row.seconds if second is not None)


def ratio(row: Contender, other: Contender) -> float:
    """Median of the ratios round by round."""
    return median(a / b for a, b in zip(row.seconds, other.seconds, strict=True) if a is not None and b is not None)


def table(crowd: Crowd) -> str:
    """Draw the crowd's table, which is Markdown too."""
    cells = [
        (
            row.name,
            row.timed,
            f"{median_s(row) * 1e3:,.1f}",
            f"{ratio(row, crowd.rows[FLOOR]):,.2f}",
            f"{ratio(row, crowd.rows[OURS]):,.2f}",
            f"{row.peak_mb:,.1f}",
            "ok" if row.right else "WRONG",
            str(sum(second is not None for second in row.seconds)),
        )
        for row in (*crowd.rows, *crowd.parts)
    ]
    return draw(HEADINGS, cells, words=2)


def draw(headings: Sequence[str], cells: Sequence[Sequence[str]], *, words: int) -> str:
    """Draw a table, which is Markdown too; its first columns, `words` many, hold words and the others numbers."""
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    ruler = ["-" * (width - 1) + "-:"[place >= words] for place, width in enumerate(widths)]

    def line(texts: Sequence[str]) -> str:
        columns = enumerate(zip(texts, widths, strict=True))
        return " | ".join(
            text.rjust(width) if place >= words else text.ljust(width) for place, (text, width) in columns
        )

    return "\n".join(f"| {line(texts)} |" for texts in (headings, ruler, *cells))
