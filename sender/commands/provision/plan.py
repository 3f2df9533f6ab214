"""What one host lacks: as parameters of the API's calls that complete it, and in words. Knows no call and no answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.commands.provision.credentials import Psk

UNENCRYPTED, WITH_PSK = (
    1,
    2,
)  # bits of tls_accept, and values of tls_connect: HOST_ENCRYPTION_*, include/defines.inc.php


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What every host is to have.

    `templates` are the ids of ours and of those that ours is linked to, ours first; none where it is yet to be imported.
    `groups` are ids by name. `monitored` are the properties of a host behind `proxy`.
    """

    templates: tuple[str, ...]
    groups: Mapping[str, str]
    monitored: Mapping[str, Any]
    proxy: str | None

    @property
    def template_links(self) -> list[dict[str, str]]:
        """Return ours, as the API links it."""
        return [{"templateid": template} for template in self.templates[:1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done for one host: `create` it, or `update` properties and add `links`. `words` are empty for nothing."""

    host: str
    words: str
    create: Mapping[str, Any] = field(default_factory=dict)
    update: Mapping[str, Any] = field(default_factory=dict)
    host_id: str = ""
    links: Mapping[str, Any] = field(default_factory=dict)


def plan_new(name: str, target: Target, psk: Psk | None) -> Plan:
    """Return the plan of a host without interfaces; with a key, nothing unencrypted is ever accepted for it."""
    encryption = {"tls_connect": WITH_PSK, "tls_accept": WITH_PSK, **_secret(psk)} if psk else {}
    groups = [{"groupid": group} for group in target.groups.values()]
    words = [f"in group {_quoted(target.groups)}", "with the template"]
    words += [f"only with PSK {psk.identity!r}"] if psk else []
    words += [f"behind {target.proxy!r}"] if target.monitored else []
    return Plan(
        host=name,
        words=f"created {', '.join(words)}",
        create={"host": name, "groups": groups, "templates": target.template_links, **encryption, **target.monitored},
    )


def plan_missing(host: Any, target: Target, psk: Psk | None) -> Plan:
    """Return the plan of what the host that the API describes lacks; `psk` only if it is not the host's already."""
    links, linked = _missing_links(host, target)
    update, updated = _missing_properties(host, target, psk)
    done = linked + updated
    return Plan(
        host=host["host"],
        host_id=host["hostid"],
        words=f"changed: {', '.join(done)}" if done else "",
        update={"hostid": host["hostid"], **update} if update else {},
        links=links,
    )


def _missing_links(host: Any, target: Target) -> tuple[dict[str, Any], list[str]]:
    links, words = {}, []
    if not {linked["templateid"] for linked in host["parentTemplates"]} & set(target.templates):
        links["templates"] = target.template_links
        words.append("template linked")
    own = {group["name"] for group in host["groups"]}
    if missing := [name for name in target.groups if name not in own]:
        links["groups"] = [{"groupid": target.groups[name]} for name in missing]
        words.append(f"put into group {_quoted(missing)}")
    return links, words


def _missing_properties(host: Any, target: Target, psk: Psk | None) -> tuple[dict[str, Any], list[str]]:
    properties: dict[str, Any] = {}
    words = []
    if psk:
        accepted = int(host["tls_accept"]) | WITH_PSK  # what an agent on the same host uses stays
        properties |= {"tls_accept": accepted, **_secret(psk)}
        also = " (it still accepts unencrypted values, too)" if accepted & UNENCRYPTED else ""
        words.append(f"PSK {psk.identity!r} set{also}")
    if any(str(host[name]) != str(value) for name, value in target.monitored.items()):
        properties |= target.monitored
        words.append(f"put behind {target.proxy!r}")
    return properties, words


def _secret(psk: Psk) -> dict[str, str]:
    return {"tls_psk_identity": psk.identity, "tls_psk": psk.key}


def _quoted(names: Any) -> str:
    return ", ".join(map(repr, names))
