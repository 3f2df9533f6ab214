"""What can be configured, as frozen settings, or every problem at once. Knows nothing of what is done with them."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from sender import yaml_file
from sender.errors import ConfigError
from sender.model import TcpState

DEFAULT_PATH = Path("/etc/tcp-status-sender/config.yaml")
TRAPPER_PORT = 10051  # registered with IANA as zabbix-trapper

_SHOWN_BITS = 128
_PORTS = range(1, 65536)
_MOST_PORTS = 1000
_SIZES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # Zabbix manual: Appendix, Time suffixes


def _duration(value: object) -> int:
    """Whole seconds from what people write: `30s`, `5m`, `1h`, or a bare number of seconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", value if isinstance(value, str) else _shown(value))
    if not match:
        raise ValueError("expected a duration in whole seconds, minutes, hours or days, such as 30s, 5m, 1h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def _between(low: str, high: str) -> BeforeValidator:
    """A duration from `low` to `high`, both allowed."""

    def check(value: object) -> int:
        seconds = _duration(value)
        if not _duration(low) <= seconds <= _duration(high):
            raise ValueError(f"expected a duration from {low} to {high}")
        return seconds

    return BeforeValidator(check)


def _size(value: object) -> int:
    """Bytes from what people write: `256MiB`. From 1MiB, below which nothing fits, to 1024GiB."""
    match = re.fullmatch(r"([0-9]{1,9}) ?([KMG]iB)", str(value))
    size = int(match[1]) * _SIZES[match[2]] if match else 0
    if not _SIZES["MiB"] <= size <= 1024 * _SIZES["GiB"]:
        raise ValueError("expected a size from 1MiB to 1024GiB, such as 256MiB")
    return size


def _port(value: object) -> int:
    if type(value) is not int or value not in _PORTS:
        raise ValueError("expected a port from 1 to 65535")
    return value


def _port_range(value: object) -> tuple[int, int]:
    """First and last port of `443` or `"32768-60999"`."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
    first, last = (int(match[1]), int(match[2])) if match else (value, value)
    if type(first) is not int or type(last) is not int or not 1 <= first <= last < _PORTS.stop:
        raise ValueError('expected a port from 1 to 65535, or a range of them in quotes, such as "32768-60999"')
    return first, last


def _state(value: object) -> TcpState:
    if not isinstance(value, str) or value not in TcpState.__members__:
        raise ValueError(f"expected one of {', '.join(TcpState.__members__)}")
    return TcpState[value]


def _limit(value: object) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_PORTS:
        raise ValueError(f"expected a number of ports from 1 to {_MOST_PORTS}")
    return value


def _once_each(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(entries))


def _spool_path(path: str) -> str:
    if path != ":memory:" and not Path(path).is_absolute():
        raise ValueError('expected an absolute path of a file, or ":memory:"')
    if path.endswith("/") or Path(path).is_dir():
        raise ValueError("expected the path of a file, not of a directory")
    return path


def _default_spool() -> str:
    """Below systemd's StateDirectory= (systemd.exec(5)), which it names in the environment."""
    return f"{os.environ.get('STATE_DIRECTORY', '/var/lib/tcp-status-sender').split(':')[0]}/spool.db"


def _filled(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    if not entries:
        raise ValueError("expected at least one entry")
    return entries


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("expected printable characters")
    return name


_LIST = Field(strict=False)  # a YAML list is to become a tuple; what is in it is still taken strictly
_FILLED = AfterValidator(_filled)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Node(_Settings):
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


def _address(value: object) -> str:
    """An IP address of this host."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, str(value))
        except OSError:
            continue
        return str(value)
    raise ValueError("expected an IP address of this host, such as 192.0.2.10 or 2001:db8::10")


class Destination(_Settings):
    """One Zabbix server or proxy, or one HA cluster of them: `nodes` in the order in which to try them."""

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)] = "main"
    nodes: Annotated[tuple[Annotated[Node, BeforeValidator(Node.parse)], ...], _LIST, _FILLED]
    timeout: Annotated[int, _between("1s", "1m")] = 5
    source_ip: Annotated[str, BeforeValidator(_address)] | None = None
    compression: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.nodes))})"


class PortSettings(_Settings):
    """Which ports are reported, in which states. `exclude` holds ranges, first and last port."""

    listening: bool = True
    local: Annotated[tuple[Annotated[int, BeforeValidator(_port)], ...], _LIST, AfterValidator(_once_each)] = ()
    remote: Annotated[tuple[Annotated[int, BeforeValidator(_port)], ...], _LIST, AfterValidator(_once_each)] = ()
    exclude: Annotated[tuple[Annotated[tuple[int, int], BeforeValidator(_port_range)], ...], _LIST] = ()
    states: Annotated[
        tuple[Annotated[TcpState, BeforeValidator(_state)], ...], _LIST, _FILLED, AfterValidator(_once_each)
    ] = (TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)
    limit: Annotated[int, BeforeValidator(_limit)] = 50


class SpoolSettings(_Settings):
    """Where samples wait, and how long: s of age, bytes on the disk."""

    path: Annotated[str, AfterValidator(_printable), AfterValidator(_spool_path)] = Field(
        default_factory=_default_spool, min_length=1, max_length=4000
    )
    max_age: Annotated[int, _between("1m", "365d")] = 7 * 86400
    max_size: Annotated[int, BeforeValidator(_size)] = 256 * _SIZES["MiB"]


class Settings(_Settings):
    """The whole configuration; every key has a default."""

    host: str = Field(default_factory=socket.gethostname, max_length=128, validate_default=True)
    interval: Annotated[int, _between("1s", "1h")] = 30
    destinations: Annotated[tuple[Destination, ...], _LIST, _FILLED] = (
        Destination.model_validate({"nodes": ["127.0.0.1"]}),
    )
    ports: PortSettings = PortSettings()
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("host")
    @classmethod
    def _is_host_name(cls, host: str) -> str:
        # Zabbix manual: Hosts and host groups, Configuring a host.
        if not re.fullmatch(r"[0-9A-Za-z_.-]([0-9A-Za-z_. -]*[0-9A-Za-z_.-])?", host):
            raise ValueError("expected a technical host name: letters, digits, spaces, dots, dashes and underscores")
        return host

    @field_validator("destinations")
    @classmethod
    def _are_told_apart(cls, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
        names = [destination.name for destination in destinations]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected a `name` of its own for each, but two are named {name!r}")
        return destinations


def load(path: Path | None = None) -> Settings:
    """The settings in `path`; without it those in DEFAULT_PATH, or the defaults where that file does not exist.

    Raises ConfigError with every problem found.
    """
    source = path or DEFAULT_PATH
    if path is None and _is_missing(DEFAULT_PATH):
        return _checked({}, "defaults", [])
    data, duplicates = yaml_file.read(source)
    return _checked(data, str(source), [f"{source}: {problem}" for problem in duplicates])


def _is_missing(path: Path) -> bool:
    """Whether it is certain that there is no such file: one that this user cannot see is not missing."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _checked(data: object, source: str, problems: list[str]) -> Settings:
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        problems += [f"{source}: {_problem(detail)}" for detail in error.errors()]
    if problems:
        raise ConfigError(problems)
    return settings


_MODELS: dict[str, type[_Settings]] = {"destinations": Destination, "ports": PortSettings, "spool": SpoolSettings}
_EXPECTED = {
    "bool_type": "expected true or false",
    "model_type": "expected keys with values, such as `name: main`",
    "string_type": "expected text, in quotes where YAML takes it for something else",
    "tuple_type": "expected a list, such as [a, b]",
}


def _problem(detail: Any) -> str:
    """One line for one of pydantic's error details: `path.to.key: what is wrong, and what is expected`."""
    location, kind, message = detail["loc"], detail["type"], detail["msg"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if kind in ("extra_forbidden", "invalid_key"):
        model = _MODELS[str(location[0])] if len(location) > 1 else Settings
        near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(model.model_fields)}"
        return f"{path}: unknown key; {hint}"
    if kind == "missing":
        return f"{path}: is missing; expected for every destination"
    expected = _EXPECTED.get(kind) or message.removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{path or 'the file'}: is {_shown(detail['input'])}; {expected}"


def _shown(value: object) -> str:
    if value is None or value == []:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a huge number"  # of which Python refuses to make text
    return repr(value)[:80]
