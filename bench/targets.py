"""What the benchmark must find: every target, once, and the verdict on it. Crowds in, lines and verdicts out.

Where a machine has others to serve, it is the time of its processor that counts, and of two ratios the lower one: the median
of those round by round, and that of the rounds that took least. What has really become slower has both higher.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.report import COMMAND, COUNTERS, FLOOR, LOOK, OURS, PEERS, YARDSTICK, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contenders import Contender
    from bench.report import Crowd

    Figures = Sequence[tuple[float, str]]  # each with what it is of

PEERS_AT = 100_000  # the crowd for the peers' target
SMALL = 10_000  # sockets below which the floor is too short for a ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Races:
    """All that was measured: `crowds` of ESTABLISHED alone, by size, `mixed` with TIME_WAIT, `ported` on tracked ports.

    In `owned` everything is on that the daemon reports by default, in `scattered` too, and each socket has a destination of its own.
    """

    crowds: Sequence[Crowd]
    mixed: Crowd
    ported: Crowd
    owned: Crowd
    scattered: Crowd


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A `limit` for each of some figures: the highest that it may be or, where `is_floor`, the lowest."""

    text: str
    limit: float
    figures: Callable[[Races], Figures]
    is_floor: bool = False

    def verdict(self, races: Races) -> tuple[bool, str]:
        """Return whether every figure keeps to the limit, and a line that says so."""
        figures = self.figures(races)
        is_met = all(figure >= self.limit if self.is_floor else figure <= self.limit for figure, _ in figures)
        found = ", ".join(f"{figure:.2f} {what}" for figure, what in figures) or "not measured"
        sign = ">=" if self.is_floor else "<="
        return is_met, f"{'ok' if is_met else 'MISSED':<6} {self.text} {sign} {self.limit:g}: {found}"


def least_s(row: Contender) -> float:
    """Return the least that a round took of the processor."""
    return min(cpu_s for cpu_s in row.cpu_s if cpu_s is not None)


def steady_ratio(row: Contender, other: Contender) -> float:
    """Return how many times as much of the processor as the `other` a row takes, as the module says."""
    pairs = zip(row.cpu_s, other.cpu_s, strict=True)
    return min(median(a / b for a, b in pairs if a is not None and b is not None), least_s(row) / least_s(other))


def _over_floor(crowd: Crowd) -> float:
    return steady_ratio(crowd.rows[OURS], crowd.rows[FLOOR])


def _above_floor_ms(crowd: Crowd) -> float:
    return 1e3 * (least_s(crowd.rows[OURS]) - least_s(crowd.rows[FLOOR]))


def _look_ms(crowd: Crowd) -> float:
    return 1e3 * least_s(crowd.parts[LOOK])


def _counters_ms(crowd: Crowd) -> float:
    return 1e3 * least_s(crowd.parts[COUNTERS])


def _each(figure: Callable[[Crowd], float], crowds: Sequence[Crowd]) -> Figures:
    return [(figure(crowd), f"at {crowd.size:,}") for crowd in crowds]


def _growth(figure: Callable[[Crowd], float], crowds: Sequence[Crowd]) -> Figures:
    return [(figure(crowds[-1]) - figure(crowds[0]), f"from {crowds[0].size:,} to {crowds[-1].size:,}")]


def _peers(races: Races) -> Figures:
    crowds = [crowd.rows for crowd in races.crowds if crowd.size == PEERS_AT]
    return [(ratio(row, rows[OURS]), f"({row.name})") for rows in crowds for row in rows[PEERS:]]


TARGETS = (
    Target(
        text=f"a sample from {SMALL:,} sockets on, x floor",
        limit=1.15,
        figures=lambda races: _each(_over_floor, [crowd for crowd in races.crowds if crowd.size >= SMALL]),
    ),
    Target(
        text="a sample of fewer, ms above the floor",
        limit=0.5,
        figures=lambda races: _each(_above_floor_ms, [crowd for crowd in races.crowds if crowd.size < SMALL]),
    ),
    Target(
        text="a sample with half of the sockets in TIME_WAIT, x floor",
        limit=1.2,
        figures=lambda races: _each(_over_floor, [races.mixed]),
    ),
    Target(
        text="a sample with 50 tracked ports, x floor",
        limit=1.3,
        figures=lambda races: _each(_over_floor, [races.ported]),
    ),
    Target(
        text="a sample with everything on, x floor",
        limit=1.3,
        figures=lambda races: _each(_over_floor, [races.owned]),
    ),
    Target(
        text="a sample with everything on, a destination for each socket, x floor",
        limit=1.5,
        figures=lambda races: _each(_over_floor, [races.scattered]),
    ),
    Target(
        text="memory of a sampling process, MB more with a destination for each socket",
        limit=2,
        figures=lambda races: [
            (races.scattered.rows[OURS].peak_mb - races.owned.rows[OURS].peak_mb, f"at {races.scattered.size:,}")
        ],
    ),
    Target(
        text="a look at the listeners, ms",
        limit=0.5,  # every second: the twentieth part of a percent of a core
        figures=lambda races: _each(_look_ms, races.crowds),
    ),
    Target(
        text="a look at the listeners, ms more with more sockets",
        limit=0.1,
        figures=lambda races: _growth(_look_ms, races.crowds),
    ),
    Target(
        text="the kernel's counters, ms",
        limit=1,
        figures=lambda races: _each(_counters_ms, races.crowds),
    ),
    Target(text="every other way to count, x ours", limit=1.5, is_floor=True, figures=_peers),
    Target(
        text="memory of the daemon, MB",
        limit=36,
        figures=lambda races: _each(lambda crowd: crowd.daemon_mb, [*races.crowds, races.ported, races.scattered]),
    ),
    Target(
        text="memory of the daemon, MB more with more sockets",
        limit=1,
        figures=lambda races: _growth(lambda crowd: crowd.daemon_mb, races.crowds),
    ),
    Target(
        text="memory of a sampling process, MB more with 50 tracked ports",
        limit=1,
        figures=lambda races: [
            (races.ported.rows[OURS].peak_mb - races.crowds[-1].rows[OURS].peak_mb, f"at {races.ported.size:,}")
        ],
    ),
    Target(
        text="memory of the command, MB",
        limit=35,
        figures=lambda races: _each(lambda crowd: crowd.rows[COMMAND].peak_mb, races.crowds),
    ),
    Target(
        text="the command, x the start of a Python that imports asyncio",
        limit=4,
        figures=lambda races: _each(
            lambda crowd: steady_ratio(crowd.rows[COMMAND], crowd.rows[YARDSTICK]), races.crowds[:1]
        ),
    ),
)


def verdicts(races: Races) -> list[tuple[bool, str]]:
    """Return for each target whether it is met, and a line that says so."""
    return [target.verdict(races) for target in TARGETS]
