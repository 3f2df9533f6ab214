"""One line for each problem of a configuration, made of what pydantic reports of it. Knows its kinds of errors, and no key."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sender.settings.values import CompleteError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SECRET = {"psk_file", "key_file"}  # somebody may have put the key itself in the place of its file
_MISSING = {
    "nodes": "every destination needs at least one node",
    "metadata": "expected what a registration action looks for, such as Linux tcp-status-sender",
}
_EXPECTED = {
    "bool_type": "expected true or false",
    "literal_error": "expected {expected}",
    "model_type": "expected keys with values, such as `name: main`",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} character",
    "string_type": "expected text, in quotes where YAML takes it for something else",
    "tuple_type": "expected a list, such as [a, b]",
}


def path(location: Sequence[str | int]) -> str:
    """Return the path of a key as people write it: destinations[0].tls.psk_file."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def problem(detail: Any, keys_at: Callable[[Sequence[str | int]], Sequence[str]]) -> str:
    """Return what is wrong in one of pydantic's error details, and what is expected; `keys_at` a place names its keys."""
    location, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    key = str(location[-1]) if location else ""
    if kind in ("extra_forbidden", "invalid_key"):
        keys = keys_at(location)
        near = difflib.get_close_matches(key, keys, n=1)
        return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; expected one of {', '.join(keys)}"
    if kind == "missing":
        return f"missing; {_MISSING[key]}"
    error = context.get("error")
    if isinstance(error, CompleteError):
        return str(error)
    expected = str(error) if error else _EXPECTED.get(kind, detail["msg"]).format(**context)
    return f"is {'not a path' if key in _SECRET else shown(detail['input'])}; {expected}"
