"""What the benchmark prints: a table for each crowd, and the figures beside the targets. Contenders in, lines out."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.contenders import Contender

HEADINGS = ("contender", "timed", "median ms", "x floor", "x ours", "peak MB", "count", "rounds")
NOTES = (
    "sample: one sample in a running process. Ours is what the daemon pays per interval, for every state together.",
    "command: a whole command with the start of its program: what an agent pays per item.",
    "zabbix_agentd -t: an agent answers this key itself, without that start (the smallest crowd shows how long it is).",
    "first line: also a whole command, until its first line of output.",
    "scrape: one HTTP request to a running exporter.",
    "Rounds are interleaved, ratios are medians of those within a round, and the slow sit out most rounds.",
)
FLOOR, OURS, COMMAND = 0, 1, 2  # rows of a table
PEERS_AT = 100_000  # the crowd for the peers' target


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """A crowd of `size` sockets, and who counted it."""

    title: str
    size: int
    rows: Sequence[Contender]


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
        for row in crowd.rows
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


def targets(crowds: Sequence[Crowd], mixed: Crowd, ported: Crowd) -> Iterator[str]:
    """Each target, and what was measured."""

    def each(figure: Callable[[Sequence[Contender]], float], over: Sequence[Crowd] = crowds) -> str:
        return ", ".join(f"{figure(crowd.rows):.2f} at {crowd.size:,}" for crowd in over)

    cost = each(lambda rows: ratio(rows[OURS], rows[FLOOR]), [*crowds, mixed])
    big = [crowd.rows for crowd in crowds if crowd.size == PEERS_AT]
    gaps = [f"{ratio(row, rows[OURS]):.2f} ({row.name})" for rows in big for row in rows[COMMAND + 1 :]]
    ends = [crowds[0], crowds[-1]][: len(crowds)]
    yield f"ours <= 1.15 x floor: {cost} (half TIME_WAIT)"
    yield f"with 50 tracked ports <= 1.3 x floor: {each(lambda rows: ratio(rows[OURS], rows[FLOOR]), [ported])}"
    yield f"the same memory with them: {each(lambda rows: rows[OURS].peak_mb, [crowds[-1], ported])}"
    yield f"every peer >= 1.5 x ours at {PEERS_AT:,}: {', '.join(gaps) or 'not measured'}"
    yield f"memory of a sampling process flat, <= 60 MB: {each(lambda rows: rows[OURS].peak_mb, ends)}"
    yield f"memory of the command flat, <= 60 MB: {each(lambda rows: rows[COMMAND].peak_mb, ends)}"
    yield f"first sample printed within 0.6 s of the command's start: {each(lambda rows: median_s(rows[COMMAND]))}"
