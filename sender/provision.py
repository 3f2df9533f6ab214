"""What Zabbix needs before a host can report: the template, a group, the host itself, its key, its proxy.

Adds what is missing and takes nothing away. Knows the API's objects from 6.0 to 7.x, and no network.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sender import template
from sender.errors import ApiError, ApiRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sender.credentials import Psk

DEFAULT_GROUP = "Linux servers"  # which every Zabbix has from the beginning

_UNENCRYPTED, _PSK = 1, 2  # bits of tls_accept, and values of tls_connect: HOST_ENCRYPTION_*, include/defines.inc.php
_PROXY, _PROXY_GROUP = 1, 2  # values of monitored_by, from 7.0 on: ZBX_MONITORED_BY_*
# What the web interface ticks by default, of what the template holds, and without deleting, which it ticks from 6.4 on.
_IMPORTED = ("templates", "valueMaps", "templateDashboards", "items", "discoveryRules", "triggers", "graphs")
_NOT_IMPORTED = ("templateLinkage", "httptests")
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be there in the end. A host that exists stays in its groups; a new one without any gets the default."""

    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    proxy: str | None = None
    psks: Mapping[str, Psk] = field(default_factory=dict)
    is_template_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was done, or could not be."""

    text: str
    is_failure: bool = False


class Provision:
    """Of one Zabbix; `call` is its API. With `is_dry`, what would be done is said, and nothing is."""

    def __init__(
        self, call: Callable[[str, Any], Any], version: tuple[int, ...], wanted: Wanted, *, is_dry: bool = False
    ) -> None:
        self._call = call
        self._version = version
        self._wanted = wanted
        self._is_dry = is_dry
        self._tally = {"created": 0, "changed": 0, "as wanted": 0, "failed": 0}
        self._names_of_groups = ("host_groups", "hostgroups", "selectHostGroups")
        if version < (6, 2):  # where templates are in groups of hosts
            self._names_of_groups = ("groups", "groups", "selectGroups")

    def lines(self) -> Iterator[Line]:
        """Do it, and say so line by line. A host that is refused does not stop the others."""
        if not self._wanted.is_template_kept:
            yield Line(text=f"template {template.NAME!r}: {self._import()}")
        if self._wanted.hosts:
            yield from self._hosts()
        if self._is_dry:
            yield Line(text="dry run: nothing was changed")

    def _do(self, method: str, params: Any) -> Any:
        """As `call`, of what changes something."""
        return {} if self._is_dry else self._call(method, params)

    def _would_be(self, what: str) -> str:
        return f"would be {what}" if self._is_dry else what

    def _import(self) -> str:
        source = {"format": "xml", "source": template.text("6.0"), "rules": self._rules()}
        compared = self._call("configuration.importcompare", source)
        if not (changes := list(_changes(compared))):
            return "nothing to do"
        self._do("configuration.import", source)
        is_new = isinstance(compared, dict) and "added" in compared.get("templates", {})
        return self._would_be("imported" if is_new else f"updated: {_few(changes)}")

    def _rules(self) -> dict[str, dict[str, bool]]:
        """Groups are asked for only where they are missing: nobody but a Super admin may ask (from 7.0 on)."""
        kind, name = ("hostgroup", "groups") if self._version < (6, 2) else ("templategroup", "template_groups")
        found = self._call(f"{kind}.get", {"output": ["groupid"], "filter": {"name": [template.GROUP]}})
        rules = {rule: {"createMissing": True, "updateExisting": True} for rule in _IMPORTED}
        rules |= {rule: {"createMissing": False} for rule in _NOT_IMPORTED}  # left out, they break a comparison in 6.0
        return rules | {name: {"createMissing": not found}}

    def _hosts(self) -> Iterator[Line]:
        carriers = self._carriers()
        monitored = self._monitored()
        found = self._found(monitored)
        names = self._wanted.groups
        if not names and len(found) < len(self._wanted.hosts):
            names = (DEFAULT_GROUP,)
        groups: dict[str, str] = {}
        for name in names:
            groups[name], is_new = self._group(name)
            if is_new:
                yield Line(text=f"group {name!r}: {self._would_be('created')}")
        for name in self._wanted.hosts:
            try:
                if host := found.get(name):
                    line = self._complete(host, carriers, groups if self._wanted.groups else {}, monitored)
                else:
                    line = self._create(name, carriers, groups, monitored)
            except ApiRefusedError as error:
                self._tally["failed"] += 1
                yield Line(text=f"host {name!r}: {error}", is_failure=True)
            else:
                yield Line(text=f"host {name!r}: {line}")
        if len(self._wanted.hosts) > 1:
            yield Line(text=f"{len(self._wanted.hosts)} hosts: {self._summary()}")

    def _summary(self) -> str:
        words = {what: self._would_be(what) for what in ("created", "changed")}
        return ", ".join(f"{count} {words.get(what, what)}" for what, count in self._tally.items() if count)

    def _carriers(self) -> list[str]:
        """The ids of our template, and of all templates that it is linked to, by which a host may have it too."""
        ids = [found["templateid"] for found in self._templates({"filter": {"host": [template.NAME]}})]
        if not ids and not self._is_dry:
            raise ApiError(
                f"there is no template {template.NAME!r} that this user may read; import it (without --keep-template)"
            )
        new = ids
        while new:
            children = [found["templateid"] for found in self._templates({"parentTemplateids": new})]
            new = [child for child in children if child not in ids]
            ids = ids + new
        return ids

    def _templates(self, which: dict[str, Any]) -> Any:
        return self._call("template.get", {"output": ["templateid"], **which})

    def _monitored(self) -> dict[str, Any]:
        """The properties of a host that say through which proxy it reports; none if that is not to be changed."""
        name = self._wanted.proxy
        if name is None:
            return {}
        if self._version < (7, 0):
            if found := self._call("proxy.get", {"output": ["proxyid"], "filter": {"host": [name]}}):
                return {"proxy_hostid": found[0]["proxyid"]}
        elif found := self._call("proxy.get", {"output": ["proxyid"], "filter": {"name": [name]}}):
            return {"monitored_by": _PROXY, "proxyid": found[0]["proxyid"]}
        elif found := self._call("proxygroup.get", {"output": ["proxy_groupid"], "filter": {"name": [name]}}):
            return {"monitored_by": _PROXY_GROUP, "proxy_groupid": found[0]["proxy_groupid"]}
        raise ApiError(f"there is no proxy {name!r} that this user may read (case matters)")

    def _found(self, monitored: dict[str, Any]) -> dict[str, Any]:
        """Those of the hosts that exist, by name."""
        _, key, select = self._names_of_groups
        query = {
            "output": ["host", "tls_accept", "tls_connect", *monitored],
            "filter": {"host": list(self._wanted.hosts)},
            "selectParentTemplates": ["templateid"],
            select: ["name"],
        }
        return {host["host"]: {**host, "groups": host[key]} for host in self._call("host.get", query)}

    def _group(self, name: str) -> tuple[str, bool]:
        """Its id, and whether it had to be made."""
        if found := self._call("hostgroup.get", {"output": ["groupid"], "filter": {"name": [name]}}):
            return found[0]["groupid"], False
        return self._do("hostgroup.create", {"name": name}).get("groupids", [""])[0], True

    def _create(self, name: str, carriers: list[str], groups: dict[str, str], monitored: dict[str, Any]) -> str:
        psk = self._wanted.psks.get(name)
        encryption = {"tls_connect": _PSK, "tls_accept": _PSK, **_secret(psk)} if psk else {}
        host = {
            "host": name,
            "groups": [{"groupid": group} for group in groups.values()],
            "templates": [{"templateid": ours} for ours in carriers[:1]],
            **encryption,
            **monitored,
        }
        self._do("host.create", host)
        self._tally["created"] += 1
        parts = [f"in group {', '.join(map(repr, groups))}", "with the template"]
        parts += [f"only with PSK {psk.identity!r}"] if psk else []
        parts += [f"behind {self._wanted.proxy!r}"] if monitored else []
        return self._would_be(f"created {', '.join(parts)}")

    def _complete(self, host: Any, carriers: list[str], groups: dict[str, str], monitored: dict[str, Any]) -> str:
        links, linked = _missing_links(host, carriers, groups)
        properties, changed = self._missing_properties(host, monitored)
        if properties:
            self._do("host.update", {"hostid": host["hostid"], **properties})
        if links:  # by host.massadd, which keeps those that are there
            self._do("host.massadd", {"hosts": [{"hostid": host["hostid"]}], **links})
        done = linked + changed
        self._tally["changed" if done else "as wanted"] += 1
        return self._would_be(f"changed: {', '.join(done)}") if done else "nothing to do"

    def _missing_properties(self, host: Any, monitored: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        properties: dict[str, Any] = {}
        done = []
        psk = self._wanted.psks.get(host["host"])
        if psk and not self._has(host, psk):
            accepted = int(host["tls_accept"]) | _PSK  # what an agent on the same host uses stays
            properties |= {"tls_accept": accepted, **_secret(psk)}
            also = " (it still accepts unencrypted values, too)" if accepted & _UNENCRYPTED else ""
            done.append(f"PSK {psk.identity!r} set{also}")
        if any(str(host[name]) != str(value) for name, value in monitored.items()):
            properties |= monitored
            done.append(f"put behind {self._wanted.proxy!r}")
        return properties, done

    def _has(self, host: Any, psk: Psk) -> bool:
        """Whether this is the host's key already. The API tells no keys, but finds hosts by them.

        A version that ignored the filter would also find the host by a key that nobody has.
        """
        if not int(host["tls_accept"]) & _PSK:
            return False

        def finds(key: str) -> bool:
            which = {"hostid": host["hostid"], "tls_psk_identity": psk.identity, "tls_psk": key}
            return bool(self._call("host.get", {"output": ["hostid"], "hostids": host["hostid"], "filter": which}))

        return finds(psk.key) and not finds(secrets.token_hex())


def _missing_links(host: Any, carriers: list[str], groups: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The template and the groups that `host` lacks, as host.massadd takes them, and in words."""
    links, done = {}, []
    if not {linked["templateid"] for linked in host["parentTemplates"]} & set(carriers):
        links["templates"] = [{"templateid": ours} for ours in carriers[:1]]
        done.append("template linked")
    own = {group["name"] for group in host["groups"]}
    if missing := [name for name in groups if name not in own]:
        links["groups"] = [{"groupid": groups[name]} for name in missing]
        done.append(f"put into group {', '.join(map(repr, missing))}")
    return links, done


def _secret(psk: Psk) -> dict[str, str]:
    return {"tls_psk_identity": psk.identity, "tls_psk": psk.key}


def _changes(compared: Any) -> Iterator[str]:
    """What configuration.importcompare says, each change in a few words. It lists parents of what changed, too."""
    for kind, actions in compared.items() if isinstance(compared, dict) else ():
        if kind in ("before", "after"):
            continue
        for action in ("added", "updated", "removed"):
            for entity in actions.get(action, ()):
                before, after = entity.get("before"), entity.get("after")
                if before != after:
                    named = after or before
                    yield f"{kind.replace('_', ' ').removesuffix('s')} {named.get('name', named.get('template'))!r} {action}"
                yield from _changes(entity)


def _few(changes: list[str]) -> str:
    more = len(changes) - _NAMED
    return ", ".join(changes[:_NAMED]) + (f" and {more} more" if more > 0 else "")
