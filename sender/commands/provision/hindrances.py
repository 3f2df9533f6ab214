"""What is in the way of one of the API's calls, found out by asking: a lost header, the role, permissions, keys in use.

Zabbix's messages are for people, and differ between versions: nothing is concluded from their words.
"""

from __future__ import annotations

import secrets
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sender.commands import template
from sender.errors import ApiError, ApiRejectedError
from sender.items import DISCOVERIES, KEYS, TEMPLATE
from sender.text import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sender.commands.provision.api import User

_ONE_KEY = (7, 0)
_HEADER = (6, 4)  # from this one on the token goes in the header Authorization
_ADMIN, _SUPER_ADMIN = 2, 3  # USER_TYPE_*, include/defines.inc.php
_TYPES = {1: "User", _ADMIN: "Admin", _SUPER_ADMIN: "Super admin"}
_ALLOWED = "1"  # api.access of a role; and api.mode, where its list of methods is of those allowed
_NAMED = 5

_HOST_NEEDS = (
    "The user needs a role of type Admin that allows this method, with read-write permission to the host's groups and read "
    "permission to the template's; or a role of type Super admin."
)
_TEMPLATE_NEEDS = (
    "The user needs a role of type Admin with read-write permission to the template's group, or one of type Super admin. Or "
    "let such a user import the template, and give --keep-template."
)
_GROUP_NEEDS = (
    "Only a role of type Super admin may create groups. Let such a user create it, or give another with --group."
)
_NEEDS = {
    "configuration.import": (_ADMIN, _TEMPLATE_NEEDS),
    "configuration.importcompare": (_ADMIN, _TEMPLATE_NEEDS),
    "host.create": (_ADMIN, _HOST_NEEDS),
    "host.massadd": (_ADMIN, _HOST_NEEDS),
    "host.update": (_ADMIN, _HOST_NEEDS),
    "hostgroup.create": (_SUPER_ADMIN, _GROUP_NEEDS),
}
"""The least type of a role that each method wants, and what else it needs."""


