"""The gate of the benchmark: which figures it lets pass. What it measures is measured by `make bench` alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.contenders import Contender
from bench.report import COUNTERS, FLOOR, LOOK, OURS, PEERS, YARDSTICK, Crowd, table
from bench.targets import TARGETS, Races, verdicts


def contender(name: str, seconds: float, peak_mb: float = 25) -> Contender:
    """Return one that took so long in each of three rounds."""
    return Contender(
        name, "sample", lambda: (0, 0, True), lambda: 0, seconds=[seconds] * 3, cpu_s=[seconds] * 3, peak_mb=peak_mb
    )


def crowd(size: int) -> Crowd:
    """Return a crowd in which everything is as it must be."""
    floor_s = size / 1e6
    seconds = {"floor": floor_s, "ours": floor_s * 1.05, "command": 0.2, "yardstick": 0.07, "ss": floor_s * 3}
    rows = [contender(name, each) for name, each in seconds.items()]
    parts = [contender("look", 0.0003), contender("counters", 0.0002)]
    return Crowd(title=f"{size}", size=size, rows=rows, daemon_mb=35, parts=parts)


@pytest.fixture
def races() -> Races:
    """Races in which every target is met."""
    return Races(
        crowds=[crowd(1_000), crowd(100_000)],
        mixed=crowd(20_000),
        ported=crowd(100_000),
        owned=crowd(100_000),
        scattered=crowd(100_000),
    )


def missed(races: Races) -> list[str]:
    """Return the lines of the targets that are missed."""
    found = verdicts(races)
    assert [line.startswith("MISSED ") for _, line in found] == [not is_met for is_met, _ in found]
    return [line for is_met, line in found if not is_met]


def test_what_keeps_to_the_targets_passes(races: Races) -> None:
    """Every target has a verdict with its figures, and none is missed."""
    found = verdicts(races)
    assert missed(races) == []
    assert len(found) == len(TARGETS)
    assert all(line.startswith("ok ") and "not measured" not in line for _, line in found)


@pytest.mark.parametrize(
    ("row", "seconds", "words"),
    [
        (OURS, 0.12, "10,000 sockets on, x floor <= 1.15: 1.20 at 100,000"),
        (PEERS, 0.12, "every other way to count, x ours >= 1.5: 1.14 (ss)"),
    ],
)
def test_a_slow_sample_is_missed(races: Races, row: int, seconds: float, words: str) -> None:
    """What is slower in every round misses its target, and the line says by how much and where."""
    slow = races.crowds[-1].rows[row]
    slow.seconds = slow.cpu_s = [seconds] * 3
    assert [words in line for line in missed(races)] == [True]


def test_a_slow_start_is_missed(races: Races) -> None:
    """The command's start is measured by a Python's on the same machine."""
    races.crowds[0].rows[YARDSTICK].cpu_s = [0.04] * 3
    assert ["the command, x the start of a Python" in line for line in missed(races)] == [True]


def test_a_noisy_machine_passes(races: Races) -> None:
    """Rounds that somebody else slowed down miss nothing while the best one is as it must be, nor does time spent waiting."""
    races.crowds[0].rows[OURS].seconds = [5.0] * 3
    races.crowds[-1].rows[OURS].cpu_s = [0.2, 0.105, 0.2]
    assert missed(races) == []
    races.crowds[-1].rows[FLOOR].cpu_s = [0.1, 0.15, 0.1]
    assert missed(races) == []


@pytest.mark.parametrize(
    ("part", "ms", "words"),
    [
        (LOOK, (0.6, 0.6), "a look at the listeners, ms <= 0.5: 0.60 at 1,000, 0.60 at 100,000"),
        (LOOK, (0.1, 0.4), "a look at the listeners, ms more with more sockets <= 0.1: 0.30 from 1,000 to 100,000"),
        (COUNTERS, (1.5, 1.5), "the kernel's counters, ms <= 1: 1.50 at 1,000"),
    ],
)
def test_a_slow_look_is_missed(races: Races, part: int, ms: tuple[float, float], words: str) -> None:
    """What the daemon does beside the dump is cheap, and no dearer beside more connections."""
    for crowd_of, each_ms in zip(races.crowds, ms, strict=True):
        crowd_of.parts[part].cpu_s = [each_ms / 1e3] * 3
    assert [words in line for line in missed(races)] == [True]


@pytest.mark.parametrize(
    ("small_mb", "large_mb", "words"), [(37, 37, "daemon, MB <= 36"), (33, 35, "MB more with more")]
)
def test_a_larger_daemon_is_missed(races: Races, small_mb: float, large_mb: float, words: str) -> None:
    """A daemon that is too large, or grows with the number of sockets, is told of."""
    small, large = races.crowds
    crowds = [replace(small, daemon_mb=small_mb), replace(large, daemon_mb=large_mb)]
    assert [words in line for line in missed(replace(races, crowds=crowds))] == [True]


def test_what_was_not_measured_is_said(races: Races) -> None:
    """Without a crowd of 100,000 there is nothing to compare the other ways in."""
    found = verdicts(replace(races, crowds=[crowd(1_000_000)]))
    assert [line.endswith("x ours >= 1.5: not measured") for _, line in found].count(True) == 1


def test_a_table_has_a_row_for_each() -> None:
    """The table is Markdown: headings, a ruler, and who took part."""
    lines = table(crowd(1_000)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        *("floor", "ours", "command", "yardstick", "ss"),
        *("look", "counters"),
    ]
    assert len({line.count("|") for line in lines}) == 1
