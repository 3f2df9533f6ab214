"""What is remembered of ports, units and namespaces over a restart, and as text, which the spool keeps. Read with distrust. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from sender.items import local_port, namespace_of, unit_of
from sender.sampling.guard import FIRST_S, GuardMemory, Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LONGEST_S = 2**31  # an age that a file may give


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMemory(Generic[Name]):
    """The names that were reported, those found first before others, and how many s ago each was last there.

    `guard` is what the guard of new ones remembers.
    """

    named: Mapping[Name, float] = field(default_factory=dict)
    guard: GuardMemory[Name] = field(default_factory=GuardMemory)

    @property
    def is_first(self) -> bool:
        """Return whether nothing is remembered of an earlier daemon."""
        return self.guard.begun is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of local ports, of units and of network namespaces."""

    ports: NameMemory[int] = field(default_factory=NameMemory)
    units: NameMemory[str] = field(default_factory=NameMemory)
    namespaces: NameMemory[str] = field(default_factory=NameMemory)

    @classmethod
    def lost(cls, known: Iterable[str] = ()) -> Memory:
        """Return what is to be assumed where nobody can tell: what is `known` (see `Item.port`), and nothing more is free."""
        names, begun = list(known), FIRST_S + 1
        return cls(
            ports=NameMemory(named=_known(names, local_port), guard=GuardMemory(begun=begun)),
            units=NameMemory(named=_known(names, unit_of), guard=GuardMemory(begun=begun)),
            namespaces=NameMemory(named=_known(names, namespace_of), guard=GuardMemory(begun=begun)),
        )

    @classmethod
    def parse(cls, text: str, known: Iterable[str] = ()) -> Memory:
        """Return what `text` says, as `str` has written it; of what it does not say, that what is `known` was reported."""
        names = list(known)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        parts = found if isinstance(found, dict) else {}
        return cls(
            ports=_parsed(found, local_port) or NameMemory(named=_known(names, local_port)),
            units=_parsed(parts.get("units"), unit_of) or NameMemory(named=_known(names, unit_of)),
            namespaces=_parsed(parts.get("namespaces"), _namespace) or NameMemory(named=_known(names, namespace_of)),
        )

    def __str__(self) -> str:
        parts = {"units": _data(self.units), "namespaces": _data(self.namespaces)}
        return json.dumps({**_data(self.ports), **parts}, separators=(",", ":"))


def _namespace(name: str) -> str | None:
    """Return a namespace's name, which has nothing before it here; None for nonsense."""
    return namespace_of(f"netns {name}")


def _known(names: Iterable[str], name: Callable[[str], Name | None]) -> dict[Name, float]:
    return {found: 0.0 for each in sorted(names) if (found := name(each)) is not None}


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
            begun=found["begun"] if found["begun"] is None or _is_age(found["begun"]) else FIRST_S + 1,
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
