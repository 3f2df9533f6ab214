"""Leaves out of a sample what has not changed, so that a host's rate of values stays small. Pure; knows no clock and no log.

A rare value is sent with the first sample, when it has changed and once an hour, each time with the sample after that, and
after a reload. So a rate has a value from the second sample on, and falls when the change is over. Where one changes that was
left out before, the value of the sample before it comes too, with its own moment: a rate that Zabbix makes of the two is that
of the interval between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.items import is_rare
from sender.model import Item

if TYPE_CHECKING:
    from collections.abc import Iterable


AGAIN_S = 3600.0


@dataclass(slots=True)
class _Last:
    """The value of the newest sample, whether the next one is sent too, whether it was sent itself, and when one was."""

    item: Item
    is_repeated: bool
    is_sent: bool
    sent_at: float


class RareValues:
    """What was sent of one host's rare values."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}
        self._resets = self._resets_done = 0  # two numbers: another thread may reset while `due` runs

    def reset(self) -> None:
        """Send every value with the next sample."""
        self._resets += 1  # what is remembered stays: a value that changes just now needs the one before

    def due(self, items: Iterable[Item], now: float) -> tuple[Item, ...]:
        """Return the items of a sample that are to be sent; one of the sample before stands directly before its own."""
        sent, seen, resets = list[Item](), dict[str, _Last](), self._resets
        is_reset, self._resets_done = resets != self._resets_done, resets
        for item in items:
            if not is_rare(item.key):
                sent.append(item)
                continue
            last = self._last.get(item.key)
            if last and last.item.host != item.host:
                last = None
            is_change = last is not None and item.value != last.item.value
            is_old = last is not None and now - last.sent_at >= AGAIN_S
            is_due = last is None or is_change or last.is_repeated or is_reset or is_old
            if is_change and last and not last.is_sent:
                sent.append(last.item)  # here: probes and held ports take a sample apart by key and by port
            if is_due:
                sent.append(item)
            seen[item.key] = _Last(
                item, last is None or is_change or is_old, is_due, now if is_due or last is None else last.sent_at
            )
        self._last = seen
        return tuple(sent)
