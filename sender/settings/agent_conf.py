"""zabbix_agentd.conf and zabbix_agent2.conf, put into the words of our own configuration.

Knows what each parameter means here, and what is not supported. What a value must be like is for schema.py to say, about
this file as about its own. Of key files only the names are read. What cannot be known for sure is a problem: nothing is
sent to another server, as another host or less encrypted than the agent would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sender.model import TRAPPER_PORT, Node
from sender.settings import host_item
from sender.settings.agent_file import Agent, AgentFile, agents_of
from sender.settings.section import shown
from sender.settings.values import TLS_MAY, TLS_NEEDS

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 1, 60  # ours; the agent's own ends at 30
_MAX_NAME = 64  # of a destination

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
_READ = {
    *_PARAMETERS.values(),
    "HostnameItem",
    *(parameter for each in _UNSUPPORTED.values() for parameter in each),
}
_BY_LOWER_CASE = {parameter.lower(): parameter for parameter in _READ}


@dataclass(slots=True)
class AgentConfig:
    """What an agent's file says: `settings` by keys of ours, lines for what is wrong, and for what is not supported."""

    file: AgentFile
    settings: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, *, without: Container[str] = ()) -> AgentConfig:
        """Return what `path` and the files that it includes say, without the settings in `without`. Raises nothing."""
        agents = agents_of(path)
        found = cls(AgentFile.read(path, Agent.AGENTD if Agent.AGENTD in agents else Agent.AGENT2))
        found.problems += found.file.problems
        if not found.file.is_whole:
            return found
        found._find_misspelt()
        if len(agents) > 1:
            found._compare(AgentFile.read(path, Agent.AGENT2))
        if "host" not in without:
            found._find_host()
        if "destinations" not in without:
            found._find_destinations()
        else:
            found._say_what_is_unused()
        return found

    def place(self, location: Sequence[str | int]) -> str | None:
        """Return the `FILE: Parameter` from which the key at `location` was made; None where it was not made here."""
        if not location or location[0] not in self.settings:
            return None
        parameter = next(_PARAMETERS[str(part)] for part in reversed(location) if part in _PARAMETERS)
        return self._at(parameter)

    def _at(self, parameter: str) -> str:
        entry = self.file.entries.get(parameter)
        return f"{entry.file if entry else self.file.path}: {parameter}"

    def _get(self, parameter: str) -> str | None:
        """Return what it is set to, None where it is absent. For agent 2 an empty one is absent, unless it is a number."""
        entry = self.file.entries.get(parameter)
        if not entry or entry.unknown:
            return None
        is_absent = self.file.agent is Agent.AGENT2 and not entry.value and parameter != "Timeout"
        return None if is_absent else entry.value

    def _is_unknown(self, parameter: str) -> bool:
        """Return whether it is set to what cannot be told, and note that as a problem."""
        entry = self.file.entries.get(parameter)
        if not entry or not entry.unknown:
            return False
        self.problems.append(f"{self._at(parameter)}: {entry.unknown}")
        return True

    def _find_misspelt(self) -> None:
        """Note what is a parameter but for the case of its letters, with which neither agent starts."""
        for name in self.file.entries:
            meant = _BY_LOWER_CASE.get(name.lower(), name)
            if meant != name:
                self.problems.append(f"{self._at(name)}: unknown parameter; did you mean {meant}?")

    def _compare(self, other: AgentFile) -> None:
        """Note where a file that may be either agent's says one thing to zabbix_agentd, and another to `other`."""
        if self.problems or other.problems:  # which the agent that runs with it has not
            return
        if differ := sorted(name for name in _READ if self.file.value(name) != other.value(name)):
            self.problems.append(
                f"{self.file.path}: zabbix_agentd and zabbix_agent2 find different values in it for {', '.join(differ)}; expected "
                "a file name with agentd or agent2 in it, which says whose ways count"
            )

    def _find_host(self) -> None:
        """Take the first name in Hostname; without it, what HostnameItem gives; without both, this machine's host name."""
        if self._is_unknown("Hostname"):
            return
        names = self._get("Hostname")
        if names is not None:
            self.settings["host"], *others = (name.strip(" \t") for name in names.split(","))
            if others:
                first = shown(self.settings["host"])
                self.warnings.append(
                    f"{self._at('Hostname')}: only {first} is used, not {', '.join(map(shown, others))}"
                )
        elif not self._is_unknown("HostnameItem") and (item := self._get("HostnameItem")) is not None:
            try:
                self.settings["host"] = host_item.host_name(item)
            except ValueError as error:
                self.problems.append(f"{self._at('HostnameItem')}: is {shown(item)}, {error}")

    def _find_destinations(self) -> None:
        """Make a destination of each entry of ServerActive, all with the same other settings, as the agent has them."""
        common = self._common()
        if self._is_unknown("ServerActive"):
            return
        clusters = [entry.strip(" \t") for entry in (self._get("ServerActive") or "").split(",")]
        if clusters == [""]:
            self.problems.append(f"{self._at('ServerActive')}: {_NO_SERVER}")
            return
        nodes = [[node.strip(" \t") for node in cluster.split(";")] for cluster in clusters]
        names = [_name(number, first) for number, (first, *_) in enumerate(nodes, start=1)] if nodes[1:] else ["main"]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            self.problems.append(f"{self._at('ServerActive')}: has {', '.join(twice)} twice; expected each server once")
            return
        self.settings["destinations"] = [
            {"name": name, "nodes": each, **common} for name, each in zip(names, nodes, strict=True)
        ]

    def _say_what_is_unused(self) -> None:
        """Warn where `destinations` stands in our own file, so that the agent's encryption is not in force."""
        unused = [name for name in (*_OF_DESTINATIONS, *_TLS.values()) if self.file.value(name)]
        if unused:
            self.warnings.append(
                f"{self.file.path}: {', '.join(unused)}: not used, because `destinations` stands in our own file"
            )

    def _common(self) -> dict[str, Any]:
        for parameter in ("Timeout", "SourceIP", "TLSConnect"):
            self._is_unknown(parameter)
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
        unknown = [_TLS[key] for key in (*needed, *optional) if self._is_unknown(_TLS[key])]
        missing = [_TLS[key] for key in needed if not self._get(_TLS[key]) and _TLS[key] not in unknown]
        self.problems += [f"{self._at(each)}: missing (required with TLSConnect={connect})" for each in missing]
        for parameter, so in _UNSUPPORTED.get(connect, {}).items():
            if self._get(parameter):
                self.warnings.append(f"{self._at(parameter)}: is not supported; {so}")
        values = {key: value for key in (*needed, *optional) if (value := self._get(_TLS[key]))}
        relative = [_TLS[key] for key, value in values.items() if key.endswith("_file") and not value.startswith("/")]
        self.problems += [f"{self._at(each)}: is not an absolute path; expected one" for each in relative]
        return {} if unknown or missing or relative else {"connect": connect, **values}


_NO_SERVER = "missing; expected the servers or proxies to send to, or `destinations` in our own file"


def _name(number: int, first: str) -> str:
    """Return a destination's name, made from its first node."""
    try:
        node = Node.parse(first)
    except ValueError:  # which is said of the node
        return f"server {number}"
    name = node.address if node.port == TRAPPER_PORT else str(node)
    return name if len(name) <= _MAX_NAME else f"server {number}"
