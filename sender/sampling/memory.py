"""What is remembered of ports and units over a restart, and as text, which the spool keeps. Read with distrust. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from sender.items import local_port, unit_of
from sender.sampling.guard import FIRST_S, GuardMemory, Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LONGEST_S = 2**31  # an age that a file may give


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMemory(Generic[Name]):
    """The names that were reported, and how many s ago each was last there; and what the `guard` of new ones remembers."""

    named: Mapping[Name, float] = field(default_factory=dict)
    guard: GuardMemory[Name] = field(default_factory=GuardMemory)

    @property
    def is_first(self) -> bool:
        """Return whether nothing is remembered of an earlier daemon."""
        return self.guard.begun is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of local ports and of units."""

    ports: NameMemory[int] = field(default_factory=NameMemory)
    units: NameMemory[str] = field(default_factory=NameMemory)

    @classmethod
    def lost(cls, known: Iterable[str] = ()) -> Memory:
        """Return what is to be assumed where nobody can tell: what is `known` (see `Item.port`), and nothing more is free."""
        ports, units = _known(known)
        guard = FIRST_S + 1
        return cls(
            ports=NameMemory(named=ports, guard=GuardMemory(begun=guard)),
            units=NameMemory(named=units, guard=GuardMemory(begun=guard)),
        )

    @classmethod
    def parse(cls, text: str, known: Iterable[str] = ()) -> Memory:
        """Return what `text` says, as `str` has written it; of what it does not say, that what is `known` was reported."""
        ports, units = _known(known)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        return cls(
            ports=_parsed(found, local_port) or NameMemory(named=ports),
            units=_parsed(found.get("units") if isinstance(found, dict) else None, unit_of) or NameMemory(named=units),
        )

    def __str__(self) -> str:
        return json.dumps({**_data(self.ports), "units": _data(self.units)}, separators=(",", ":"))


def _known(known: Iterable[str]) -> tuple[dict[int, float], dict[str, float]]:
    names = list(known)
    ports = dict.fromkeys(filter(None, map(local_port, names)), 0.0)
    return ports, dict.fromkeys(filter(None, map(unit_of, names)), 0.0)


def _data(memory: NameMemory[Name]) -> dict[str, Any]:
    guard = memory.guard
    return {
        "named": memory.named,
        "waiting": guard.waiting,
        "spent": list(guard.spent),
        "begun": guard.begun,
        "free": guard.free,
    }


def _parsed(found: Any, name: Callable[[str], Name | None]) -> NameMemory[Name] | None:
    try:
        guard = GuardMemory(
            waiting=_ages(found["waiting"], name),
            spent=[float(age) for age in found["spent"] if _is_age(age)],
            begun=float(found["begun"]) if _is_age(found["begun"]) else FIRST_S + 1,
            free=found["free"] if _is_age(found["free"]) else 0,
        )
        return NameMemory(named=_ages(found["named"], name), guard=guard)
    except (KeyError, TypeError, AttributeError):
        return None


def _ages(found: Mapping[str, object], name: Callable[[str], Name | None]) -> dict[Name, float]:
    ages = ((name(each), age) for each, age in found.items())
    return {each: float(age) for each, age in ages if each is not None and _is_age(age)}  # type: ignore[arg-type]


def _is_age(age: object) -> bool:
    return type(age) is int and 0 <= age < _LONGEST_S
