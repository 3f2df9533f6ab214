"""HostnameItem of a Zabbix agent: the one item, system.hostname, whose value this program can tell as the agent does."""

from __future__ import annotations

import re
import socket

_PARAMETER = r' *("(?:[^"\\]|\\.)*" *|[^",\]\[]*)'
_ITEM = re.compile(rf"system\.hostname(?:\[{_PARAMETER}(?:,{_PARAMETER})?\])?")
_INSTEAD = (
    "expected system.hostname[type,transform] with the type host, shorthost or fqdn and the transform none or lower; or set "
    "Hostname, or `host` in our own file"
)


def host_name(item: str) -> str:
    """Return what `item` is on this machine (Zabbix manual: Zabbix agent, system.hostname). Raises ValueError with what is wrong."""
    if not (match := _ITEM.fullmatch(item)):
        raise ValueError(f"which only the agent can tell; {_INSTEAD}")
    kind, transform = map(_unquoted, match.groups(default=""))
    if kind not in ("", "host", "shorthost", "fqdn") or transform not in ("", "none", "lower"):
        raise ValueError(f"which no agent supports on Linux; {_INSTEAD}")
    name = socket.gethostname()
    if kind == "shorthost":
        name = name.partition(".")[0]
    elif kind == "fqdn":
        name = _canonical(name)
    return name.lower() if transform == "lower" else name


def _unquoted(parameter: str) -> str:
    return parameter.rstrip(" ")[1:-1] if parameter.startswith('"') else parameter


def _canonical(name: str) -> str:
    """Return the name that the resolver has for this machine. An agent without an answer goes on under another name."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)[0][3]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"and the name of this machine, {name!r}, cannot be looked up: {error}; {_INSTEAD}") from error
    return found.rstrip(" .\n\r") or name
