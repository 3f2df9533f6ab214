"""Says what a destination rejects: the verdict on whole samples, and the prober that finds out which keys.

Zabbix says how many values it rejected, never which or why. So one sample is sent part by part, each value still once.
Knows no log, no clock and no retry policy: the caller, who iterates over `probe`, decides about pauses and when to stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING

from sender.items import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sender.model import Item, Outcome


class Verdict(Enum):
    """What a destination thinks of a host, by the values of whole samples of it that it was sent last."""

    UNKNOWN = "no answer yet"
    ALL = "all values rejected: it does not know the host, or does not take values of it"
    SOME = "some values rejected"
    NONE = "no value rejected"


def verdict(outcome: Outcome) -> Verdict:
    """Return the verdict that `outcome` of whole samples means. Values of a port alone say nothing about the host."""
    if not outcome.rejected:
        return Verdict.NONE
    return Verdict.SOME if outcome.accepted else Verdict.ALL


@dataclass(frozen=True, slots=True)
class Part:
    """One key of the host as a whole, or all keys of one port, with the number of its values that were rejected."""

    items: Sequence[Item]
    rejected: int

    @property
    def port(self) -> str:
        """Return the port whose values these are, such as "443" or "remote 5432"; "" for a key of the host."""
        return self.items[0].port

    @property
    def lacks_items(self) -> bool:
        """Return whether every value of a port was rejected: its items are not there, or not there yet."""
        return bool(self.port) and self.rejected == len(self.items)

    def __str__(self) -> str:
        """Return what was rejected: the key, or how much of the port."""
        if not self.port:
            return self.items[0].key
        if self.lacks_items:
            return f"all of {named([self.port])}"
        return f"{self.rejected} of {len(self.items)} values of {named([self.port])}"


def parts(sample: Iterable[Item]) -> list[list[Item]]:
    """Return the items of one sample in parts that are sent apart: each key of the host, and each port."""
    return [list(part) for _, part in groupby(sample, key=lambda item: item.port or item.key)]


def probe(parts: Iterable[Sequence[Item]], send: Callable[[Sequence[Item]], Outcome]) -> Iterator[Part]:
    """Send each part in a request of its own and yield what became of it. What `send` raises ends it."""
    for part in parts:
        yield Part(part, send(part).rejected)
