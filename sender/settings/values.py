"""What people write in a configuration, one value at a time: durations, sizes, ports, names, paths. Raises ValueError.

Each message says what is expected; what was found, and where, is for the caller to add.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from sender.model import TcpState

TRAPPER_PORT = 10051  # registered with IANA as zabbix-trapper

MAX_HOST_NAME = 128  # characters; Zabbix manual: API, Host object
_SHOWN_BITS = 128
_PORTS = range(1, 65536)
PSK_DIGITS = range(32, 513)  # Zabbix manual: Encryption, Using pre-shared keys: 128 to 2048 bits
_OTHERS_READ = 0o004
_MOST_PORTS = 1000
_CREDENTIALS = "/run/credentials/tcp-status-sender.service"  # systemd.exec(5)
MIB = 2**20
_SIZES = {"KiB": 2**10, "MiB": MIB, "GiB": 2**30}
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # Zabbix manual: Appendix, Time suffixes


class Frozen(BaseModel):
    """Settings: what they are made from is taken strictly, and they do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def duration(value: object) -> int:
    """Whole seconds from what people write: `30s`, `5m`, `1h`, or a bare number of seconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", value if isinstance(value, str) else shown(value))
    if not match:
        raise ValueError("expected a duration in whole seconds, minutes, hours or days, such as 30s, 5m, 1h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def between(low: str, high: str) -> BeforeValidator:
    """A duration from `low` to `high`, both allowed."""

    def check(value: object) -> int:
        seconds = duration(value)
        if not duration(low) <= seconds <= duration(high):
            raise ValueError(f"expected a duration from {low} to {high}")
        return seconds

    return BeforeValidator(check)


def size(value: object) -> int:
    """Bytes from what people write: `256MiB`. From 1MiB, below which nothing fits, to 1024GiB."""
    match = re.fullmatch(r"([0-9]{1,9}) ?([KMG]iB)", str(value))
    size = int(match[1]) * _SIZES[match[2]] if match else 0
    if not _SIZES["MiB"] <= size <= 1024 * _SIZES["GiB"]:
        raise ValueError("expected a size from 1MiB to 1024GiB, such as 256MiB")
    return size


def port(value: object) -> int:
    """One port."""
    if type(value) is not int or value not in _PORTS:
        raise ValueError("expected a port from 1 to 65535")
    return value


def port_range(value: object) -> tuple[int, int]:
    """First and last port of `443` or `"32768-60999"`."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
    first, last = (int(match[1]), int(match[2])) if match else (value, value)
    if type(first) is not int or type(last) is not int or not 1 <= first <= last < _PORTS.stop:
        raise ValueError('expected a port from 1 to 65535, or a range of them in quotes, such as "32768-60999"')
    return first, last


def state(value: object) -> TcpState:
    """A state by its name."""
    if not isinstance(value, str) or value not in TcpState.__members__:
        raise ValueError(f"expected one of {', '.join(TcpState.__members__)}")
    return TcpState[value]


def limit(value: object) -> int:
    """How many ports."""
    if type(value) is not int or not 1 <= value <= _MOST_PORTS:
        raise ValueError(f"expected a number of ports from 1 to {_MOST_PORTS}")
    return value


