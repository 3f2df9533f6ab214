"""The template for 7.4 and 8.0, of which no server is packaged, against the rules of their importers.

The rules are those of the public sources, github.com/zabbix/zabbix, ui/include/classes/import: validators/C74ImportValidator.php
at commit 769db7a and C80ImportValidator.php at 0128ea9, of which the same is taken here: they do not differ in what this template
has. converters/C74ImportConverter.php at 117f5ea makes 8.0 of 7.4 by the version alone, and C70ImportConverter.php and
C72ImportConverter.php change no kind of widget that the dashboard has: it is that of format 7.0, seen in real servers.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from sender.commands import template
from sender.settings import yaml_file
from templates.wizard import ASKED

TEXT = None  # any text; else a set: one of these; a list: any number of that; a dict: these tags, required ones with an exclamation mark
YES_NO = {"YES", "NO"}
TAGS = [{"tag!": TEXT, "value": TEXT}]
NAME = {"name!": TEXT}
TRIGGER = {
    "uuid!": TEXT,
    "expression!": TEXT,
    "name!": TEXT,
    "event_name": TEXT,
    "opdata": TEXT,
    "status": {"ENABLED", "DISABLED"},
    "priority": {"NOT_CLASSIFIED", "INFO", "WARNING", "AVERAGE", "HIGH", "DISASTER"},
    "description": TEXT,
    "manual_close": YES_NO,
    "dependencies": [{"name!": TEXT, "expression!": TEXT, "recovery_expression": TEXT}],
    "tags": TAGS,
}
GRAPH = {
    "uuid!": TEXT,
    "name!": TEXT,
    "show_triggers": YES_NO,
    "type": {"NORMAL", "STACKED", "PIE", "EXPLODED"},
    "ymin_type_1": {"CALCULATED", "FIXED", "ITEM"},
    "ymax_type_1": {"CALCULATED", "FIXED", "ITEM"},
    "graph_items!": [
        {
            "sortorder": TEXT,
            "drawtype": {"SINGLE_LINE", "FILLED_REGION", "BOLD_LINE", "DOTTED_LINE", "DASHED_LINE", "GRADIENT_LINE"},
            "color": TEXT,
            "calc_fnc": {"MIN", "AVG", "MAX", "ALL", "LAST"},
            "item!": {"host!": TEXT, "key!": TEXT},
        }
    ],
}
ITEM = {
    "uuid!": TEXT,
    "name!": TEXT,
    "type": {"TRAP", "DEPENDENT", "CALCULATED"},  # of twenty, those that need nothing that is not here
    "key!": TEXT,
    "history": TEXT,
    "value_type": {"FLOAT", "CHAR", "LOG", "UNSIGNED", "TEXT", "BINARY"},
    "trends": TEXT,
    "status": {"ENABLED", "DISABLED"},
    "units": TEXT,
    "params": TEXT,
    "description": TEXT,
    "valuemap": NAME,
    "preprocessing": [{"type!": {"CHANGE_PER_SECOND"}}],  # of thirty, one without parameters
    "master_item": {"key!": TEXT},
    "tags": TAGS,
}
RULE = {
    "uuid!": TEXT,
    "name!": TEXT,
    "type": {"TRAP"},
    "key!": TEXT,
    "filter": {
        "evaltype": {"AND_OR", "AND", "OR"},
        "conditions": [
            {
                "macro!": TEXT,
                "value": TEXT,
                "operator": {"MATCHES_REGEX", "NOT_MATCHES_REGEX", "EXISTS", "NOT_EXISTS"},
            }
        ],
    },
    "lifetime": TEXT,
    "enabled_lifetime_type": {"DISABLE_AFTER", "DISABLE_NEVER", "DISABLE_IMMEDIATELY"},
    "description": TEXT,
    "item_prototypes": [{**ITEM, "discover": {"DISCOVER", "NO_DISCOVER"}, "trigger_prototypes": [TRIGGER]}],
    "trigger_prototypes": [TRIGGER],
    "graph_prototypes": [GRAPH],
}
CONFIG = {
    "type": {"NOCONF", "TEXT", "LIST", "CHECKBOX"},
    "priority": TEXT,
    "section_name": TEXT,
    "label!": TEXT,
    "description": TEXT,
    "required": YES_NO,
    "regex": TEXT,
}
WIDGET = {
    "type!": {"item", "gauge", "honeycomb", "svggraph", "graphprototype", "itemhistory"},
    "name": TEXT,
    "x": TEXT,
    "y": TEXT,
    "width": TEXT,
    "height": TEXT,
    "hide_header": YES_NO,
    "fields": [
        {
            "type!": {"INTEGER", "STRING", "ITEM", "ITEM_PROTOTYPE", "GRAPH", "GRAPH_PROTOTYPE"},
            "name!": TEXT,
            "value!": {"host!": TEXT, "key": TEXT, "name": TEXT},
        }
    ],
}
EXPORT = {
    "version!": {"7.4"},
    "template_groups": [{"uuid!": TEXT, "name!": TEXT}],
    "templates": [
        {
            "uuid!": TEXT,
            "template!": TEXT,
            "name": TEXT,
            "description": TEXT,
            "wizard_ready": YES_NO,
            "readme": TEXT,
            "vendor": {"name!": TEXT, "version!": TEXT},
            "groups!": [NAME],
            "items": [{**ITEM, "triggers": [TRIGGER]}],
            "discovery_rules": [RULE],
            "tags": TAGS,
            "macros": [{"macro!": TEXT, "value": TEXT, "description": TEXT, "config": CONFIG}],
            "dashboards": [
                {
                    "uuid!": TEXT,
                    "name!": TEXT,
                    "auto_start": YES_NO,
                    "pages": [{"name": TEXT, "widgets": [WIDGET]}],
                }
            ],
            "valuemaps": [
                {"uuid!": TEXT, "name!": TEXT, "mappings!": [{"value": TEXT, "newvalue!": TEXT}]},
            ],
        }
    ],
    "triggers": [TRIGGER],
    "graphs": [GRAPH],
}
"""What the importers take, and do not ignore, of what this template has. Whatever else it had, they might know: look it up first."""


def check(value: Any, rule: Any, path: str) -> None:
    """Fail where the importer would, or where it ignores what is there."""
    if isinstance(rule, dict) and isinstance(value, dict):
        known = {tag.rstrip("!"): inside for tag, inside in rule.items()}
        assert value.keys() <= known.keys(), path
        assert {tag[:-1] for tag in rule if tag.endswith("!")} <= value.keys(), path
        for tag, inside in value.items():
            check(inside, known[tag], f"{path}/{tag}")
    elif isinstance(rule, list):
        assert isinstance(value, list), path
        for number, one in enumerate(value):
            check(one, rule[0], f"{path}({number + 1})")
    else:
        assert isinstance(value, str), path
        assert not isinstance(rule, set) or value in rule, f"{path}: {value}"


@pytest.fixture(scope="module")
def export() -> dict[str, Any]:
    """Return the export for 7.4 and later."""
    whole: dict[str, Any] = yaml_file.parsed(template.text("7.4"))
    assert whole.keys() == {"zabbix_export"}
    return dict(whole["zabbix_export"])


def test_the_importers_of_7_4_and_8_0_know_every_tag(export: dict[str, Any]) -> None:
    """An unexpected tag or constant is an error there, and so is a required one that is missing."""
    check(export, EXPORT, "")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), "7.2"),
        (("templates", 0, "items", 0, "delay"), "0"),  # ignored: what is not polled has none
        (("templates", 0, "items", 0, "history"), 14),
        (("templates", 0, "macros", 0, "config"), {"type": "TEXT"}),  # without a label
        (("templates", 0, "wizard_ready"), True),
        (("templates", 0, "dashboards", 0, "pages", 0, "widgets", 0, "type"), "ITEM"),  # as in format 6.0
    ],
)
def test_what_the_importers_refuse_or_ignore_is_found(path: tuple[str | int, ...], value: Any) -> None:
    """The check above is one: with a mistake it fails."""
    export = yaml_file.parsed(template.text("7.4"))["zabbix_export"]
    place: Any = export
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(AssertionError):
        check(export, EXPORT, "")


def test_a_tag_stands_where_its_type_needs_it(export: dict[str, Any]) -> None:
    """What depends on another tag is there with that one, and ignored without: so the rules say of these."""
    (ours,) = export["templates"]
    items = [*ours["items"], *(item for rule in ours["discovery_rules"] for item in rule["item_prototypes"])]
    for item in items:
        kind, values = item["type"], item.get("value_type", "UNSIGNED")
        assert ("master_item" in item) == (kind == "DEPENDENT")
        assert ("params" in item) == (kind == "CALCULATED")
        assert not {"trends", "units"} & item.keys() or values in {"FLOAT", "UNSIGNED"}
        assert "valuemap" not in item or values in {"FLOAT", "UNSIGNED", "CHAR"}
    for rule in ours["discovery_rules"]:
        assert rule["filter"]["evaltype"] == "AND"  # only a formula has letters for its conditions


def test_the_wizard_is_ready(export: dict[str, Any]) -> None:
    """It has something to say, asks for macros in an order without gaps, and takes their defaults for an answer."""
    (ours,) = export["templates"]
    assert ours["wizard_ready"] == "YES"
    assert "/etc/tcp-status-sender/config.yaml" in ours["readme"]
    assert len(ours["readme"]) < 65_535
    asked = {macro["macro"]: macro for macro in ours["macros"] if "config" in macro}
    assert asked.keys() == ASKED.keys()
    assert sorted(int(macro["config"]["priority"]) for macro in asked.values()) == list(range(1, len(asked) + 1))
    for macro in asked.values():
        config = macro["config"]
        assert re.search(config["regex"], macro["value"])
        assert not re.search(config["regex"], "")
        assert config["required"] == "YES"
        assert max(len(config["label"]), len(config["section_name"])) <= 255
    sections = [asked[name]["config"]["section_name"] for name in ASKED]
    assert [name for n, name in enumerate(sections) if name not in sections[:n]] == list(dict.fromkeys(sections))
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)
