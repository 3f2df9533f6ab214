"""What `check` finds: values, and how people and programs are shown them. Knows nothing of how they are found."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sender.text import table

if TYPE_CHECKING:
    from collections.abc import Sequence

Result = Literal["ok", "warn", "fail", "skip"]

_HEAD = ("RESULT", "CHECK", "WHERE", "FOUND")
_GAP = 2  # columns between two of the table
_MIN_FOUND = 40  # columns; a narrower terminal breaks the lines itself
_WORDS: dict[Result, str] = {"ok": "ok", "warn": "warn", "fail": "FAIL", "skip": "not tried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check and how it ended: with "fail" something does not work, with "warn" it works, but deserves a look.

    `found` says what is so, `advice` what to do about it, in whole sentences; `seconds` how long it took, where that
    matters. Where one destination was checked, `destination` is its name and `node` the one of it; `keys` are the item
    keys that were rejected.
    """

    check: str
    result: Result
    found: str
    advice: str = ""
    destination: str | None = None
    node: str | None = None
    seconds: float | None = None
    keys: tuple[str, ...] = ()


def is_well(results: Sequence[CheckResult]) -> bool:
    """Return whether no check failed."""
    return all(each.result != "fail" for each in results)


def as_json(results: Sequence[CheckResult]) -> str:
    """Return the results for other programs."""
    return json.dumps({"ok": is_well(results), "checks": [asdict(each) for each in results]}, indent=2)


def as_text(results: Sequence[CheckResult], width: int) -> str:
    """Return the results for people: a table of at most `width` columns, advice below what was found, and a summary."""
    heads = [(_WORDS[each.result], each.check, _where(each)) for each in results]
    indent = sum(max(map(len, column)) + _GAP for column in zip(_HEAD, *heads, strict=False))
    room = max(width - indent, _MIN_FOUND)
    rows = []
    for head, each in zip(heads, results, strict=True):
        first, *more = _lines(each, room)
        rows += [(*head, first), *(("", "", "", line) for line in more)]
    return "\n".join([*table(_HEAD, rows), "", _summary(results)])


def _where(result: CheckResult) -> str:
    return " ".join(filter(None, (result.destination, result.node))) or "here"


def _lines(result: CheckResult, width: int) -> list[str]:
    advice = _wrapped(f"-> {result.advice}", width, indent="   ") if result.advice else []
    return [*(_wrapped(result.found + _took(result.seconds), width) or [""]), *advice]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" ({seconds:.1f} s)" if seconds >= 1 else f" ({seconds * 1000:.1f} ms)"


def _summary(results: Sequence[CheckResult]) -> str:
    """Return how many checks there were, and how many ended in which way."""
    count = {result: sum(each.result == result for each in results) for result in _WORDS}
    warnings = "1 warning" if count["warn"] == 1 else f"{count['warn']} warnings"
    parts: dict[Result, str] = {
        "ok": f"{count['ok']} ok",
        "warn": warnings,
        "fail": f"{count['fail']} failed",
        "skip": f"{count['skip']} not tried",
    }
    named = ", ".join(text for result, text in parts.items() if count[result])
    return f"{len(results)} {'check' if len(results) == 1 else 'checks'}: {named}"
