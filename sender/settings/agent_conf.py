"""zabbix_agentd.conf and zabbix_agent2.conf, read as the agents read them and put into the words of our own configuration.

Knows the files' format, what each parameter means here, and what is not supported. What a value must be like is for
schema.py to say, about this file as about its own. Of key files only the names are read.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sender.model import TRAPPER_PORT, Node
from sender.settings import files
from sender.settings.values import TLS_MAY, TLS_NEEDS, shown

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

_MAX_DEPTH = 10  # files within files; MAX_INCLUDE_LEVEL, src/libs/zbxconf/cfg.c
_BLANK = b" \t\r\n"  # what the agent strips, ZBX_CFG_RTRIM_CHARS
_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 1, 60  # ours; the agent's own ends at 30
_MAX_NAME = 64  # of a destination
_MAX_QUOTE = 1000  # of a path, in a problem

_TLS = {
    "psk_identity": "TLSPSKIdentity",
    "psk_file": "TLSPSKFile",
    "ca_file": "TLSCAFile",
    "cert_file": "TLSCertFile",
    "key_file": "TLSKeyFile",
    "server_cert_issuer": "TLSServerCertIssuer",
    "server_cert_subject": "TLSServerCertSubject",
}
_REVOKED = "a server's certificate is accepted even if it was revoked"
_CIPHERS = "the ciphers are those of this program"
# TLSCipherAll and its like are about connections that the agent takes, and this program makes them only.
_UNSUPPORTED = {
    "psk": {"TLSCipherPSK": _CIPHERS, "TLSCipherPSK13": _CIPHERS},
    "cert": {"TLSCRLFile": _REVOKED, "TLSCipherCert": _CIPHERS, "TLSCipherCert13": _CIPHERS},
}
_OF_DESTINATIONS = ("ServerActive", "SourceIP", "Timeout", "TLSConnect")
# Which parameter a key of ours is made from.
_PARAMETERS = {
    "host": "Hostname",
    "destinations": "ServerActive",
    "timeout": "Timeout",
    "source_ip": "SourceIP",
    "connect": "TLSConnect",
    "tls": "TLSConnect",
    **_TLS,
}


class _Entry(NamedTuple):
    value: str
    file: Path


@dataclass(slots=True)
class AgentConfig:
    """What an agent's file says: `settings` by keys of ours, lines for what is wrong, and for what is not supported."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _is_whole: bool = True  # no file of it is missing
    _is_circle: bool = False

    @classmethod
    def read(cls, path: Path, *, without: Container[str] = ()) -> AgentConfig:
        """Return what `path` and the files that it includes say, without the settings in `without`. Raises nothing."""
        found = cls(path)
        found._take_in(path, depth=1)
        if found._is_whole and "host" not in without:
            found._find_host()
        if found._is_whole and "destinations" not in without:
            found._find_destinations()
        elif found._is_whole:
            found._say_what_is_unused()
        return found

    def place(self, location: Sequence[str | int]) -> str | None:
        """Return the `FILE: Parameter` from which the key at `location` was made; None where it was not made here."""
        if not location or location[0] not in self.settings:
            return None
        parameter = next(_PARAMETERS[str(part)] for part in reversed(location) if part in _PARAMETERS)
        return self._at(parameter)

    def _at(self, parameter: str) -> str:
        entry = self._entries.get(parameter)
        return f"{entry.file if entry else self.path}: {parameter}"

    def _get(self, parameter: str) -> str | None:
        entry = self._entries.get(parameter)
        return entry.value if entry else None

    def _take_in(self, path: Path, depth: int) -> None:
        """Read one file. Of a parameter that stands twice, the last one counts."""
        try:
            content = files.content(path)
        except OSError as error:
            self._miss(
                f"{path}: {files.why_unreadable(error)}; expected a Zabbix agent's configuration that this user can read"
            )
            return
        for number, line in enumerate(content.split(b"\n"), start=1):
            text = line.partition(b"\0")[0].strip(_BLANK)
            if not text or text.startswith(b"#"):
                continue
            try:
                name, equals, value = (part.strip(" \t") for part in text.decode().partition("="))
            except UnicodeDecodeError:
                self.problems.append(f"{path}: line {number}: is not UTF-8; expected parameter=value")
                continue
            if not equals:
                # What it says may be a key, where this is the file of one.
                self.problems.append(f"{path}: line {number}: has no =; expected parameter=value")
            elif name == "Include":
                self._include(value, depth, f"{path}: Include: is {value[:_MAX_QUOTE]!r}")
            else:
                self._entries[name] = _Entry(value, path)

    def _include(self, value: str, depth: int, where: str) -> None:
        try:
            included = list(_included(self.path.parent, value))
        except OSError as error:
            self._miss(
                f"{where}, which {files.why_unreadable(error)}; expected a file, a directory, or a directory with a pattern: *.conf"
            )
            return
        for file in included:
            if self._is_circle:
                return
            if depth == _MAX_DEPTH:
                self._is_circle = True
                self._miss(f"{where}; expected at most {_MAX_DEPTH} files within files, and none within itself")
            else:
                self._take_in(file, depth + 1)

    def _miss(self, problem: str) -> None:
        """Note a problem without which the file would be whole. What it lacks cannot be told then."""
        self._is_whole = False
        self.problems.append(problem)

    def _find_host(self) -> None:
        """Take the first name in Hostname; without it, HostnameItem counts only where it is this machine's host name."""
        names = self._get("Hostname")
        if names is not None:
            self.settings["host"], *others = (name.strip(" \t") for name in names.split(","))
            if others:
                first = shown(self.settings["host"])
                self.warnings.append(
                    f"{self._at('Hostname')}: only {first} is used, not {', '.join(map(shown, others))}"
                )
        elif (item := self._get("HostnameItem")) not in (None, "system.hostname"):
            instead = "this machine's host name is used; set Hostname, or `host` in our own file"
            self.warnings.append(f"{self._at('HostnameItem')}: {shown(item)} is not supported, {instead}")

    def _find_destinations(self) -> None:
        """Make a destination of each entry of ServerActive, all with the same other settings, as the agent has them."""
        clusters = [entry.strip(" \t") for entry in (self._get("ServerActive") or "").split(",")]
        if clusters == [""]:
            self.problems.append(f"{self._at('ServerActive')}: {_NO_SERVER}")
            return
        nodes = [[node.strip(" \t") for node in cluster.split(";")] for cluster in clusters]
        names = [_name(number, first) for number, (first, *_) in enumerate(nodes, start=1)] if nodes[1:] else ["main"]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            self.problems.append(f"{self._at('ServerActive')}: has {', '.join(twice)} twice; expected each server once")
            return
        common = self._common()
        self.settings["destinations"] = [
            {"name": name, "nodes": each, **common} for name, each in zip(names, nodes, strict=True)
        ]

    def _say_what_is_unused(self) -> None:
        """Warn where `destinations` stands in our own file, so that the agent's encryption is not in force."""
        unused = [name for name in (*_OF_DESTINATIONS, *_TLS.values()) if self._get(name)]
        if unused:
            self.warnings.append(
                f"{self.path}: {', '.join(unused)}: not used, because `destinations` stands in our own file"
            )

    def _common(self) -> dict[str, Any]:
        common: dict[str, Any] = {}
        if (timeout := self._get("Timeout")) is not None:
            is_number = re.fullmatch("[0-9]{1,9}", timeout)
            common["timeout"] = max(_MIN_TIMEOUT_S, min(int(timeout), _MAX_TIMEOUT_S)) if is_number else timeout
        if (source_ip := self._get("SourceIP")) is not None:
            common["source_ip"] = source_ip
        if tls := self._tls():
            common["tls"] = tls
        return common

    def _tls(self) -> dict[str, str]:
        """Return what TLSConnect asks for. TLSAccept asks for keys, too, but is not about connections from here."""
        connect = self._get("TLSConnect")
        if connect in (None, "unencrypted"):
            return {}
        needed, optional = TLS_NEEDS.get(connect, ()), TLS_MAY.get(connect, ())
        missing = [_TLS[key] for key in needed if not self._get(_TLS[key])]
        self.problems += [f"{self._at(each)}: missing (required with TLSConnect={connect})" for each in missing]
        for parameter, so in _UNSUPPORTED.get(connect, {}).items():
            if self._get(parameter):
                self.warnings.append(f"{self._at(parameter)}: is not supported; {so}")
        values = {key: value for key in (*needed, *optional) if (value := self._get(_TLS[key]))}
        relative = [_TLS[key] for key, value in values.items() if key.endswith("_file") and not value.startswith("/")]
        self.problems += [f"{self._at(each)}: is not an absolute path; expected one" for each in relative]
        return {} if missing or relative else {"connect": connect, **values}


_NO_SERVER = "missing; expected the servers or proxies to send to, or `destinations` in our own file"


def _included(base: Path, value: str) -> Iterator[Path]:
    """Yield the file, all files of the directory, or those whose names fit, in the directory's own order. Raises OSError."""
    path = base / value
    if "*" in str(path.parent):
        raise OSError(errno.EINVAL, "a pattern can only stand for file names")
    pattern = path.name if "*" in path.name else None
    if pattern is None and not path.is_dir():
        path.stat()
        yield path
        return
    directory = path.parent if pattern else path
    fits = re.compile(".*".join(map(re.escape, (pattern or "*").split("*"))), re.DOTALL)
    with os.scandir(directory) as found:
        yield from (directory / entry.name for entry in found if entry.is_file() and fits.fullmatch(entry.name))


def _name(number: int, first: str) -> str:
    """Return a destination's name, made from its first node."""
    try:
        node = Node.parse(first)
    except ValueError:  # which is said of the node
        return f"server {number}"
    name = node.address if node.port == TRAPPER_PORT else str(node)
    return name if len(name) <= _MAX_NAME else f"server {number}"
