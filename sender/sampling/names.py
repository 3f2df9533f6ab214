"""Tracks which names of one kind, ports, units or namespaces, are reported. Pure: knows no kernel, clock or log.

A name is reported when the guard admits it. One that is not there any more stays for KEEP_S, and then until no socket is left of
it, so that its items in Zabbix end with what is true, which is zeros; a service that is restarted keeps its items.

Where there are too many, those that were found first are reported. One that is not there for longer than a restart takes
leaves its room to another until it is back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from sender.sampling.guard import ChurnGuard, Name
from sender.sampling.memory import NameMemory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

KEEP_S = 86_400.0
_RESTART_S = 60.0
_NOTE_S = 60.0  # between two notes of the same names: what a kill may cost one that waits
_FEW = 50  # names that wait


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut(Generic[Name]):
    """Names that are there and not reported: for which there is no room, no more budget today, or that are too new."""

    over_limit: Sequence[Name] = ()
    over_budget: Sequence[Name] = ()
    young: Sequence[Name] = ()


class NameTracker(Generic[Name]):
    """The names that were reported, by a clock in s that nobody sets; `memory` is of its moment `now`.

    `memory` is what to remember for the next start: another when a name is reported first, with each sample while few wait, and
    every minute. `left_out` is as of the last `find`.
    """

    def __init__(self, per_day: int, memory: NameMemory[Name], *, now: float) -> None:
        # When each was last there, in the order in which they were found.
        self._named: dict[Name, float] = {name: now - age for name, age in memory.named.items()}
        self._guard: ChurnGuard[Name] = ChurnGuard(per_day, memory.guard, now=now)
        self.memory: NameMemory[Name] = memory
        self.left_out: LeftOut[Name] = LeftOut()
        self._noted: set[Name] = set()
        self._note_at = 0.0

    def set_budget(self, per_day: int) -> None:
        """Admit so many new names in any 24 hours from now on."""
        self._guard.per_day = per_day

    def recall(self, memory: NameMemory[Name], now: float) -> None:
        """Take in what could not be read at the start."""
        found = {name: now - age for name, age in memory.named.items()}
        self._named = {**found, **self._named}
        self._guard.recall(memory.guard, now)

    def known(self, excluded: AbstractSet[Name]) -> list[Name]:
        """Return the names that were reported and are not `excluded`."""
        return sorted(self._named.keys() - excluded)

    def find(
        self,
        present: Mapping[Name, float],
        *,
        used: AbstractSet[Name],
        excluded: AbstractSet[Name],
        limit: int,
        now: float,
    ) -> list[Name]:
        """Return what is reported now, at most `limit`: those found first; of names that are gone, those gone longest give way.

        `present` says for how many s each name that is there must be there before it is reported; `used` have sockets.
        """
        named = {name: now if name in present else when for name, when in self._named.items()}
        named = {name: when for name, when in named.items() if now - when <= KEEP_S or name in used}
        gone_s = {name: max(0.0, now - when - _RESTART_S) for name, when in named.items() if name not in excluded}
        ranked = sorted(gone_s, key=gone_s.__getitem__)  # which keeps the order of those that are there
        room = limit - sum(not gone_s[name] for name in ranked[:limit])
        new = {name: needed_s for name, needed_s in present.items() if name not in named}
        admitted = self._guard.admit(new, room=room, now=now)
        kept = limit - len(admitted)
        self._named = {**named, **dict.fromkeys(admitted, now)}
        self.left_out = LeftOut(
            over_limit=tuple(sorted(present.keys() & set(ranked[kept:]) | set(self._guard.over_limit))),
            over_budget=tuple(sorted(self._guard.over_budget)),
            young=tuple(sorted(self._guard.young)),
        )
        self._remember(now)
        return ranked[:kept] + admitted

    def _remember(self, now: float) -> None:
        """Make the memory anew: at once while few wait, as each sample is worth its time to them."""
        guard, is_new = self._guard.memory(now), self._named.keys() != self._noted
        if not is_new and not 0 < len(guard.waiting) <= _FEW and now < self._note_at + _NOTE_S:
            return
        self._noted, self._note_at = set(self._named), now
        named = {name: int(now - when) for name, when in self._named.items()}
        self.memory = NameMemory(named=named, guard=guard)
