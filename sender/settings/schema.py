"""What can be configured, as frozen settings, or every problem at once. Knows nothing of what is done with them."""

from __future__ import annotations

import difflib
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from sender.errors import ConfigError
from sender.model import TcpState
from sender.settings import values as fields
from sender.settings import yaml_file
from sender.settings.agent_conf import AgentConfig
from sender.settings.values import Frozen, Node

DEFAULT_PATH = Path("/etc/tcp-status-sender/config.yaml")

_LIST = Field(strict=False)  # a YAML list is to become a tuple; what is in it is still taken strictly
_FILLED = AfterValidator(fields.filled)


class Tls(Frozen):
    """How a destination is spoken to, in the words of zabbix_agentd.conf's TLSConnect, TLSPSKIdentity and so on.

    Files are absolute paths, or names in systemd's credentials directory (LoadCredential=, systemd.exec(5)).
    """

    connect: Literal["unencrypted", "psk", "cert"] = "unencrypted"
    psk_identity: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(fields.printable)] | None = None
    psk_file: Annotated[Path, BeforeValidator(fields.key_file)] | None = None
    ca_file: Annotated[Path, BeforeValidator(fields.key_file)] | None = None
    cert_file: Annotated[Path, BeforeValidator(fields.key_file)] | None = None
    key_file: Annotated[Path, BeforeValidator(fields.key_file)] | None = None
    server_cert_issuer: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    server_cert_subject: Annotated[str, Field(min_length=1, max_length=1024)] | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Tls:
        needed = _TLS_NEEDS[self.connect]
        given = {name for name in type(self).model_fields if name != "connect" and getattr(self, name) is not None}
        if missing := [name for name in needed if name not in given]:
            raise ValueError(f"expected also {', '.join(missing)}, with connect: {self.connect}")
        if useless := sorted(given - set(needed) - set(_TLS_MAY[self.connect])):
            raise ValueError(f"expected no {', '.join(useless)}, which have no effect with connect: {self.connect}")
        return self


_TLS_NEEDS = {
    "unencrypted": (),
    "psk": ("psk_identity", "psk_file"),
    "cert": ("ca_file", "cert_file", "key_file"),
}
_TLS_MAY = {"unencrypted": (), "psk": (), "cert": ("server_cert_issuer", "server_cert_subject")}


class Destination(Frozen):
    """One Zabbix server or proxy, or one HA cluster of them: `nodes` in the order in which to try them."""

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(fields.printable)] = "main"
    nodes: Annotated[tuple[Annotated[Node, BeforeValidator(Node.parse)], ...], _LIST, _FILLED]
    timeout: Annotated[int, fields.between("1s", "1m")] = 5
    source_ip: Annotated[str, BeforeValidator(fields.address)] | None = None
    compression: bool = True
    tls: Tls = Tls()

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.nodes))})"


class PortSettings(Frozen):
    """Which ports are reported, in which states. `exclude` holds ranges, first and last port."""

    listening: bool = True
    local: Annotated[
        tuple[Annotated[int, BeforeValidator(fields.port)], ...], _LIST, AfterValidator(fields.once_each)
    ] = ()
    remote: Annotated[
        tuple[Annotated[int, BeforeValidator(fields.port)], ...], _LIST, AfterValidator(fields.once_each)
    ] = ()
    exclude: Annotated[tuple[Annotated[tuple[int, int], BeforeValidator(fields.port_range)], ...], _LIST] = ()
    states: Annotated[
        tuple[Annotated[TcpState, BeforeValidator(fields.state)], ...], _LIST, _FILLED, AfterValidator(fields.once_each)
    ] = (TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)
    limit: Annotated[int, BeforeValidator(fields.limit)] = 50


class SpoolSettings(Frozen):
    """Where samples wait, and how long: s of age, bytes on the disk."""

    path: Annotated[str, AfterValidator(fields.printable), AfterValidator(fields.spool_path)] = Field(
        default_factory=fields.default_spool, min_length=1, max_length=4000
    )
    max_age: Annotated[int, fields.between("1m", "365d")] = 7 * 86400
    max_size: Annotated[int, BeforeValidator(fields.size)] = 256 * fields.MIB