def once_each(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without what stands twice."""
    return tuple(dict.fromkeys(entries))


def spool_path(path: str) -> str:
    """A file that is or can be one, or :memory:."""
    if path != ":memory:" and not Path(path).is_absolute():
        raise ValueError('expected an absolute path of a file, or ":memory:"')
    if path.endswith("/") or os.path.isdir(path):  # noqa: PTH112  False, too, where this user may not look
        raise ValueError("expected the path of a file, not of a directory")
    return path


def key_file(value: object) -> Path:
    """A file with a key or a certificate: an absolute path, or a name among systemd's credentials of the unit.

    Those are where $CREDENTIALS_DIRECTORY says, and for whoever is not of the unit, `check` by hand say, where it would.
    """
    if not isinstance(value, str) or not value.isprintable() or not re.fullmatch("/.+|[^/]+", value):
        raise ValueError("expected an absolute path, or the name of a LoadCredential= of the unit")
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", _CREDENTIALS)) / value


def given(value: object) -> object:
    """What is off where it is left out, but not where it is left empty."""
    if value is None:
        raise ValueError("expected keys with values")
    return value


def absolute(value: object) -> Path:
    """A file by its absolute path."""
    if not isinstance(value, str) or not value.isprintable() or not value.startswith("/"):
        raise ValueError("expected an absolute path, such as /etc/zabbix/zabbix_agentd.conf")
    return Path(value)


def is_open_to_all(path: Path) -> bool:
    """Whether every user can read a file; one that cannot be looked at is none, and whoever reads it says why."""
    try:
        return bool(path.stat().st_mode & _OTHERS_READ)
    except OSError:
        return False


def psk_digits(text: str) -> str:
    """A pre-shared key as zabbix_agentd has it in a file: hexadecimal digits in one line. What is said quotes none of it."""
    digits = text.strip()
    if not digits:
        why = "is empty"
    elif not re.fullmatch("[0-9A-Fa-f]+", digits):
        why = "has more in it than one line of hexadecimal digits"
    elif len(digits) % 2:
        why = "has an odd number of hexadecimal digits: one is missing, or one too many"
    elif len(digits) not in PSK_DIGITS:
        why = f"has {'too few' if len(digits) < PSK_DIGITS.start else 'too many'} hexadecimal digits"
    else:
        return digits
    raise ValueError(f"{why}; expected 32 to 512 digits, such as `openssl rand -hex 32` prints")


def default_spool() -> str:
    """Below systemd's StateDirectory= (systemd.exec(5)), which it names in the environment."""
    return f"{os.environ.get('STATE_DIRECTORY', '/var/lib/tcp-status-sender').split(':')[0]}/spool.db"


def filled(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Not empty."""
    if not entries:
        raise ValueError("expected at least one entry")
    return entries


def host_name(name: str) -> str:
    """A technical host name (Zabbix manual: Hosts and host groups, Configuring a host)."""
    if not re.fullmatch(r"[0-9A-Za-z_.-]([0-9A-Za-z_. -]*[0-9A-Za-z_.-])?", name) or len(name) > MAX_HOST_NAME:
        raise ValueError("expected a technical host name: letters, digits, spaces, dots, dashes and underscores")
    return name


def printable(name: str) -> str:
    """Without line feeds and the like."""
    if not name.isprintable():
        raise ValueError("expected printable characters")
    return name


class Node(Frozen):
    """One trapper: a host name or an IP address, and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Node:
        """From `name`, `name:port`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port`. Raises ValueError."""
        form = r"\[(?P<v6>[^]\s]+)\](:(?P<p6>[0-9]+))?|(?P<bare>[^\s\[\]]*:[^\s\[\]]*:[^\s\[\]]*)"
        form += r"|(?P<name>[^\s:/\[\],;]+)(:(?P<port>[0-9]+))?"
        match = re.fullmatch(form, text) if isinstance(text, str) and text.isprintable() else None
        port = int((match["p6"] or match["port"] or TRAPPER_PORT) if match else 0)
        if not match or port not in _PORTS:
            raise ValueError("expected a name or an address, with a port from 1 to 65535 or without (then 10051)")
        if not match["name"]:
            try:
                ipaddress.IPv6Address(match["v6"] or match["bare"])
            except ipaddress.AddressValueError as error:
                raise ValueError(f"expected a name or an address, but for an IPv6 address: {error}") from error
        return cls(address=match["v6"] or match["bare"] or match["name"], port=port)


def address(value: object) -> str:
    """An IP address of this host."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, str(value))
        except OSError:
            continue
        return str(value)
    raise ValueError("expected an IP address of this host, such as 192.0.2.10 or 2001:db8::10")


def shown(value: object) -> str:
    """What was found, in a few words."""
    if value is None or value == []:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a huge number"  # of which Python refuses to make text
    return repr(value)[:80]
