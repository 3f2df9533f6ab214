"""What can be configured, as frozen settings, or every problem at once. Knows nothing of what is done with them."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from sender.errors import ConfigError
from sender.model import Node, TcpState
from sender.settings import section, values, yaml_file
from sender.settings.agent_conf import AgentConfig
from sender.settings.files import DEFAULT_PATH
from sender.settings.section import both, each, key
from sender.settings.values import duration_between, flag, optional, printable, text_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LONGEST_JUDGED_S = 300  # the window in templates/model.py, `growth`
_NAME = both(text_up_to(64), printable)
_DISTINGUISHED_NAME = optional(text_up_to(1024))
_TOO_LONG = (
    "is more than 5m. With so few samples the template's triggers of requests dropped, SYN cookies, closing without TIME_WAIT and "
    "segments sent again never fire; with more than 15m neither does that of memory under pressure, and with more than 30m those "
    "of values rejected and dropped hardly ever do"
)
_KEY_FILE = optional(values.key_file)
_PORTS = both(each(values.port), values.once_each)
_STATES = both(each(values.state), values.filled, values.once_each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a destination is spoken to, in the words of zabbix_agentd.conf's TLSConnect, TLSPSKIdentity and so on.

    Files are absolute paths, or names in systemd's credentials directory (LoadCredential=, systemd.exec(5)).
    """

    connect: str = key(values.word(*values.TLS_NEEDS), default="unencrypted")
    psk_identity: str | None = key(optional(both(text_up_to(128), printable)), default=None)
    psk_file: Path | None = key(_KEY_FILE, default=None)
    ca_file: Path | None = key(_KEY_FILE, default=None)
    cert_file: Path | None = key(_KEY_FILE, default=None)
    key_file: Path | None = key(_KEY_FILE, default=None)
    server_cert_issuer: str | None = key(_DISTINGUISHED_NAME, default=None)
    server_cert_subject: str | None = key(_DISTINGUISHED_NAME, default=None)

    def __post_init__(self) -> None:
        """Raise CompleteError where the keys do not go together."""
        needed, allowed = values.TLS_NEEDS[self.connect], values.TLS_MAY[self.connect]
        given = {name for name in section.keys(self) if name != "connect" and getattr(self, name) is not None}
        if missing := [name for name in needed if name not in given]:
            verb = "is" if len(missing) == 1 else "are"
            raise section.CompleteError(f"{', '.join(missing)} {verb} missing (required with connect: {self.connect})")
        if useless := sorted(given.difference(needed, allowed)):
            verb = "has" if len(useless) == 1 else "have"
            raise section.CompleteError(
                f"{', '.join(useless)} {verb} no effect with connect: {self.connect}; expected another `connect`, or no such key"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One Zabbix server or proxy, or one HA cluster of them: `nodes` in the order in which to try them, `timeout` in s."""

    name: str = key(_NAME, default="main")
    nodes: tuple[Node, ...] = key(
        both(each(Node.parse), values.filled), missing="every destination needs at least one node"
    )
    timeout: float = key(duration_between("1s", "1m"), default=5)
    source_ip: str | None = key(optional(values.address), default=None)
    compression: bool = key(flag, default=True)
    tls: Tls = key(partial(section.read, Tls), default=Tls())

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.nodes))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """Which ports are reported, in which states. `exclude` holds ranges, first and last port.

    `peaks`: look at accept queues every second. `ephemeral_after` is for how many s a port of the kernel's ephemeral range must be listened on before it is reported,
    `new_per_day` how many new ports are in any 24 hours.
    """

    listening: bool = key(flag, default=True)
    local: tuple[int, ...] = key(_PORTS, default=())
    remote: tuple[int, ...] = key(_PORTS, default=())
    exclude: tuple[tuple[int, int], ...] = key(each(values.port_range), default=())
    states: tuple[TcpState, ...] = key(
        _STATES, default=(TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)
    )
    limit: int = key(values.limit, default=50)
    ephemeral_after: int = key(duration_between("0s", "7d"), default=3600)
    new_per_day: int = key(values.new_per_day, default=20)
    peaks: bool = key(flag, default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Which systemd units are reported, in which states. `exclude` holds patterns of their names; `new_per_day` as of ports."""

    report: bool = key(flag, default=True)
    states: tuple[TcpState, ...] = key(_STATES, default=(TcpState.ESTABLISHED, TcpState.CLOSE_WAIT))
    exclude: tuple[str, ...] = key(each(both(text_up_to(255), printable)), default=())
    limit: int = key(values.limit, default=50)
    new_per_day: int = key(values.new_per_day, default=20)

    def excludes(self, name: str) -> bool:
        """Return whether a pattern of `exclude` is the name's."""
        return any(fnmatchcase(name, each) for each in self.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSettings(ServiceSettings):
    """Which other network namespaces are reported, in which states. They are counted through the privileged helper."""

    report: bool = key(flag, default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """Where samples are queued, and how long: s of age, bytes on the disk.

    `keep_rejected` is for how many s the samples of a host stay queued whose values are all rejected.
    """

    path: str = key(both(text_up_to(4000), printable, values.spool_path), default_factory=values.default_spool)
    max_age: int = key(duration_between("1m", "365d"), default=7 * 86400)
    max_size: int = key(values.size, default=256 * values.MIB)
    keep_rejected: int = key(duration_between("0s", "7d"), default=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoregistration:
    """What Zabbix's registration actions are told about this host."""

    metadata: str = key(  # as long as every version takes it
        both(text_up_to(255), printable),
        missing="expected what a registration action looks for, such as Linux tcp-status-sender",
    )


def _destinations(value: object) -> tuple[Destination, ...]:
    """Return destinations, each with a name of its own. Raises ValueError as a check does."""
    destinations: tuple[Destination, ...] = both(each(partial(section.read, Destination)), values.filled)(value)
    names = [destination.name for destination in destinations]
    for name in names:
        if names.count(name) > 1:
            raise section.CompleteError(f"two are named {name!r}; expected a `name` of its own for each")
    return destinations


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration; every key has a default.

    With `agent_config`, `host` and `destinations` are that file's where they do not stand beside it; `warnings` are lines
    about what is allowed and seldom wanted, and what that file says that is not supported: `FILE: key: what is, and what follows`.
    """

    host: str = key(both(values.text, values.host_name), default_factory=socket.gethostname)
    interval: int = key(duration_between("1s", "1h"), default=30)
    destinations: tuple[Destination, ...] = key(_destinations, default=(Destination(nodes=(Node.parse("127.0.0.1"),)),))
    agent_config: Path | None = key(values.absolute, default=None)  # can be left out, not left empty
    autoregistration: Autoregistration | None = key(partial(section.read, Autoregistration), default=None)
    ports: PortSettings = key(partial(section.read, PortSettings), default=PortSettings())
    services: ServiceSettings = key(partial(section.read, ServiceSettings), default=ServiceSettings())
    counters: bool = key(flag, default=True)
    name_destinations: bool = key(flag, default=True)
    namespaces: NamespaceSettings = key(partial(section.read, NamespaceSettings), default=NamespaceSettings())
    spool: SpoolSettings = key(partial(section.read, SpoolSettings), default_factory=SpoolSettings)
    log_level: str = key(values.word("debug", "info", "warning", "error"), default="info")
    warnings: tuple[str, ...] = field(default=(), compare=False)


def load(path: Path | None = None) -> Settings:
    """Return the settings in `path`; without it those in DEFAULT_PATH, or the defaults where that file does not exist.

    Raises ConfigError with every problem found.
    """
    source = path or DEFAULT_PATH
    if path is None and _is_missing(DEFAULT_PATH):
        return _checked({}, "defaults", [])
    data, duplicates = yaml_file.read(source)
    found = [f"{source}: {problem}" for problem in duplicates]
    return _checked(data, str(source), found, _agent_config(data))


def sources(path: Path | None = None) -> tuple[Path, ...]:
    """Return the files and directories that `load` reads. Raises ConfigError where our own file cannot be read."""
    source = path or DEFAULT_PATH
    if path is None and _is_missing(DEFAULT_PATH):
        return ()
    agent = _agent_config(yaml_file.read(source)[0])
    return (source, *(agent.file.sources if agent else ()))


def _agent_config(data: Any) -> AgentConfig | None:
    """Return what the file says that is named in `data`, if one is; a name that cannot be one is for the check to find."""
    try:
        path = values.absolute(data["agent_config"])
    except (ValueError, KeyError, TypeError):
        return None
    return AgentConfig.read(path, without=data)


def _is_missing(path: Path) -> bool:
    """Return whether it is certain that there is no such file: one that this user cannot see is not missing."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _checked(data: Any, source: str, found: list[str], agent: AgentConfig | None = None) -> Settings:
    if isinstance(data, dict):
        data = {"host": socket.gethostname(), **(agent.settings if agent else {}), **data}
    found += agent.problems if agent else []
    try:
        settings = section.read(Settings, data)
    except section.InsideError as error:
        found += [f"{_place(location, source, agent)}: {problem}" for location, problem in error.problems]
    except ValueError as error:
        found.append(f"{source}: the file: is {_kind(data)}; {error}")
    if found:
        raise ConfigError(list(dict.fromkeys(found)))  # what an agent's file has once is that of each destination
    warnings = agent.warnings if agent else []
    if settings.interval > _LONGEST_JUDGED_S:
        warnings = [*warnings, f"{_place(['interval'], source, agent)}: {_TOO_LONG}"]
    return replace(settings, warnings=tuple(warnings))


def _kind(data: Any) -> str:
    """Return what a whole file is, without what is in it: that may be a key, given in place of the configuration."""
    return "a text" if isinstance(data, str) else "a number" if isinstance(data, (int, float)) else section.shown(data)


def _place(location: Sequence[str | int], source: str, agent: AgentConfig | None) -> str:
    return (agent and agent.place(location)) or f"{source}: {section.path(location)}"
