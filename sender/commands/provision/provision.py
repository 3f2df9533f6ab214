"""What Zabbix needs before hosts can report: the template, a group, the hosts themselves, their keys, their proxy.

Adds what is missing and takes nothing away. Knows the API's calls from 6.0 to 7.x, and no network.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sender.commands import template
from sender.commands.provision.plan import WITH_PSK, Plan, Target, plan_missing, plan_new
from sender.commands.provision.uuids import with_their_uuids
from sender.errors import ApiError, ApiRejectedError
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
class Goal:
    """What is to be there in the end. A host that exists stays in its groups; a new one without any gets the default."""

    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    proxy: str | None = None
    psks: Mapping[str, Psk] = field(default_factory=dict)
    is_template_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was done, or could not be."""

    text: str
    is_failure: bool = False


class Provision:
    """The work at one Zabbix, whose API is `call`. With `is_dry`, it says what it would do, and does nothing."""

    def __init__(
        self, call: Callable[[str, Any], Any], version: tuple[int, ...], goal: Goal, *, is_dry: bool = False
    ) -> None:
        self._call = call
        self._version = version
        self._goal = goal
        self._is_dry = is_dry
        self._counts = {"created": 0, "changed": 0, "as wanted": 0, "failed": 0}

    def steps(self) -> Iterator[Step]:
        """Do the work, and yield each step. A host that is rejected does not stop the others. Raises ApiError."""
        if not self._goal.is_template_kept:
            yield Step(text=f"template {TEMPLATE!r}: {self._import()}")
        if self._goal.hosts:
            yield from self._hosts()
        if self._is_dry:
            yield Step(text="dry run: nothing was changed")

    def _do(self, method: str, params: Any) -> Any:
        """Call what changes something."""
        return {} if self._is_dry else self._call(method, params)

    def _would_be(self, what: str) -> str:
        return f"would be {what}" if self._is_dry else what

    def _import(self) -> str:
        source = {"format": "xml", "source": self._source(), "rules": self._rules()}
        compared = self._call("configuration.importcompare", source)
        if not (changes := list(_changes(compared))):
            return "nothing to do"
        self._do("configuration.import", source)
        is_new = "added" in compared.get("templates", {})
        return self._would_be("imported" if is_new else f"updated: {some_of(changes, _NAMED)}")

    def _source(self) -> str:
        """Return the template as it is to be imported: over one that is there, with the uuids of what that has."""
        ours = template.text("6.0")
        if not (found := self._templates({"filter": {"host": [TEMPLATE]}})):
            return ours
        exported = self._call("configuration.export", {"format": "xml", "options": {"templates": found}})
        try:
            return with_their_uuids(ours, str(exported))
        except ValueError as error:
            raise ApiError(f"configuration.export answers what is no export: {error}") from error

    def _rules(self) -> dict[str, dict[str, bool]]:
        """Return what to import. Groups only where they are missing: nobody but a Super admin may ask for them (from 7.0 on)."""
        kind, name = ("hostgroup", "groups") if self._version < (6, 2) else ("templategroup", "template_groups")
        found = self._call(f"{kind}.get", {"output": ["groupid"], "filter": {"name": [template.GROUP]}})
        rules = {rule: {"createMissing": True, "updateExisting": True} for rule in _IMPORTED}
        rules |= {rule: {"createMissing": False} for rule in _NOT_IMPORTED}  # left out, they break a comparison in 6.0
        return rules | {name: {"createMissing": not found}}

    def _hosts(self) -> Iterator[Step]:
        templates, monitored = self._template_ids(), self._monitored()
        found = self._existing(monitored)
        groups: dict[str, str] = {}
        needs_default = not self._goal.groups and len(found) < len(self._goal.hosts)
        for name in (DEFAULT_GROUP,) if needs_default else self._goal.groups:
            groups[name], is_new = self._group(name)
            if is_new:
                yield Step(text=f"group {name!r}: {self._would_be('created')}")
        target = Target(templates=templates, groups=groups, monitored=monitored, proxy=self._goal.proxy)
        keyed = self._ids_with_key(found)
        for first in range(0, len(self._goal.hosts), _BATCH):
            names = self._goal.hosts[first : first + _BATCH]
            yield from self._carry_out([self._plan(name, found, target, keyed) for name in names])
        if len(self._goal.hosts) > 1:
            yield Step(text=f"{len(self._goal.hosts)} hosts: {self._summary()}")

    def _plan(self, name: str, found: Mapping[str, Any], target: Target, keyed: set[str]) -> Plan:
        psk = self._goal.psks.get(name)
        if host := found.get(name):
            if not self._goal.groups:
                target = replace(target, groups={})
            return plan_missing(host, target, None if host["hostid"] in keyed else psk)
        return plan_new(name, target, psk)

    def _carry_out(self, plans: list[Plan]) -> Iterator[Step]:
        rejected = self._rejected([plan for plan in plans if plan.create])
        rejected |= self._rejected([plan for plan in plans if plan.words and not plan.create])
        for plan in plans:
            how = "created" if plan.create else "changed" if plan.words else "as wanted"
            self._counts["failed" if plan.host in rejected else how] += 1
            if plan.host in rejected:
                yield Step(text=f"host {plan.host!r}: {rejected[plan.host]}", is_failure=True)
            else:
                yield Step(text=f"host {plan.host!r}: {self._would_be(plan.words) if plan.words else 'nothing to do'}")

    def _rejected(self, plans: Sequence[Plan]) -> dict[str, ApiRejectedError]:
        """Carry these out, all new ones or none, and return why each rejected host was. A call is rejected as a whole."""
        if not plans:
            return {}
        try:
            self._submit(plans)
        except ApiRejectedError as error:
            if len(plans) == 1:
                return {plans[0].host: error}
            half = len(plans) // 2
            return self._rejected(plans[:half]) | self._rejected(plans[half:])
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
        return ", ".join(f"{count} {words.get(what, what)}" for what, count in self._counts.items() if count)

    def _template_ids(self) -> tuple[str, ...]:
        """Return the ids of our template, and of all templates that it is linked to, by which a host may have it too."""
        ids = self._templates({"filter": {"host": [TEMPLATE]}})
        if not ids and not self._is_dry:
            raise ApiError(
                f"there is no template {TEMPLATE!r} that this user may read",
                advice="Import it (without --keep-template).",
            )
        new = ids
        while new:
            new = [child for child in self._templates({"parentTemplateids": new}) if child not in ids]
            ids = ids + new
        return tuple(ids)

    def _templates(self, which: dict[str, Any]) -> list[str]:
        return [found["templateid"] for found in self._call("template.get", {"output": ["templateid"], **which})]

    def _monitored(self) -> dict[str, Any]:
        """Return the properties of a host that say through which proxy it reports; none if that is not to be changed."""
        name = self._goal.proxy
        if name is None:
            return {}
        if self._version < (7, 0):
            if found := self._call("proxy.get", {"output": ["proxyid"], "filter": {"host": [name]}}):
                return {"proxy_hostid": found[0]["proxyid"]}
        elif found := self._call("proxy.get", {"output": ["proxyid"], "filter": {"name": [name]}}):
            return {"monitored_by": _PROXY, "proxyid": found[0]["proxyid"]}
        elif found := self._call("proxygroup.get", {"output": ["proxy_groupid"], "filter": {"name": [name]}}):
            return {"monitored_by": _PROXY_GROUP, "proxy_groupid": found[0]["proxy_groupid"]}
        raise ApiError(f"there is no proxy {name!r} that this user may read", advice="Check the name: case matters.")

    def _existing(self, monitored: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the hosts that exist, by name."""
        select, key = ("selectGroups", "groups") if self._version < (6, 2) else ("selectHostGroups", "hostgroups")
        query = {
            "output": ["host", "tls_accept", *monitored],
            "filter": {"host": list(self._goal.hosts)},
            "selectParentTemplates": ["templateid"],
            select: ["name"],
        }
        return {host["host"]: {**host, "groups": host[key]} for host in self._call("host.get", query)}

    def _ids_with_key(self, found: Mapping[str, Any]) -> set[str]:
        """Return the ids of those that have the wanted key already. The API tells no keys, but finds hosts by them."""
        wanted: dict[Psk, list[str]] = {}
        for name, psk in self._goal.psks.items():
            if name in found and int(found[name]["tls_accept"]) & WITH_PSK:
                wanted.setdefault(psk, []).append(found[name]["hostid"])
        if not wanted:
            return set()
        if self._find_key({"tls_psk": secrets.token_hex()}):  # nobody has that: this version does not look at keys
            return set()
        return {
            host
            for psk, hosts in wanted.items()
            for host in self._find_key({"tls_psk_identity": psk.identity, "tls_psk": psk.key}, hosts)
        }

    def _find_key(self, key: dict[str, str], hosts: list[str] | None = None) -> list[str]:
        query = {"output": ["hostid"], "filter": key, **({"hostids": hosts} if hosts else {"limit": 1})}
        return [found["hostid"] for found in self._call("host.get", query)]

    def _group(self, name: str) -> tuple[str, bool]:
        """Return the group's id, and whether it had to be created."""
        if found := self._call("hostgroup.get", {"output": ["groupid"], "filter": {"name": [name]}}):
            return found[0]["groupid"], False
        return self._do("hostgroup.create", {"name": name}).get("groupids", [""])[0], True


def _changes(compared: Any) -> Iterator[str]:
    """Yield each change of configuration.importcompare's answer in a few words. It lists parents of what changed, too."""
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
    """Return an export without what differs between versions: from 7.0 on, the order of widgets, and defaults."""
    if isinstance(value, dict):
        return {key: _comparable(part, key) for key, part in value.items() if part != _LEFT_OUT.get(key)}
    if isinstance(value, list):
        parts = [_comparable(part) for part in value]
        return sorted(parts, key=repr) if kind == "widgets" else parts
    return value
