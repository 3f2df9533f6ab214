"""What `check` finds: values, and how they are shown to people and to programs. Knows nothing of how they are found."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Result = Literal["ok", "warn", "fail", "skip"]

_HEAD = ("RESULT", "CHECK", "WHERE", "FOUND")
_GAP = "  "
_MIN_FOUND = 40  # columns; a narrower terminal breaks the lines itself
_WORDS: dict[Result, str] = {"ok": "ok", "warn": "warn", "fail": "FAIL", "skip": "not tried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check and how it ended: with "fail" something does not work, with "warn" it works, but is to be looked at.

    `found` is what is so, `advice` what to do about it; `seconds` how long it took, where that matters. Where one
    destination was checked, `destination` is its name and `node` the one of it; `keys` are item keys that were refused.
    """

    check: str
    result: Result
    found: str
    advice: str = ""
    destination: str | None = None
    node: str | None = None
    seconds: float | None = None
    keys: tuple[str, ...] = ()


def split(error: Exception) -> tuple[str, str]:
    """What is so, and the advice about it, of an error that says both."""
    found, _, advice = str(error).partition("; ")
    return found, advice


def is_well(findings: Sequence[CheckResult]) -> bool:
    """Whether nothing fails."""
    return all(finding.result != "fail" for finding in findings)


def as_json(findings: Sequence[CheckResult]) -> str:
    """For other programs."""
    return json.dumps({"ok": is_well(findings), "checks": [asdict(finding) for finding in findings]}, indent=2)


def as_text(findings: Sequence[CheckResult], width: int) -> str:
    """For people: a table in lines of at most `width` columns, the advice below each finding, and the sum."""
    heads = [(_WORDS[each.result], each.check, _where(each)) for each in findings]
    widths = [max(map(len, column)) for column in zip(_HEAD, *heads, strict=False)]
    indent = sum(widths) + len(_GAP) * len(widths)
    room = max(width - indent, _MIN_FOUND)
    lines = [_line(_HEAD[:-1], widths, _HEAD[-1])]
    for head, finding in zip(heads, findings, strict=True):
        first, *more = _wrapped(finding.found + _took(finding.seconds), room)
        lines.append(_line(head, widths, first))
        advice = _wrapped(f"-> {finding.advice}", room, indent="   ") if finding.advice else []
        lines += [" " * indent + text for text in (*more, *advice)]
    return "\n".join([*lines, "", _sum(findings)])


def _where(finding: CheckResult) -> str:
    return " ".join(filter(None, (finding.destination, finding.node))) or "here"


def _line(head: Sequence[str], widths: Sequence[int], found: str) -> str:
    return _GAP.join([*(cell.ljust(width) for cell, width in zip(head, widths, strict=True)), found])


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    lines = textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines or [""]


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" ({seconds:.1f} s)" if seconds >= 1 else f" ({seconds * 1000:.1f} ms)"


def _sum(findings: Sequence[CheckResult]) -> str:
    count = {result: sum(finding.result == result for finding in findings) for result in _WORDS}
    tried = len(findings) - count["skip"]
    if count["fail"]:
        return f"{count['fail']} of {tried} checks failed"
    warnings = f"; {count['warn']} to look at" if count["warn"] else ""
    return f"no check of {tried} failed{warnings}"
