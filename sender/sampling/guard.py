"""Decides when what shows up on a host is worth items in Zabbix, which keeps them for a week after it is gone.

What comes and goes by the second must not become thousands of items. So a name has to be there for long enough first,
and only so many new ones are admitted per day. Pure; knows no clock, no kernel and no log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY_S = 86_400.0
_GAP_S = 60.0  # a service that restarts within it goes on waiting
_MOST_WAITING = 1000  # of which it is remembered since when they wait
Name = TypeVar("Name", int, str)


@dataclass(slots=True)
class _Waiting:
    since: float
    seen: float


class ChurnGuard(Generic[Name]):
    """Admits names, at most `per_day` new ones in any 24 hours; the first call is free, where nothing is remembered.

    `waiting` are names and for how many s each has been there, `spent` how many s ago each of the last ones was admitted:
    what `ages` returned before the last start, at `now`. After `admit`, `young` are those that are to be there for longer,
    `over_limit` those for which there is no room, `over_budget` those that wait for another day.
    """

    def __init__(
        self,
        per_day: int,
        *,
        waiting: Mapping[Name, float] | None = None,
        spent: Sequence[float] = (),
        is_first: bool = True,
        now: float = 0.0,
    ) -> None:
        self.per_day = per_day
        self._is_first = is_first
        self._waiting: dict[Name, _Waiting] = {}
        for name, age in (waiting or {}).items():
            self._waiting[name] = _Waiting(now - age, now)
        self._spent = [now - age for age in spent]
        self.young: Sequence[Name] = ()
        self.over_limit: Sequence[Name] = ()
        self.over_budget: Sequence[Name] = ()

    def admit(self, present: Mapping[Name, float], *, room: int, now: float) -> list[Name]:
        """Return which of the names that are `present` and not admitted yet are worth items now, at most `room`.

        `present` says for how many s each must be there before. Those that have been there longest come first.
        """
        self._meet(present, now)
        self._spent = [moment for moment in self._spent if now - moment < DAY_S]
        ranked = sorted(present, key=lambda name: (self._since(name, now), name))
        ripe = [name for name in ranked if now - self._since(name, now) >= present[name]]
        within, free = ripe[: max(room, 0)], len(ripe) if self._is_first else max(self.per_day - len(self._spent), 0)
        admitted = within[:free]
        if not self._is_first:
            self._spent += [now] * len(admitted)
        self._is_first = False
        for name in admitted:
            self._waiting.pop(name, None)
        self.young = [name for name in ranked if name not in ripe]
        self.over_limit, self.over_budget = ripe[max(room, 0) :], within[free:]
        return admitted

    def ages(self, now: float) -> tuple[dict[Name, int], list[int]]:
        """Return `waiting` and `spent` for the next start."""
        return {name: int(now - each.since) for name, each in self._waiting.items()}, [
            int(now - moment) for moment in self._spent
        ]

    def _since(self, name: Name, now: float) -> float:
        return self._waiting[name].since if name in self._waiting else now

    def _meet(self, present: Mapping[Name, float], now: float) -> None:
        """Note who is there. Forget who is gone, and the newest where there are too many."""
        for name in present:
            self._waiting.setdefault(name, _Waiting(now, now)).seen = now
        there = [(name, each) for name, each in self._waiting.items() if name in present or now - each.seen <= _GAP_S]
        there.sort(key=lambda item: item[1].since)
        self._waiting = dict(there[:_MOST_WAITING])
