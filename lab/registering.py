"""What a host says that registers itself, and what a trapper may answer. Knows of Zabbix only these words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.trapper import packet

if TYPE_CHECKING:
    from collections.abc import Callable

METADATA = "Linux tcp-status-sender"
REQUEST = {"request": "active checks", "host": "web-01", "host_metadata": METADATA}


def says(**answer: Any) -> Callable[[dict[str, Any]], bytes]:
    """Return a trapper's answer to everything."""
    return lambda _: packet(json.dumps(answer).encode())


def failed(info: Any) -> Callable[[dict[str, Any]], bytes]:
    """Return the answer of a trapper that does not like it."""
    return says(response="failed", info=info)


def by_kind(values: Callable[[dict[str, Any]], Any], checks: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """Return the answer of a trapper that does not treat values and other requests alike."""
    return lambda request: values(request) if "data" in request else checks(request)


NOT_FOUND = failed("host [web-01] not found")
KNOWN = says(response="success", data=[])
