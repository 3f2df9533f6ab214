"""What Zabbix needs before hosts can report: the template, a group, the hosts themselves, their keys, their proxy.

Adds what is missing and takes nothing away. Knows the API's calls from 6.0 to 7.x, and no network.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sender.commands import template
from sender.commands.provision import plan as host_plan
from sender.commands.provision.plan import Plan, Target
from sender.errors import ApiError, ApiRefusedError
from sender.items import TEMPLATE
from sender.text import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sender.commands.provision.credentials import Psk

DEFAULT_GROUP = "Linux servers"  # which every Zabbix has from the beginning

_PROXY, _PROXY_GROUP = 1, 2  # values of monitored_by, from 7.0 on: ZBX_MONITORED_BY_*, include/defines.inc.php
# What the web interface ticks by default, of what the template holds, and without deleting, which it ticks from 6.4 on.
_IMPORTED = ("templates", "valueMaps", "templateDashboards", "items", "discoveryRules", "triggers", "graphs")
_NOT_IMPORTED = ("templateLinkage", "httptests")
_LEFT_OUT = {"lifetime": "7d"}
_BATCH = 50  # hosts; twenty in one call take as long as two in a call each
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

    def lines(self) -> Iterator[Line]:
        """Do it, and say so line by line. A host that is refused does not stop the others."""
        if not self._wanted.is_template_kept:
            yield Line(text=f"template {TEMPLATE!r}: {self._import()}")
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
        is_new = "added" in compared.get("templates", {})
        return self._would_be("imported" if is_new else f"updated: {some_of(changes, _NAMED)}")

    def _rules(self) -> dict[str, dict[str, bool]]:
        """Groups are asked for only where they are missing: nobody but a Super admin may ask (from 7.0 on)."""
        kind, name = ("hostgroup", "groups") if self._version < (6, 2) else ("templategroup", "template_groups")
        found = self._call(f"{kind}.get", {"output": ["groupid"], "filter": {"name": [template.GROUP]}})
        rules = {rule: {"createMissing": True, "updateExisting": True} for rule in _IMPORTED}
        rules |= {rule: {"createMissing": False} for rule in _NOT_IMPORTED}  # left out, they break a comparison in 6.0
        return rules | {name: {"createMissing": not found}}

    def _hosts(self) -> Iterator[Line]:
        templates, monitored = self._carriers(), self._monitored()
        found = self._found(monitored)
        groups: dict[str, str] = {}
        needs_default = not self._wanted.groups and len(found) < len(self._wanted.hosts)
        for name in (DEFAULT_GROUP,) if needs_default else self._wanted.groups:
            groups[name], is_new = self._group(name)
            if is_new:
                yield Line(text=f"group {name!r}: {self._would_be('created')}")
        target = Target(templates=templates, groups=groups, monitored=monitored, proxy=self._wanted.proxy)
        keyed = self._keyed(found)
        for first in range(0, len(self._wanted.hosts), _BATCH):
            names = self._wanted.hosts[first : first + _BATCH]
            yield from self._carry_out([self._plan(name, found, target, keyed) for name in names])
        if len(self._wanted.hosts) > 1:
            yield Line(text=f"{len(self._wanted.hosts)} hosts: {self._summary()}")

    def _plan(self, name: str, found: Mapping[str, Any], target: Target, keyed: set[str]) -> Plan:
        psk = self._wanted.psks.get(name)
        if host := found.get(name):
            if not self._wanted.groups:
                target = replace(target, groups={})
            return host_plan.completion(host, target, None if host["hostid"] in keyed else psk)
        return host_plan.creation(name, target, psk)

    def _carry_out(self, plans: list[Plan]) -> Iterator[Line]:
        refused = self._refused([plan for plan in plans if plan.create])
        refused |= self._refused([plan for plan in plans if plan.words and not plan.create])
        for plan in plans:
            how = "created" if plan.create else "changed" if plan.words else "as wanted"
            self._tally["failed" if plan.host in refused else how] += 1
            if plan.host in refused:
                yield Line(text=f"host {plan.host!r}: {refused[plan.host]}", is_failure=True)
            else:
                yield Line(text=f"host {plan.host!r}: {self._would_be(plan.words) if plan.words else 'nothing to do'}")

    def _refused(self, plans: Sequence[Plan]) -> dict[str, ApiRefusedError]:
        """Carry these out, all new ones or none. A call with many hosts is refused as a whole: the culprits are found."""
        if not plans:
            return {}
        try:
            self._submit(plans)
        except ApiRefusedError as error:
            if len(plans) == 1:
                return {plans[0].host: error}
            half = len(plans) // 2
            return self._refused(plans[:half]) | self._refused(plans[half:])
        return {}

    def _submit(self, plans: Sequence[Plan]) -> None:
        if created := [plan.create for plan in plans if plan.create]:
            self._do("host.create", created)
        if updated := [plan.update for plan in plans if plan.update]:
            self._do("host.update", updated)
        hosts: dict[str, list[dict[str, str]]] = {}
        for plan in plans:
            if plan.links:
                hosts.setdefault(json.dumps(plan.links), []).append({"hostid": plan.host_id})
        for links, linked in hosts.items():  # by host.massadd, which keeps those that are there
            self._do("host.massadd", {"hosts": linked, **json.loads(links)})

    def _summary(self) -> str:
        words = {what: self._would_be(what) for what in ("created", "changed")}
        return ", ".join(f"{count} {words.get(what, what)}" for what, count in self._tally.items() if count)

    def _carriers(self) -> tuple[str, ...]:
        """The ids of our template, and of all templates that it is linked to, by which a host may have it too."""
        ids = self._templates({"filter": {"host": [TEMPLATE]}})
        if not ids and not self._is_dry:
            raise ApiError(
                f"there is no template {TEMPLATE!r} that this user may read; import it (without --keep-template)"
            )
        new = ids
        while new:
            new = [child for child in self._templates({"parentTemplateids": new}) if child not in ids]
            ids = ids + new
        return tuple(ids)

    def _templates(self, which: dict[str, Any]) -> list[str]:
        return [found["templateid"] for found in self._call("template.get", {"output": ["templateid"], **which})]

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

    def _found(self, monitored: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the hosts that exist, by name."""
        select, key = ("selectGroups", "groups") if self._version < (6, 2) else ("selectHostGroups", "hostgroups")
        query = {
            "output": ["host", "tls_accept", *monitored],
            "filter": {"host": list(self._wanted.hosts)},
            "selectParentTemplates": ["templateid"],
            select: ["name"],
        }
        return {host["host"]: {**host, "groups": host[key]} for host in self._call("host.get", query)}

    def _keyed(self, found: Mapping[str, Any]) -> set[str]:
        """The ids of those that have the wanted key already. The API tells no keys, but finds hosts by them."""
        wanted: dict[Psk, list[str]] = {}
        for name, psk in self._wanted.psks.items():
            if name in found and int(found[name]["tls_accept"]) & host_plan.PSK:
                wanted.setdefault(psk, []).append(found[name]["hostid"])
        if not wanted:
            return set()
        if self._with_key({"tls_psk": secrets.token_hex()}):  # nobody has that: this version does not look at keys
            return set()
        return {
            host
            for psk, hosts in wanted.items()
            for host in self._with_key({"tls_psk_identity": psk.identity, "tls_psk": psk.key}, hosts)
        }

    def _with_key(self, key: dict[str, str], hosts: list[str] | None = None) -> list[str]:
        query = {"output": ["hostid"], "filter": key, **({"hostids": hosts} if hosts else {"limit": 1})}
        return [found["hostid"] for found in self._call("host.get", query)]

    def _group(self, name: str) -> tuple[str, bool]:
        """Its id, and whether it had to be made."""
        if found := self._call("hostgroup.get", {"output": ["groupid"], "filter": {"name": [name]}}):
            return found[0]["groupid"], False
        return self._do("hostgroup.create", {"name": name}).get("groupids", [""])[0], True


def _changes(compared: Any) -> Iterator[str]:
    """What configuration.importcompare says, each change in a few words. It lists parents of what changed, too."""
    for kind, actions in compared.items() if isinstance(compared, dict) else ():
        if kind in ("before", "after"):
            continue
        for action in ("added", "updated", "removed"):
            for entity in actions.get(action, ()):
                before, after = entity.get("before"), entity.get("after")
                if _comparable(before) != _comparable(after):
                    named = after or before
                    yield f"{kind.replace('_', ' ').removesuffix('s')} {named.get('name', named.get('template'))!r} {action}"
                yield from _changes(entity)


def _comparable(value: Any, kind: str = "") -> Any:
    """Without what differs though it is the same: Zabbix from 7.0 on exports widgets in another order, and no defaults."""
    if isinstance(value, dict):
        return {key: _comparable(part, key) for key, part in value.items() if part != _LEFT_OUT.get(key)}
    if isinstance(value, list):
        parts = [_comparable(part) for part in value]
        return sorted(parts, key=repr) if kind == "widgets" else parts
    return value
