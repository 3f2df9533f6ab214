"""Names that new hosts cannot have: each is the technical or the visible name of another host, or of a template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.errors import ApiRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def taken(call: Callable[[str, Any], Any], names: Collection[str]) -> dict[str, ApiRejectedError]:
    """Return those of the names that another host or a template has, as far as this user may read it, with whose it is.

    None of them is the technical name of a host: that host would be completed.
    """
    query = {"output": ["host", "name"], "filter": {"host": list(names), "name": list(names)}, "searchByAny": True}
    found = {}
    for kind in ("template", "host"):
        for owner in call(f"{kind}.get", query):
            for name in {owner["host"], owner["name"]} & set(names):
                found[name] = _of_a_host(owner) if kind == "host" else _of_a_template(owner)
    return found


def _of_a_host(owner: dict[str, str]) -> ApiRejectedError:
    name, host = owner["name"], owner["host"]
    return ApiRejectedError(
        f"{name!r} is the visible name of a host whose technical name is {host!r}",
        advice=f"Is it the same host? Then give --host {_word(host)} here, and `host: {host}` in its configuration. Else change the "
        "visible name in Zabbix.",
    )


def _of_a_template(owner: dict[str, str]) -> ApiRejectedError:
    return ApiRejectedError(
        f"there is a template {owner['host']!r} with this name, and no host can have a template's name",
        advice="Choose another name for the host.",
    )


def _word(host: str) -> str:
    return f'"{host}"' if " " in host else host
