"""Counts sockets by port and state: of some ports, or of every one. Ports in, as they stand in a message; counts out.

The ports of many sockets are compared at once, as one long number: a look at each would take half as much again as the
kernel's dump.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache
from socket import htons, ntohs
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.kernel.alike import Column
    from sender.model import TcpState


_AT_ONCE = 4096  # sockets: enough that a step for each port does not matter
_FEW = 64  # bytes: it takes less time to look for each than to see which of them occur


class PortCounts:
    """The sockets on some ports, or on `every` one, by state and port; `numbers` are those ports.

    A port is a number as this machine reads its two bytes in network byte order. `numbers` grow by `add` alone.
    """

    def __init__(self, ports: Iterable[int] = (), *, every: bool = False, at_once: int = _AT_ONCE) -> None:
        self.every = every
        self._at_once = at_once
        self.numbers: set[int] = set()
        self.counts: defaultdict[int, Counter[int]] = defaultdict(Counter)  # by state
        self._by_first: defaultdict[int, set[int]] = defaultdict(set)  # second bytes, by the first
        self._first, self._second, self._states = bytearray(), bytearray(), bytearray()  # of sockets not counted yet
        for port in ports:  # not by `add`: there may be a thousand, for each sample
            self.numbers.add(htons(port))
            self._by_first[port >> 8].add(port & 255)

    def __bool__(self) -> bool:
        """Return whether sockets of any port are counted."""
        return self.every or bool(self.numbers)

    def add(self, number: int) -> None:
        """Count sockets of this port from now on."""
        if number not in self.numbers:
            self.numbers.add(number)
            port = ntohs(number)
            self._by_first[port >> 8].add(port & 255)

    def count_all(self, first: Column, second: Column, states: Column) -> None:
        """Count sockets whose ports have these first and second bytes, and which are in these states."""
        if self.every:
            for first_byte, second_byte, state in zip(first, second, states, strict=True):
                self.counts[state][htons(first_byte << 8 | second_byte)] += 1
            return
        self._first += first
        self._second += second
        self._states += states
        if len(self._states) >= self._at_once:
            self._count_collected()

    def _count_collected(self) -> None:
        first, second, states = self._first, self._second, self._states
        self._first, self._second, self._states = bytearray(), bytearray(), bytearray()
        seconds, wanted = int.from_bytes(second, "little"), self._by_first.keys()
        firsts = [each for each in wanted if each in first] if len(wanted) <= _FEW else wanted & set(first)
        is_one_state = states.count(states[:1]) == len(states)
        for state in (set(states[:1]) if is_one_state else set(states)) if firsts else ():
            is_in_state = _equal(states, state)
            for each in firsts:
                self._count_equal(each, is_in_state & _equal(first, each), seconds, size=len(states), state=state)

    def _count_equal(self, first: int, chosen: int, seconds: int, *, size: int, state: int) -> None:
        """Count the sockets that are `chosen`: a byte for each, with all bits set or none."""
        if not chosen:
            return
        counts, found = self.counts[state], (chosen & seconds).to_bytes(size, "little")
        wanted = self._by_first[first]
        for second in wanted if len(wanted) <= _FEW else wanted.intersection(found):
            # A zero is such a port's own, or of a socket that was not chosen.
            others = 0 if second else size - chosen.bit_count() // 8
            if count := found.count(second) - others:
                counts[htons(first << 8 | second)] += count

    def by_port(self) -> dict[tuple[int, TcpState], int]:
        """Return the counts by port and state. A state is its number, too, when one is looked up."""
        self._count_collected()
        found = {(ntohs(port), state): count for state, ports in self.counts.items() for port, count in ports.items()}
        return cast("dict[tuple[int, TcpState], int]", found)


def _equal(found: bytearray, value: int) -> int:
    """Return a number with a byte for each one in `found`: all bits set where it is `value`, else none."""
    return int.from_bytes(found.translate(_table(value)), "little")


@lru_cache(maxsize=256)
def _table(value: int) -> bytes:
    return bytes(value) + b"\xff" + bytes(255 - value)
