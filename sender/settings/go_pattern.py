"""A pattern for file names as Go has it (filepath.Match), which is how zabbix_agent2 finds the files that it includes."""

from __future__ import annotations

import re


def compiled(pattern: str) -> re.Pattern[str]:
    """Return what fits `pattern` as a whole: `*`, `?`, `[a-z]`, `[^a]`, and a backslash. Raises ValueError for a broken one."""
    made = ""
    while pattern:
        first, pattern = pattern[0], pattern[1:]
        if first == "*":
            made += ".*"
        elif first == "?":
            made += "."
        elif first == "[":
            one, pattern = _class(pattern)
            made += one
        else:
            if first == "\\":
                first, pattern = _first(pattern)
            made += re.escape(first)
    return re.compile(made, re.DOTALL)


def _class(pattern: str) -> tuple[str, str]:
    """Return what fits one character of a class, and what stands behind the class."""
    is_negated = pattern.startswith("^")
    pattern = pattern[is_negated:]
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]")):
        low, pattern = _member(pattern)
        high = low
        if pattern.startswith("-"):
            high, pattern = _member(pattern[1:])
        ranges.append((low, high))
    members = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not members:  # all of them run backwards: Go takes that for a class without members
        return ("." if is_negated else "(?!)"), pattern[1:]
    return f"[{'^' if is_negated else ''}{members}]", pattern[1:]


def _member(pattern: str) -> tuple[str, str]:
    """Return the first character of a class, and the rest, in which its end must stand."""
    if pattern.startswith(("-", "]")):
        raise ValueError("is no pattern")
    first, pattern = _first(pattern)
    if first == "\\":
        first, pattern = _first(pattern)
    if not pattern:
        raise ValueError("is no pattern")
    return first, pattern


def _first(pattern: str) -> tuple[str, str]:
    if not pattern:
        raise ValueError("is no pattern")
    return pattern[0], pattern[1:]