class Hindrances:
    """Asks a Zabbix, whose API is `call`, on behalf of the user who is logged in."""

    def __init__(self, call: Callable[[str, Any], Any], version: tuple[int, ...], user: User) -> None:
        self._call = call
        self._version = version
        self._user = user

    def of(self, method: str, params: Any) -> str:
        """Return what is certainly in the way of this call, and what to do: whole sentences, "" where nothing is found."""
        looks = (
            *(self._lost_header, self._role, self._type, self._groups, self._hosts, self._template, self._keys),
            self._pre_shared_key,
        )
        for look in looks:
            try:
                if found := look(method, params):
                    return found
            except ApiError:  # that cannot be asked either
                continue
        return ""

    def explained(self, error: ApiRejectedError, method: str, params: Any) -> ApiRejectedError:
        """Return the rejection of this call, with what was in its way."""
        advice = self.of(method, params)
        if not advice and self._restriction is None:
            advice = f"The user's role allows some methods of the API only: let it allow {method}, too."
        if not advice and method in _NEEDS and self._user.kind in range(1, _SUPER_ADMIN):
            advice = (
                f"This user, whose role is of type {_TYPES[self._user.kind]}, does not see all that this Zabbix has: what the "
                "message names may be something that the user may not read."
            )
        return ApiRejectedError(error.found, advice=advice)

    def _lost_header(self, *_: Any) -> str:
        return (
            "Let the web server pass the header Authorization on to PHP: it does not arrive." if self._is_lost else ""
        )

    @cached_property
    def _is_lost(self) -> bool:
        """Return whether a token does not arrive. Zabbix tells its version only to those who do not log in."""
        if self._version < _HEADER:
            return False
        try:
            return bool(self._call("apiinfo.version", {}))
        except ApiError:
            return False

    def _role(self, method: str, _: Any) -> str:
        if self._restriction is None or self._restriction(method):
            return ""
        return f"The user's role does not allow the API's method {method}: let it (Users > User roles)."

    @cached_property
    def _restriction(self) -> Callable[[str], bool] | None:
        """Return what says whether the role allows a method; None where the role hides even itself."""
        if not self._user.role_id:
            return lambda _: True
        query = {"roleids": [self._user.role_id], "selectRules": ["api.access", "api.mode", "api"]}
        try:
            (role,) = self._call("role.get", query)
            rules = role["rules"]
            access, mode, listed = str(rules["api.access"]), str(rules["api.mode"]), list(rules["api"])
        except ApiRejectedError:
            return None
        except (ApiError, ValueError, TypeError, KeyError):
            return lambda _: True
        if access != _ALLOWED:
            return lambda _: False
        return lambda method: any(fnmatchcase(method, each) for each in listed) == (mode == _ALLOWED)

    def _type(self, method: str, _: Any) -> str:
        least, needs = _NEEDS.get(method, (0, ""))
        if not self._user.kind or self._user.kind >= least:
            return ""
        return f"The user's role is of type {_TYPES.get(self._user.kind, '?')}. {needs}"

    def _groups(self, method: str, params: Any) -> str:
        hosts = params if method == "host.create" else [params] if method == "host.massadd" else []
        wanted = {group["groupid"] for host in hosts for group in host.get("groups", ()) if group["groupid"]}
        lacking = self._not_editable("hostgroup", ("groupid", "name"), wanted)
        return (
            f"The user has no read-write permission to the group {_quoted(lacking)}. {_HOST_NEEDS}" if lacking else ""
        )

    def _hosts(self, method: str, params: Any) -> str:
        hosts = params if method == "host.update" else params["hosts"] if method == "host.massadd" else []
        lacking = self._not_editable("host", ("hostid", "host"), {host["hostid"] for host in hosts})
        return f"The user has no read-write permission to the host {_quoted(lacking)}. {_HOST_NEEDS}" if lacking else ""

    def _not_editable(self, kind: str, properties: tuple[str, str], wanted: set[str]) -> list[str]:
        """Return the names of those that the user may read, and may not change."""
        if not wanted or self._user.kind == _SUPER_ADMIN:
            return []
        key, name = properties
        query = {"output": [key, name], f"{key}s": sorted(wanted)}
        editable = {found[key] for found in self._call(f"{kind}.get", {**query, "editable": True})}
        return [found[name] for found in self._call(f"{kind}.get", query) if found[key] not in editable]

    def _template(self, method: str, _: Any) -> str:
        if not method.startswith("configuration.import") or self._user.kind == _SUPER_ADMIN:
            return ""
        kind = "hostgroup" if self._version < (6, 2) else "templategroup"
        query = {"output": ["name"], "filter": {"name": [template.GROUP]}, "editable": True}
        if self._call(f"{kind}.get", query):
            return ""
        return f"The user has no read-write permission to the template's group '{template.GROUP}'. {_TEMPLATE_NEEDS}"

    def _keys(self, method: str, params: Any) -> str:
        """Return where a host has an item of ours from another template: Zabbix links no second one with the same key."""
        if method != "host.massadd" or not params.get("templates"):
            return ""
        query = {
            "hostids": [host["hostid"] for host in params["hosts"]],
            "output": ["key_"],
            "inherited": True,
            "filter": {"key_": [*KEYS, *DISCOVERIES]},
        }
        found = [item["key_"] for kind in ("item", "discoveryrule") for item in self._call(f"{kind}.get", query)]
        if not found:
            return ""
        return (
            f"The host has {_quoted(dict.fromkeys(found))} from another template. Unlink that, without clearing, so that the item "
            f"keeps its history, and link '{TEMPLATE}' then."
        )

    def _pre_shared_key(self, method: str, params: Any) -> str:
        """Return whose the identity is already, with another key: from 7.0 on that is rejected."""
        hosts = params if method in ("host.create", "host.update") and self._version >= _ONE_KEY else []
        changed = [host["hostid"] for host in hosts if "hostid" in host]
        for host in hosts:
            if "tls_psk" not in host or self._with_key(
                tls_psk=secrets.token_hex()
            ):  # this Zabbix does not look at keys
                continue
            identity, key = host["tls_psk_identity"], host["tls_psk"]
            same = self._with_key(tls_psk_identity=identity, tls_psk=key)
            others = [each for each in self._with_key(tls_psk_identity=identity) if each not in (*same, *changed)]
            if others:
                return (
                    f"Zabbix takes one key for an identity, and {identity!r} has another one already: of {len(others)} hosts. Give "
                    "another identity, such as 'PSK {host}', or the same key."
                )
        return ""

    def _with_key(self, **key: str) -> list[str]:
        return [host["hostid"] for host in self._call("host.get", {"output": ["hostid"], "filter": key})]


def _quoted(names: Iterable[str]) -> str:
    return some_of([repr(name) for name in names], _NAMED)
