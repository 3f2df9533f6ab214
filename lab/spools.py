"""Spools at a moment of the test's own, and samples that are told apart by their clocks: NOW and a number."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING

from sender.model import Chunk, Item, Outcome
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = 1_795_400_000
WEEK = Limits(max_age_s=7 * 86400, max_bytes=2**28)


def opened(path: Path | str, *names: str, limits: Limits = WEEK, elapsed: Callable[[], float] = lambda: 0.0) -> Spool:
    """Return a spool for these destinations, or for main, at a moment shortly after NOW, from which on time elapses."""
    return Spool(str(path), names or ["main"], limits, now=lambda: NOW + 1000 + elapsed(), elapsed=elapsed)


def sample(number: int, *, host: str = "web-01", values: int = 2, value: str = "1") -> tuple[Item, ...]:
    """Return a sample whose clock is NOW and its number."""
    return tuple(
        Item(host=host, key=f"key[{n}]", value=value, clock=NOW + number, ns=number + 1) for n in range(values)
    )


def numbers(chunk: Chunk | None) -> list[int]:
    """Return the numbers of the samples in a chunk, one per value."""
    return [item.clock - NOW for item in chunk.items] if chunk else []


def settle(spool: Spool, name: str, outcome: Outcome | None = None, error: str = "") -> Chunk:
    """Read the whole backlog as one chunk, settle it (accepted, unless told otherwise), and return it."""
    chunk = spool.read(name, max_values=10**9)
    assert chunk is not None
    spool.settle(name, chunk, outcome or Outcome(accepted=len(chunk.items)), error)
    return chunk


def value(number: int) -> str:
    """Return the same for the same number, of a length that compression does not change much."""
    return "".join(random.Random(number).choices(string.ascii_letters, k=150))  # noqa: S311  no secret


def append(spool: Spool, *numbers: int) -> None:
    """Append a sample of two long values for each number."""
    for number in numbers:
        spool.append(
            [
                Item(host="web-01", key=f"key[{n}]", value=value(2 * number + n), clock=NOW + number, ns=1)
                for n in range(2)
            ]
        )


def drain(spool: Spool, name: str = "main") -> list[int]:
    """Settle all samples of two values in the backlog, chunk by chunk, and return their numbers in order."""
    found = []
    while chunk := spool.read(name, max_values=100):
        found += [item.clock - NOW for item in chunk.items[::2]]
        spool.settle(name, chunk, Outcome(accepted=len(chunk.items)))
    return found
