"""The template in format 3.4 is, in a real Zabbix, the same template as the one in format 6.0."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND

if TYPE_CHECKING:
    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
OLD = "TCP states of old"  # both are there at the same time

ITEM = ["name", "key_", "type", "value_type", "units", "history", "description", "trends", "delay", "params"]
TRIGGER = ["description", "expression", "priority", "status", "manual_close", "comments"]
GRAPH = ["name", "graphtype", "show_triggers", "ymin_type", "yaxismin", "ymax_type", "yaxismax"]
LINE = ["sortorder", "color", "drawtype", "calc_fnc"]
STEPS = {"selectPreprocessing": ["type", "params"]}
WHOLE = {"expandExpression": True, "selectDependencies": ["description"]}
OBJECTS: dict[str, tuple[int, dict[str, Any]]] = {
    "item": (75, {"output": [*ITEM, "status"], **STEPS, "selectValueMap": ["name", "mappings"]}),
    "itemprototype": (51, {"output": ITEM, **STEPS}),
    "trigger": (26, {"output": TRIGGER, **WHOLE}),
    "triggerprototype": (11, {"output": TRIGGER, **WHOLE}),
    "graph": (14, {"output": GRAPH, "selectGraphItems": LINE, "selectItems": ["key_"]}),
    "graphprototype": (12, {"output": GRAPH, "selectGraphItems": LINE, "selectItems": ["key_"]}),
    "discoveryrule": (4, {"output": ["name", "key_", "lifetime", "description"], "selectFilter": "extend"}),
    "usermacro": (43, {"output": ["macro", "value"]}),
    "templatedashboard": (1, {"output": ["name"]}),
}
"""What a template consists of: how many of each there are, and what is asked about them."""


@pytest.fixture(scope="module")
def old(zabbix: ZabbixStack) -> str:
    """Return the template in format 3.4, imported under a name of its own; that name."""
    xml = subprocess.run([COMMAND, "template", "--format", "3.4"], check=True, capture_output=True, text=True).stdout
    zabbix.import_template(xml.replace(TEMPLATE, OLD))
    return OLD


@pytest.mark.parametrize("kind", OBJECTS)
def test_both_formats_make_the_same(zabbix: ZabbixStack, old: str, kind: str) -> None:
    """Names, keys, types, expressions, texts, dependencies, lines and filters are those of the newer file."""
    count, question = OBJECTS[kind]
    ours, theirs = (objects(zabbix, template, kind, question) for template in (TEMPLATE, old))
    assert theirs == ours
    assert len(ours) == count


def test_the_newer_format_comes_over_the_older(zabbix: ZabbixStack, old: str) -> None:
    """A Zabbix that was upgraded with the older template takes the newer one in its place, and nothing twice."""
    xml = subprocess.run([COMMAND, "template"], check=True, capture_output=True, text=True).stdout
    zabbix.import_template(with_other_uuids(xml).replace(TEMPLATE, old))
    for kind, (count, question) in OBJECTS.items():
        assert len(objects(zabbix, old, kind, question)) == count, kind


def objects(zabbix: ZabbixStack, template: str, kind: str, question: dict[str, Any]) -> list[str]:
    """All that the template has of a kind, sorted, without what differs from one import to the next."""
    (known,) = zabbix.api.template.get(filter={"host": template}, output=["templateid"])
    whose = "hostids" if kind == "usermacro" else "templateids"
    found = getattr(zabbix.api, kind).get(**{whose: known["templateid"]}, **question)
    return sorted(json.dumps(without_ids(one), sort_keys=True).replace(template, TEMPLATE) for one in found)


def without_ids(value: Any) -> Any:
    """Without the numbers of rows in the database, and without their order where it has no meaning."""
    if isinstance(value, list):
        return [without_ids(one) for one in value]
    if isinstance(value, dict):
        if "dependencies" in value:
            value["dependencies"].sort(key=lambda one: one["description"])
        return {key: without_ids(one) for key, one in value.items() if not key.endswith("id") or key == "formulaid"}
    return value


def with_other_uuids(xml: str) -> str:
    """With uuids that the server does not have yet, but for the group's, which is Zabbix's own."""
    head, templates, rest = xml.partition("<templates>")
    return head + templates + re.sub(r"<uuid>..", "<uuid>00", rest)
