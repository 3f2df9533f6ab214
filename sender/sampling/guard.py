"""Decides when what shows up on a host is worth items in Zabbix, which keeps them for a week after it is gone.

What comes and goes by the second must not become thousands of items. So a name has to be there for long enough first,
and only so many new ones are admitted per day. Pure; knows no clock, no kernel and no log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY_S = 86_400.0
FIRST_S = 600.0  # of a host's life here: services start one after the other
_GAP_S = 60.0  # a service that restarts within it goes on waiting
_MOST_WAITING = 1000  # of which it is remembered since when they wait
Name = TypeVar("Name", int, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardMemory(Generic[Name]):
    """What a guard is to remember over a restart, in s of age.

    `waiting` are names and for how long each has been there, `spent` how long ago each of the last ones was admitted,
    `begun` how long ago the first of all was looked at, `free` how many names of the first minutes may still be admitted
    without cost. None for `begun`: nothing was looked at yet.
    """

    waiting: Mapping[Name, float] = field(default_factory=dict)
    spent: Sequence[float] = ()
    begun: float | None = None
    free: int = 0


@dataclass(slots=True)
class _Waiting:
    since: float
    seen: float


class ChurnGuard(Generic[Name]):
    """Admits names, at most `per_day` new ones in any 24 hours, beyond those that are there in the first FIRST_S.

    The latter are admitted without cost, whenever they are worth it, but no more than there is room for at first. After
    `admit`, `young` are the names that are to be there for longer, `over_limit` those for which there is no room,
    `over_budget` those that wait for another day.
    """

    def __init__(self, per_day: int, memory: GuardMemory[Name], *, now: float) -> None:
        self.per_day = per_day
        self._begun = None if memory.begun is None else now - memory.begun
        self._free = memory.free
        self._waiting: dict[Name, _Waiting] = {}
        self._spent: list[float] = []
        self.recall(memory, now)
        self.young: Sequence[Name] = ()
        self.over_limit: Sequence[Name] = ()
        self.over_budget: Sequence[Name] = ()

    def recall(self, memory: GuardMemory[Name], now: float) -> None:
        """Take in what was remembered, beside what is known already."""
        for name, age in memory.waiting.items():
            self._waiting[name] = _Waiting(now - age, now)
        self._spent += [now - age for age in memory.spent]

    def memory(self, now: float) -> GuardMemory[Name]:
        """Return what to remember for the next start."""
        return GuardMemory(
            waiting={name: int(now - each.since) for name, each in self._waiting.items()},
            spent=[int(now - moment) for moment in self._spent],
            begun=None if self._begun is None else int(now - self._begun),
            free=self._free,
        )

    def admit(self, present: Mapping[Name, float], *, room: int, now: float) -> list[Name]:
        """Return which of the names that are `present` and not admitted yet are worth items now, at most `room`.

        `present` says for how many s each must be there before. Those that have been there longest come first.
        """
        if self._begun is None:
            self._begun, self._free = now, max(room, 0)
        self._meet(present, now)
        self._spent = [moment for moment in self._spent if now - moment < DAY_S]
        since = {name: self._waiting[name].since if name in self._waiting else now for name in present}
        ranked = sorted(present, key=lambda name: (since[name], name))
        ripe = [name for name in ranked if now - since[name] >= present[name]]
        within, left = ripe[: max(room, 0)], max(self.per_day - len(self._spent), 0)
        free = [name for name in within if since[name] <= self._begun + FIRST_S][: self._free]
        paid = [name for name in within if name not in free][:left]
        self._free -= len(free)
        self._spent += [now] * len(paid)
        admitted = [name for name in within if name in free or name in paid]
        for name in admitted:
            self._waiting.pop(name, None)
        self.young = [name for name in ranked if name not in ripe]
        self.over_limit = ripe[max(room, 0) :]
        self.over_budget = [name for name in within if name not in admitted]
        return admitted

    def _meet(self, present: Mapping[Name, float], now: float) -> None:
        """Note who is there. Forget who is gone, and the newest where there are too many."""
        for name in present:
            self._waiting.setdefault(name, _Waiting(now, now)).seen = now
        there = [(name, each) for name, each in self._waiting.items() if name in present or now - each.seen <= _GAP_S]
        there.sort(key=lambda item: item[1].since)
        self._waiting = dict(there[:_MOST_WAITING])
