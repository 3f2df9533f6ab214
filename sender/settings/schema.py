"""What can be configured, as frozen settings, or every problem at once. Knows nothing of what is done with them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, field_validator, model_validator

from sender.errors import ConfigError
from sender.model import TcpState
from sender.settings import problems, values, yaml_file
from sender.settings.agent_conf import AgentConfig
from sender.settings.fields import (
    AbsolutePath,
    Address,
    DistinguishedName,
    EphemeralAfter,
    Frozen,
    HostName,
    Identity,
    Interval,
    KeepRejected,
    KeyFile,
    Limit,
    MaxAge,
    Metadata,
    Name,
    NewPerDay,
    NodeList,
    PatternList,
    PortList,
    PortRangeList,
    Size,
    SpoolPath,
    StateList,
    Timeout,
)
from sender.settings.files import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Tls(Frozen):
    """How a destination is spoken to, in the words of zabbix_agentd.conf's TLSConnect, TLSPSKIdentity and so on.

    Files are absolute paths, or names in systemd's credentials directory (LoadCredential=, systemd.exec(5)).
    """

    connect: Literal["unencrypted", "psk", "cert"] = "unencrypted"
    psk_identity: Identity | None = None
    psk_file: KeyFile | None = None
    ca_file: KeyFile | None = None
    cert_file: KeyFile | None = None
    key_file: KeyFile | None = None
    server_cert_issuer: DistinguishedName | None = None
    server_cert_subject: DistinguishedName | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Tls:
        needed, allowed = values.TLS_NEEDS[self.connect], values.TLS_MAY[self.connect]
        given = {name for name in type(self).model_fields if name != "connect" and getattr(self, name) is not None}
        if missing := [name for name in needed if name not in given]:
            verb = "is" if len(missing) == 1 else "are"
            raise values.CompleteError(f"{', '.join(missing)} {verb} missing (required with connect: {self.connect})")
        if useless := sorted(given.difference(needed, allowed)):
            verb = "has" if len(useless) == 1 else "have"
            raise values.CompleteError(
                f"{', '.join(useless)} {verb} no effect with connect: {self.connect}; expected another `connect`, or no such key"
            )
        return self


class Destination(Frozen):
    """One Zabbix server or proxy, or one HA cluster of them: `nodes` in the order in which to try them."""

    name: Name = "main"
    nodes: NodeList
    timeout: Timeout = 5
    source_ip: Address | None = None
    compression: bool = True
    tls: Tls = Tls()

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.nodes))})"


class PortSettings(Frozen):
    """Which ports are reported, in which states. `exclude` holds ranges, first and last port.

    `peaks`: look at accept queues every second. `ephemeral_after` is for how many s a port of the kernel's ephemeral range must be listened on before it is reported,
    `new_per_day` how many new ports are in any 24 hours.
    """

    listening: bool = True
    local: PortList = ()
    remote: PortList = ()
    exclude: PortRangeList = ()
    states: StateList = (TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)
    limit: Limit = 50
    ephemeral_after: EphemeralAfter = 3600
    new_per_day: NewPerDay = 20
    peaks: bool = True


class ServiceSettings(Frozen):
    """Which systemd units are reported, in which states. `exclude` holds patterns of their names; `new_per_day` as of ports."""

    report: bool = True
    states: StateList = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
    exclude: PatternList = ()
    limit: Limit = 50
    new_per_day: NewPerDay = 20


class NamespaceSettings(ServiceSettings):
    """Which other network namespaces are reported, in which states. They are counted through the privileged helper."""

    report: bool = False


class SpoolSettings(Frozen):
    """Where samples are queued, and how long: s of age, bytes on the disk.

    `keep_rejected` is for how many s the samples of a host stay queued whose values are all rejected.
    """

    path: SpoolPath = Field(default_factory=values.default_spool)
    max_age: MaxAge = 7 * 86400
    max_size: Size = 256 * values.MIB
    keep_rejected: KeepRejected = 3600


class Autoregistration(Frozen):
    """What Zabbix's registration actions are told about this host."""

    metadata: Metadata


class Settings(Frozen):
    """The whole configuration; every key has a default.

    With `agent_config`, `host` and `destinations` are that file's where they do not stand beside it; `warnings` are lines
    about what it says that is not supported: `FILE: Parameter: what is not, and what follows`.
    """

    host: HostName = Field(default_factory=socket.gethostname, validate_default=True)
    interval: Interval = 30
    destinations: Annotated[tuple[Destination, ...], Field(strict=False)] = (
        Destination.model_validate({"nodes": ["127.0.0.1"]}),
    )
    agent_config: AbsolutePath = None
    autoregistration: Annotated[Autoregistration | None, BeforeValidator(values.not_empty)] = None
    ports: PortSettings = PortSettings()
    services: ServiceSettings = ServiceSettings()
    counters: bool = True
    name_destinations: bool = True
    namespaces: NamespaceSettings = NamespaceSettings()
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    _warnings: tuple[str, ...] = PrivateAttr(())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the lines of the class's description."""
        return self._warnings

    @field_validator("destinations")
    @classmethod
    def _have_names_of_their_own(cls, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
        names = [destination.name for destination in values.filled(destinations)]
        for name in names:
            if names.count(name) > 1:
                raise values.CompleteError(f"two are named {name!r}; expected a `name` of its own for each")
        return destinations


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
        return AgentConfig.read(values.absolute(data["agent_config"]), without=data)
    except (ValueError, KeyError, TypeError):
        return None


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
    if agent:
        data = {**agent.settings, **data}
        found += agent.problems
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        found += [
            f"{_place(detail['loc'], source, agent)}: {problems.problem(detail, _keys)}" for detail in error.errors()
        ]
    if found:
        raise ConfigError(list(dict.fromkeys(found)))  # what an agent's file has once is that of each destination
    settings._warnings = tuple(agent.warnings) if agent else ()  # noqa: SLF001  ours, and not a key for anybody else
    return settings


_SECTIONS: dict[str, type[Frozen]] = {
    "autoregistration": Autoregistration,
    "destinations": Destination,
    "ports": PortSettings,
    "services": ServiceSettings,
    "namespaces": NamespaceSettings,
    "spool": SpoolSettings,
    "tls": Tls,
}


def _place(location: Sequence[str | int], source: str, agent: AgentConfig | None) -> str:
    return (agent and agent.place(location)) or f"{source}: {problems.path(location) or 'the file'}"


def _keys(location: Sequence[str | int]) -> list[str]:
    """Return the keys that can stand where `location` does."""
    owners = [part for part in location[:-1] if isinstance(part, str)]
    return list((_SECTIONS[owners[-1]] if owners else Settings).model_fields)
