"""What people write in a configuration, one value at a time: durations, sizes, ports, names, paths. Raises ValueError.

Each message says what is expected; what was found, and where, is for the caller to add. A CompleteError says both.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.model import PORTS, TcpState
from sender.settings.section import CompleteError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
TLS_NEEDS = {
    "unencrypted": (),
    "psk": ("psk_identity", "psk_file"),
    "cert": ("ca_file", "cert_file", "key_file"),
}
"""The keys of `tls` that each value of `connect` requires,"""
TLS_MAY = {"unencrypted": (), "psk": (), "cert": ("server_cert_issuer", "server_cert_subject")}
"""and those that it allows."""
CREDENTIALS = Path("/run/credentials/tcp-status-sender.service")
"""Where systemd puts the unit's credentials: systemd.exec(5)."""

_MAX_HOST_NAME = 128  # characters; Zabbix manual: API, Host object
MOST_NAMES = 1000  # of ports, and of units
_SIZES = {"KiB": 2**10, "MiB": MIB, "GiB": 2**30}
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # Zabbix manual: Appendix, Time suffixes


def duration(value: object) -> int:
    """Return whole seconds from what people write: `30s`, `5m`, `1h`, or a bare number of seconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", value if isinstance(value, str) else shown(value))
    if not match:
        raise ValueError("expected a duration in whole seconds, minutes, hours or days, such as 30s, 5m, 1h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def duration_between(low: str, high: str) -> Callable[[object], int]:
    """Return a check for a duration from `low` to `high`, both allowed."""

    def check(value: object) -> int:
        seconds = duration(value)
        if not duration(low) <= seconds <= duration(high):
            raise ValueError(f"expected a duration from {low} to {high}")
        return seconds

    return check


def size(value: object) -> int:
    """Return bytes from what people write: `256MiB`. From 1MiB, below which nothing fits, to 1024GiB."""
    match = re.fullmatch(r"([0-9]{1,9}) ?([KMG]iB)", str(value))
    size = int(match[1]) * _SIZES[match[2]] if match else 0
    if not _SIZES["MiB"] <= size <= 1024 * _SIZES["GiB"]:
        raise ValueError("expected a size from 1MiB to 1024GiB, such as 256MiB")
    return size


def port(value: object) -> int:
    """Return one port."""
    if type(value) is not int or value not in PORTS:
        raise ValueError("expected a port from 1 to 65535")
    return value


def port_range(value: object) -> tuple[int, int]:
    """Return the first and the last port of `443` or `"32768-60999"`."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
    first, last = (int(match[1]), int(match[2])) if match else (value, value)
    if type(first) is not int or type(last) is not int or not 1 <= first <= last < PORTS.stop:
        raise ValueError('expected a port from 1 to 65535, or a range of them in quotes, such as "32768-60999"')
    return first, last


def state(value: object) -> TcpState:
    """Return a state by its name."""
    if not isinstance(value, str) or value not in TcpState.__members__:
        raise ValueError(f"expected one of {', '.join(TcpState.__members__)}")
    return TcpState[value]


def limit(value: object) -> int:
    """Return how many ports, or units, may be reported."""
    if type(value) is not int or not 1 <= value <= MOST_NAMES:
        raise ValueError(f"expected a number from 1 to {MOST_NAMES}")
    return value


def new_per_day(value: object) -> int:
    """Return how many new ones may be reported in a day."""
    if type(value) is not int or not 0 <= value <= MOST_NAMES:
        raise ValueError(f"expected a number from 0 to {MOST_NAMES}")
    return value


def flag(value: object) -> bool:
    """Return whether something is on."""
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def text(value: object) -> str:
    """Return text."""
    if not isinstance(value, str):
        raise ValueError("expected text, in quotes where YAML takes it for something else")
    return value


def text_up_to(most: int) -> Callable[[object], str]:
    """Return a check for text of so many characters, or fewer, but not none."""

    def check(value: object) -> str:
        if not (given := text(value)):
            raise ValueError("expected at least 1 character")
        if len(given) > most:
            raise ValueError(f"expected at most {most} characters")
        return given

    return check


def word(*words: str) -> Callable[[object], str]:
    """Return a check for one of some words."""
    *others, last = map(repr, words)

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"expected {', '.join(others)} or {last}")
        return value

    return check


def optional(check: Callable[[object], Any]) -> Callable[[object], Any]:
    """Return the check of a key that may be left empty, which is as if it were left out."""
    return lambda value: None if value is None else check(value)


def once_each(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the entries without repetitions."""
    return tuple(dict.fromkeys(entries))


def filled(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the entries, of which there must be one at least."""
    if not entries:
        raise ValueError("expected at least one entry")
    return entries


def spool_path(path: str) -> str:
    """Return the path of what is or can be a file, or :memory:."""
    if path != ":memory:" and not Path(path).is_absolute():
        raise ValueError('expected an absolute path of a file, or ":memory:"')
    if path.endswith("/") or os.path.isdir(path):  # noqa: PTH112  False, too, where this user may not look
        raise ValueError("expected the path of a file, not of a directory")
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise ValueError("expected the path of a file, not of a device, a pipe or a socket")
    return path


def default_spool() -> str:
    """Return the spool's path below systemd's StateDirectory= (systemd.exec(5)), which is named in the environment."""
    return f"{os.environ.get('STATE_DIRECTORY', '/var/lib/tcp-status-sender').split(':')[0]}/spool.db"


def key_file(value: object) -> Path:
    """Return a file with a key or a certificate: an absolute path, or a name among systemd's credentials of the unit.

    Those are where $CREDENTIALS_DIRECTORY says, and for a command that is not run by the unit, where it would say. An error
    never shows the value: somebody may have put the key itself in the place of its file.
    """
    if not isinstance(value, str) or not value.isprintable() or not re.fullmatch("/.+|[^/]+", value):
        raise CompleteError("is not a path; expected an absolute path, or the name of a LoadCredential= of the unit")
    if re.fullmatch("[0-9A-Fa-f]{32,}", value):
        raise CompleteError("is a key itself; expected the path of the file that holds it")
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", CREDENTIALS)) / value


def absolute(value: object) -> Path:
    """Return a file by its absolute path."""
    if not isinstance(value, str) or not value.isprintable() or not value.startswith("/"):
        raise ValueError("expected an absolute path, such as /etc/zabbix/zabbix_agentd.conf")
    return Path(value)


def host_name(name: str) -> str:
    """Return a technical host name (Zabbix manual: Hosts and host groups, Configuring a host)."""
    if name != name.strip(" "):
        raise CompleteError(f"{name[:_MAX_HOST_NAME]!r} starts or ends with a space; expected none there")
    if len(name) > _MAX_HOST_NAME:
        raise CompleteError(f"has {len(name)} characters; expected at most {_MAX_HOST_NAME}")
    if not re.fullmatch(r"[0-9A-Za-z_. -]+", name):
        raise ValueError("expected a technical host name: letters, digits, spaces, dots, dashes and underscores")
    return name


def printable(name: str) -> str:
    """Return a name that holds no line feed or the like."""
    if not name.isprintable():
        raise ValueError("expected printable characters")
    return name


def address(value: object) -> str:
    """Return an IP address of this host."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, str(value))
        except OSError:
            continue
        return str(value)
    raise ValueError("expected an IP address of this host, such as 192.0.2.10 or 2001:db8::10")