class Autoregistration(Frozen):
    """What Zabbix's registration actions are told about this host; 255 characters are what every version takes."""

    metadata: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(fields.printable)]


class Settings(Frozen):
    """The whole configuration; every key has a default.

    With `agent_config`, `host` and `destinations` are that file's where they do not stand beside it; `remarks` are lines
    about what it says that is not honoured.
    """

    host: str = Field(default_factory=socket.gethostname, max_length=fields.MAX_HOST_NAME, validate_default=True)
    interval: Annotated[int, fields.between("1s", "1h")] = 30
    destinations: Annotated[tuple[Destination, ...], _LIST, _FILLED] = (
        Destination.model_validate({"nodes": ["127.0.0.1"]}),
    )
    agent_config: Annotated[Path | None, BeforeValidator(fields.absolute)] = None
    autoregistration: Annotated[Autoregistration | None, BeforeValidator(fields.given)] = None
    ports: PortSettings = PortSettings()
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    _remarks: tuple[str, ...] = PrivateAttr(())

    @property
    def remarks(self) -> tuple[str, ...]:
        """As in the class's description: `FILE: Parameter: what is not honoured, and what follows`."""
        return self._remarks

    @field_validator("host")
    @classmethod
    def _is_host_name(cls, host: str) -> str:
        return fields.host_name(host)

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
    problems = [f"{source}: {problem}" for problem in duplicates]
    return _checked(data, str(source), problems, _agent_config(data))


def _agent_config(data: Any) -> AgentConfig | None:
    """What the file says that is named in `data`, if one is; a name that cannot be one is for the check to find."""
    try:
        return AgentConfig.read(fields.absolute(data["agent_config"]), without=data)
    except (ValueError, KeyError, TypeError):
        return None


def _is_missing(path: Path) -> bool:
    """Whether it is certain that there is no such file: one that this user cannot see is not missing."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _checked(data: Any, source: str, problems: list[str], agent: AgentConfig | None = None) -> Settings:
    if agent:
        data = {**agent.settings, **data}
        problems += agent.problems
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        problems += [_problem(detail, source, agent) for detail in error.errors()]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))  # what an agent's file has once is that of each destination
    settings._remarks = tuple(agent.remarks) if agent else ()  # noqa: SLF001  ours, and not a key for anybody else
    return settings


_MODELS: dict[str, type[Frozen]] = {
    "autoregistration": Autoregistration,
    "destinations": Destination,
    "ports": PortSettings,
    "spool": SpoolSettings,
    "tls": Tls,
}
_SECRET = {"psk_file", "key_file"}  # somebody may have put the key itself in the place of its file
_MISSING = {"metadata": "what a registration action looks for, such as Linux tcp-status-sender"}
_EXPECTED = {
    "bool_type": "expected true or false",
    "model_type": "expected keys with values, such as `name: main`",
    "string_type": "expected text, in quotes where YAML takes it for something else",
    "tuple_type": "expected a list, such as [a, b]",
}


def _problem(detail: Any, source: str, agent: AgentConfig | None) -> str:
    """One line for one of pydantic's error details: `FILE: path.to.key: what is wrong, and what is expected`."""
    location, kind, message = detail["loc"], detail["type"], detail["msg"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    place = (agent and agent.place(location)) or f"{source}: {path or 'the file'}"
    if kind in ("extra_forbidden", "invalid_key"):
        owners = [part for part in location[:-1] if isinstance(part, str)]
        model = _MODELS[owners[-1]] if owners else Settings
        near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(model.model_fields)}"
        return f"{place}: unknown key; {hint}"
    if kind == "missing":
        return f"{place}: is missing; expected {_MISSING.get(str(location[-1]), 'for every destination')}"
    expected = _EXPECTED.get(kind) or message.removeprefix("Value error, ").replace("Input should be", "expected")
    found = "not a path" if location and location[-1] in _SECRET else fields.shown(detail["input"])
    return f"{place}: is {found}; {expected}"
