"""What Zabbix needs before hosts can report: the template, a group, the hosts themselves, their keys, their proxy.

Adds what is missing and takes nothing away. Knows the API's calls from 6.0 to 7.x, and no network.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sender.commands.provision.api import User
from sender.commands.provision.hindrances import Hindrances
from sender.commands.provision.names import taken
from sender.commands.provision.plan import WITH_PSK, Plan, Target, plan_missing, plan_new
from sender.commands.provision.template_import import TemplateImport
from sender.errors import ApiError, ApiRejectedError
from sender.items import TEMPLATE
from sender.text import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sender.commands.provision.credentials import Psk

DEFAULT_GROUP = "Linux servers"  # which every Zabbix has from the beginning

_PROXY, _PROXY_GROUP = 1, 2  # values of monitored_by, from 7.0 on: ZBX_MONITORED_BY_*, include/defines.inc.php
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
        self,
        call: Callable[[str, Any], Any],
        version: tuple[int, ...],
        goal: Goal,
        *,
        user: User | None = None,
        is_dry: bool = False,
    ) -> None:
        self._call = call
        self._version = version
        self._goal = goal
        self._hindrances = Hindrances(call, version, user or User())
        self._is_dry = is_dry
        self._counts = {"created": 0, "changed": 0, "as wanted": 0, "failed": 0}

    def steps(self) -> Iterator[Step]:
        """Do the work, and yield each step. A host that is rejected does not stop the others. Raises ApiError."""
        if not self._goal.is_template_kept:
            yield Step(text=f"template {TEMPLATE!r}: {self._import()}")
        if self._goal.hosts:
            yield from self._hosts()
        if self._is_dry:
            yield Step(text="dry run: nothing was changed, and what only Zabbix itself can check was not checked")

    def _asked(self, method: str, params: Any) -> Any:
        """Return the answer to a call; one that is rejected is explained."""
        try:
            return self._call(method, params)
        except ApiRejectedError as error:
            raise self._hindrances.explained(error, method, params) from error

    def _do(self, method: str, params: Any, *, is_explained: bool = True) -> Any:
        """Call what changes something. A dry run makes no call, and fails where it is seen that the call would be rejected."""
        if not self._is_dry:
            return self._asked(method, params) if is_explained else self._call(method, params)
        if hindrance := self._hindrances.of(method, params):
            raise ApiRejectedError(f"{method} would be rejected", advice=hindrance)
        return {}

    def _would_be(self, what: str) -> str:
        return f"would be {what}" if self._is_dry else what

    def _import(self) -> str:
        importing = TemplateImport(self._asked, self._version)
        if not importing.changes:
            return "nothing to do"
        self._do("configuration.import", importing.params)
        return self._would_be("imported" if importing.is_new else f"updated: {some_of(importing.changes, _NAMED)}")

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
        new = [name for name in self._goal.hosts if name not in found]
        others = taken(self._asked, new) if new else {}
        for first in range(0, len(self._goal.hosts), _BATCH):
            names = self._goal.hosts[first : first + _BATCH]
            yield from self._carry_out([self._plan(name, found, target, keyed) for name in names], others)
        if len(self._goal.hosts) > 1:
            yield Step(text=f"{len(self._goal.hosts)} hosts: {self._summary()}")

    def _plan(self, name: str, found: Mapping[str, Any], target: Target, keyed: set[str]) -> Plan:
        psk = self._goal.psks.get(name)
        if host := found.get(name):
            if not self._goal.groups:
                target = replace(target, groups={})
            return plan_missing(host, target, None if host["hostid"] in keyed else psk)
        return plan_new(name, target, psk)

    def _carry_out(self, plans: list[Plan], others: Mapping[str, ApiRejectedError]) -> Iterator[Step]:
        rejected = {plan.host: others[plan.host] for plan in plans if plan.host in others}
        rejected |= self._rejected([plan for plan in plans if plan.create and plan.host not in others])
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
        is_explained = len(plans) == 1  # of many it is not known yet whose it is
        if created := [plan.create for plan in plans if plan.create]:
            self._do("host.create", created, is_explained=is_explained)
        if updated := [plan.update for plan in plans if plan.update]:
            self._do("host.update", updated, is_explained=is_explained)
        hosts: dict[str, list[dict[str, str]]] = {}
        for plan in plans:
            if plan.links:
                hosts.setdefault(json.dumps(plan.links), []).append({"hostid": plan.host_id})
        for links, linked in hosts.items():  # by host.massadd, which keeps those that are there
            self._do("host.massadd", {"hosts": linked, **json.loads(links)}, is_explained=is_explained)

    def _summary(self) -> str:
        words = {what: self._would_be(what) for what in ("created", "changed")}
        return ", ".join(f"{count} {words.get(what, what)}" for what, count in self._counts.items() if count)

    def _template_ids(self) -> tuple[str, ...]:
        """Return the ids of our template, and of all templates that it is linked to, by which a host may have it too."""
        ids = self._templates({"filter": {"host": [TEMPLATE]}})
        if not ids and (not self._is_dry or self._goal.is_template_kept):
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
        return [found["templateid"] for found in self._asked("template.get", {"output": ["templateid"], **which})]

    def _monitored(self) -> dict[str, Any]:
        """Return the properties of a host that say through which proxy it reports; none if that is not to be changed."""
        name = self._goal.proxy
        if name is None:
            return {}
        if self._version < (7, 0):
            if found := self._asked("proxy.get", {"output": ["proxyid"], "filter": {"host": [name]}}):
                return {"proxy_hostid": found[0]["proxyid"]}
        elif found := self._asked("proxy.get", {"output": ["proxyid"], "filter": {"name": [name]}}):
            return {"monitored_by": _PROXY, "proxyid": found[0]["proxyid"]}
        elif found := self._asked("proxygroup.get", {"output": ["proxy_groupid"], "filter": {"name": [name]}}):
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
        return {host["host"]: {**host, "groups": host[key]} for host in self._asked("host.get", query)}

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
        return [found["hostid"] for found in self._asked("host.get", query)]

    def _group(self, name: str) -> tuple[str, bool]:
        """Return the group's id, and whether it had to be created."""
        if found := self._asked("hostgroup.get", {"output": ["groupid"], "filter": {"name": [name]}}):
            return found[0]["groupid"], False
        return self._do("hostgroup.create", {"name": name}).get("groupids", [""])[0], True
