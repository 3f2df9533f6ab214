"""A section of the configuration: a frozen dataclass whose fields carry their checks, read with every problem at once.

A check takes what stands in a file, and returns what is meant. It raises ValueError, which says what is expected;
CompleteError, which says what was found, too; or InsideError, for the entries of a list or of a section. Knows no key.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Check = Callable[[Any], Any]
    Problem = tuple[tuple[str | int, ...], str]

SectionT = TypeVar("SectionT")
_SHOWN_BITS = 128


class CompleteError(ValueError):
    """A wrong value whose message says what was found, too."""


class InsideError(ValueError):
    """Everything that is wrong inside of a value: for each problem the place in there, and a line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{path(location)}: {problem}" for location, problem in problems))
        self.problems = problems


def key(check: Check, *, missing: str = "", **default: Any) -> Any:
    """Return a field of a section: its check, and dataclasses.field's default; or what is said where it is missing."""
    return dataclasses.field(metadata={"check": check, "missing": missing}, **default)


def keys(section: Any) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a section that can stand in a file, by name."""
    return {each.name: each for each in dataclasses.fields(section) if each.metadata}


def read(section: type[SectionT], data: object) -> SectionT:
    """Return a section from the mapping that a file has for it. Raises ValueError as a check does."""
    if not isinstance(data, dict):
        raise ValueError("expected keys with values, such as `name: main`")
    known = keys(section)
    problems: list[Problem] = []
    required = [each for each in known.values() if dataclasses.MISSING is each.default is each.default_factory]
    found = {
        name: _checked(known[name].metadata["check"], value, name, problems)
        for name, value in data.items()
        if name in known
    }
    problems += [((name,), _unknown(str(name), known)) for name in data if name not in known]
    problems += [((each.name,), f"missing; {each.metadata['missing']}") for each in required if each.name not in data]
    if problems:
        raise InsideError(problems)
    return section(**found)


def each(check: Check) -> Check:
    """Return the check of a list, whose every entry passes this one: it returns a tuple."""

    def check_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a list, such as [a, b]")
        problems: list[Problem] = []
        entries = tuple(_checked(check, entry, index, problems) for index, entry in enumerate(value))
        if problems:
            raise InsideError(problems)
        return entries

    return check_all


def both(first: Check, *others: Check) -> Check:
    """Return a check of what passes one after the other."""

    def check(value: object) -> Any:
        value = first(value)
        for other in others:
            value = other(value)
        return value

    return check


def path(location: Sequence[str | int]) -> str:
    """Return the path of a key as people write it: destinations[0].tls.psk_file."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def shown(value: object) -> str:
    """Return what was found, in a few words."""
    if value is None or value == []:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a huge number"  # of which Python refuses to make text
    return repr(value)[:80]


def _checked(check: Check, value: object, place: str | int, problems: list[Problem]) -> Any:
    """Return what the check makes of a value, or add what is wrong with it to the problems."""
    try:
        return check(value)
    except InsideError as error:
        problems += [((place, *location), problem) for location, problem in error.problems]
    except CompleteError as error:
        problems.append(((place,), str(error)))
    except ValueError as error:
        problems.append(((place,), f"is {shown(value)}; {error}"))
    return None


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; expected one of {', '.join(known)}"
