"""The import of the bundled template into one Zabbix: with which rules and uuids, and what it changes. Imports nothing itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sender.commands import template
from sender.commands.provision.uuids import with_their_uuids
from sender.errors import ApiError
from sender.items import TEMPLATE
from sender.settings import yaml_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What the web interface ticks by default, of what the template holds, and without deleting, which it ticks from 6.4 on.
_IMPORTED = ("templates", "valueMaps", "templateDashboards", "items", "discoveryRules", "triggers", "graphs")
_NOT_IMPORTED = ("templateLinkage", "httptests")
_LEFT_OUT = {"lifetime": "7d"}


class TemplateImport:
    """What configuration.import is to be given: `params`; and what it would do: `changes` in a few words each, and `is_new`."""

    def __init__(self, call: Callable[[str, Any], Any], version: tuple[int, ...]) -> None:
        """Ask the Zabbix whose API is `call`. Raises ApiError."""
        self._call = call
        self._version = version
        source = self._source()
        form = "xml" if source.startswith("<") else "json"
        self.params = {"format": form, "source": source, "rules": self._rules()}
        compared = call("configuration.importcompare", self.params)
        self.changes = tuple(_changes(compared))
        self.is_new = bool(self.changes) and "added" in compared.get("templates", {})

    def _source(self) -> str:
        """Return the template as it is to be imported: over one that is there, with the uuids of what that has."""
        ours = template.text(template.newest(self._version))
        if not ours.startswith("<"):  # YAML, in which the import takes JSON alike
            ours = json.dumps(yaml_file.parsed(ours), ensure_ascii=False)
        if not (found := self._call("template.get", {"output": ["templateid"], "filter": {"host": [TEMPLATE]}})):
            return ours
        ids = [each["templateid"] for each in found]
        exported = self._call("configuration.export", {"format": "xml", "options": {"templates": ids}})
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
