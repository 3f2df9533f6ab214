"""Sockets by state, and requests dropped, in the machine's other network namespaces, each in its turn, within a bounded time.

A namespace that there was no time for, or whose dump failed, has no figure in this sample. If there was no time, or too little
beside the others, it comes first in the next one. If all the time is too little for it alone, it comes last from then on, and
the others have their figures; once a day it may try again whether it has shrunk.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sender.errors import KernelError
from sender.kernel.counts import SocketCounts
from sender.kernel.exchange import HeldExchange, by_best_way
from sender.kernel.listeners import ListenerLooks
from sender.kernel.namespace_link import NamedNamespace, NamespaceLink
from sender.kernel.requests import LISTENER_WAYS, WAYS
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

BUDGET_S = 0.5  # of a sample for all of them; half of the shortest interval
_AGAIN_S = 86_400.0  # until one that was too large may have all the time again, which is a sample without the others


class NamespaceCounts(NamedTuple):
    """What is in the namespaces of each name, together.

    `states` has sockets by state, None where nobody passes namespaces on, or not all of them yet; `uncounted` are names of which not every namespace
    could be counted, and `drops` the requests that the kernel has dropped at their listeners, where it says. `too_large` are those of
    the uncounted for which the time was not enough when they had it alone, and has not been since.
    """

    states: Mapping[str, Mapping[TcpState, int]] | None
    uncounted: frozenset[str] = frozenset()
    drops: Mapping[str, int] = {}
    too_large: frozenset[str] = frozenset()


class OtherNamespaces:
    """Counts the sockets of the namespaces that `link` holds. `monotonic` is a clock that nobody sets."""

    def __init__(
        self,
        link: NamespaceLink | None = None,
        *,
        budget_s: float = BUDGET_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link or NamespaceLink()
        self._budget_s = budget_s
        self._monotonic = monotonic
        self._order: list[str] = []  # numbers, in the order of their turns
        self._too_large: dict[str, float] = {}  # the numbers of those that were, and when that was found

    @property
    def trouble(self) -> str | None:
        """Return why no namespace is counted, None while they are."""
        return self._link.trouble or (None if self._link.is_listed else "the helper has not said which there are")

    @property
    def container_names(self) -> Mapping[str, str]:
        """Return the names of the containers on the host's own network, by id."""
        return self._link.container_names

    def count(self) -> NamespaceCounts:
        """Count them. CLOSE is not among the states: listing such sockets delays connections."""
        self._link.update()
        if not (self._link.is_listed and self._link.is_whole):  # what is not there yet would be taken for gone
            return NamespaceCounts(None)
        found: dict[str, Counter[TcpState]] = {}
        drops: dict[str, list[int | None]] = {}
        lacking: set[str] = set()  # names of which not every namespace was counted: their sum would be wrong
        began, held = self._monotonic(), self._link.held
        order = [number for number in dict.fromkeys([*self._order, *held]) if number in held]
        until, too_large = began + self._budget_s, set[str]()
        self._too_large = {
            number: when for number, when in self._too_large.items() if number in held and began - when < _AGAIN_S
        }
        squeezed, untried, tried = list[str](), list[str](), list[str]()
        for number in order:
            name, left_s = held[number].name, until - self._monotonic()
            counts = _counts(held[number], left_s) if left_s > 0 else None
            if counts is not None:
                tried.append(number)
                self._too_large.pop(number, None)
                found.setdefault(name, Counter()).update(counts[0])
                drops.setdefault(name, []).append(counts[1])
                continue
            lacking.add(name)
            is_out_of_time = self._monotonic() >= until  # else it was refused
            if left_s <= 0:
                untried.append(number)
            elif number in self._too_large:
                too_large.add(name)
                tried.append(number)
            elif is_out_of_time and found:
                squeezed.append(number)
            else:
                tried.append(number)
                if is_out_of_time:
                    self._too_large[number] = began
        self._order = sorted([*squeezed, *untried, *tried], key=self._too_large.__contains__)
        states = {name: states for name, states in found.items() if name not in lacking}
        known = {name: each for name in states if (each := _total(drops[name])) is not None}
        return NamespaceCounts(states, frozenset(lacking), known, frozenset(too_large))

    def close(self) -> None:
        """Let go of every namespace."""
        self._link.close()


def _counts(namespace: NamedNamespace, within_s: float) -> tuple[dict[TcpState, int], int | None] | None:
    """Return the sockets of a namespace by state, and the requests dropped; None where the kernel gives no whole answer in time."""
    exchange = HeldExchange(namespace.sock, within_s=within_s)
    try:
        counts = by_best_way(WAYS, lambda way: exchange.dump_all(way, SocketCounts()))
        looks = by_best_way(LISTENER_WAYS, lambda way: exchange.dump_all(way, ListenerLooks()))
    except (KernelError, OSError):
        return None
    states = dict(zip(TcpState, counts.states[1:], strict=False))
    del states[TcpState.CLOSE]
    return states, _total(look.drops for look in looks.by_port.values())


def _total(figures: Iterable[int | None]) -> int | None:
    """Return the sum of figures; None where one of them is unknown."""
    known = list(figures)
    return None if None in known else sum(each for each in known if each is not None)
