"""When low-level discovery is due: when it has changed, every hour, and where a destination needs it. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AGAIN_S = 3600.0  # between two discoveries of the same
_WANTED_S = 10.0  # the same, where a destination needs one


class DueDiscovery:
    """What was sent last, and when."""

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self._sent_at = 0.0

    def due(self, found: Mapping[str, Iterable[dict[str, str]]], now: float, *, is_wanted: bool) -> dict[str, str]:
        """Return the value of each key, given what it is to list; nothing where it is not due."""
        values = {key: _as_json(entries) for key, entries in found.items()}
        if values == self._sent and now - self._sent_at < (_WANTED_S if is_wanted else _AGAIN_S):
            return {}
        self._sent, self._sent_at = values, now
        return values


def _as_json(entries: Iterable[dict[str, str]]) -> str:
    """Return the value of low-level discovery (Zabbix manual: Low-level discovery, Custom LLD rules)."""
    return json.dumps(list(entries), separators=(",", ":"))
