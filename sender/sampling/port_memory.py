"""What is remembered of ports over a restart, and as text, which the spool keeps. Read with distrust. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sender.items import local_port
from sender.sampling.guard import FIRST_S, GuardMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_S = 2**31  # an age that a file may give


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMemory:
    """The ports that were `named`, and how many s ago each was last listened on; and what the `guard` of new ones remembers."""

    named: Mapping[int, float] = field(default_factory=dict)
    guard: GuardMemory[int] = field(default_factory=GuardMemory)

    @property
    def is_first(self) -> bool:
        """Return whether nothing is remembered of an earlier daemon."""
        return self.guard.begun is None

    @classmethod
    def lost(cls, known: Iterable[int] = ()) -> PortMemory:
        """Return what is to be assumed where nobody can tell: these ports are known, and nothing more is free."""
        return cls(named=dict.fromkeys(known, 0.0), guard=GuardMemory(begun=FIRST_S + 1))

    @classmethod
    def parse(cls, text: str, known: Iterable[int] = ()) -> PortMemory:
        """Return what `text` says, as `str` has written it; where it says nothing, the ports that are `known` are named."""
        try:
            found = json.loads(text)
            guard = GuardMemory(
                waiting=_ages(found["waiting"]),
                spent=[float(age) for age in found["spent"] if _is_age(age)],
                begun=float(found["begun"]) if _is_age(found["begun"]) else FIRST_S + 1,
                free=found["free"] if _is_age(found["free"]) else 0,
            )
            return cls(named=_ages(found["named"]), guard=guard)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls(named=dict.fromkeys(known, 0.0))

    def __str__(self) -> str:
        guard = self.guard
        found = {
            "named": self.named,
            "waiting": guard.waiting,
            "spent": list(guard.spent),
            "begun": guard.begun,
            "free": guard.free,
        }
        return json.dumps(found, separators=(",", ":"))


def _ages(found: Mapping[str, object]) -> dict[int, float]:
    ages = ((local_port(port), age) for port, age in found.items())
    return {port: float(age) for port, age in ages if port is not None and _is_age(age)}  # type: ignore[arg-type]


def _is_age(age: object) -> bool:
    return type(age) is int and 0 <= age < _LONGEST_S
