"""The texts that say whose the sockets in a state are, and where requests go: sent when there is news. Pure.

The figures move with every sample, and a text for each would be many. So one is sent again when a figure in it has moved by a
tenth of the largest and by ten sockets, and once an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.items import EPHEMERAL_TOP, TOPS
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sender.model import Snapshot

_AGAIN_S = 3600.0
_NAMED = 5  # in a text
_FEW = 10  # sockets
_SHARE = 0.1
_NONE = "none"


@dataclass(frozen=True, slots=True)
class _Sent:
    text: str
    figures: Mapping[str, int]
    at: float


class TopTexts:
    """What was sent of one host's texts. `names_destinations`: say to where this host connects, which is nobody's business else."""

    def __init__(self, *, names_destinations: bool) -> None:
        self.names_destinations = names_destinations
        self._sent: dict[str, _Sent] = {}

    def reset(self) -> None:
        """Send every text with the next sample."""
        self._sent.clear()

    def due(self, snapshot: Snapshot, now: float) -> dict[str, str]:
        """Return the texts of a sample that are to be sent, by key."""
        found = {}
        for key, text, figures in self._texts(snapshot):
            last = self._sent.get(key)
            if not last or now - last.at >= _AGAIN_S or (text != last.text and _is_news(last.figures, figures)):
                self._sent[key] = _Sent(text, figures, now)
                found[key] = text
        return found

    def _texts(self, snapshot: Snapshot) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        """Yield key, text and what it is made of."""
        for state, key in TOPS.items():
            if state == TcpState.SYN_SENT:
                if self.names_destinations:
                    yield key, top(snapshot.destinations), snapshot.destinations
            elif snapshot.owners is not None:
                owners = snapshot.owners.get(state, {})
                yield key, top(owners), owners
        if snapshot.ephemeral and self.names_destinations:
            destination, used = snapshot.ephemeral.destination, snapshot.ephemeral.used
            # A client that was accepted on a port of the range, and whose listener is gone, looks like a destination of one.
            yield EPHEMERAL_TOP, destination if used >= _FEW else _NONE, {destination: used}


def top(figures: Mapping[str, int], most: int = _NAMED) -> str:
    """Return the largest figures, each behind its name: `backend.service 560, nginx.service 3`."""
    ranked = sorted(figures.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{name} {count}" for name, count in ranked[:most]]
    if rest := ranked[most:]:
        parts.append(f"{len(rest)} more {sum(count for _, count in rest)}")
    return ", ".join(parts) or _NONE


def _is_news(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    largest = max([*before.values(), *now.values()], default=0)
    moved = max((abs(now.get(name, 0) - before.get(name, 0)) for name in before.keys() | now.keys()), default=0)
    return moved >= max(_FEW, _SHARE * largest)
