"""The template in format 6.0, which 6.0 and all later ones import.

What has its default is left out, and what an export sorts is sorted: otherwise every import would show it as a change.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

from sender.items import TEMPLATE
from templates.items import ITEMS
from templates.model import GROUP, HISTORY, calls
from templates.xml import document, without_empty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from templates.model import Graph, Item, Page, Rule, Template, Trigger, Widget
    from templates.xml import Tree

_GRAPH_PROTOTYPES = "2"  # source_type of a GRAPH_PROTOTYPE widget
_CHANGE_PER_SECOND: Tree = {"type": "CHANGE_PER_SECOND", "parameters": {"parameter": ""}}
_VALUE = "2"  # show of an ITEM widget: no arrows, which are green for whatever grows
_SMALL = "20"  # percent of an ITEM widget's height, for a text: it is cut off at the widget's end


def write(template: Template) -> str:
    """Return the whole file."""
    return document({"version": "6.0", "groups": groups(), "templates": [_template(template)], **beside(template)})


def groups() -> list[Tree]:
    """Return the template's groups."""
    group, group_uuid = GROUP
    return [{"uuid": group_uuid, "name": group}]


def beside(template: Template) -> Tree:
    """Return what an export has beside the template: triggers on several items, and graphs."""
    return {
        "triggers": [_trigger(t, template.triggers) for t in template.triggers if len(t.keys) > 1],
        "graphs": [_graph(graph) for graph in template.graphs],
    }


def identity(what: str) -> str:
    """Return a uuid that is always the same for `what`, in the form that the import demands: version 4, 32 hex digits."""
    return uuid.UUID(bytes=hashlib.sha256(f"tcp-status-sender {what}".encode()).digest()[:16], version=4).hex


def trigger_identity(trigger: Trigger, rule: str) -> str:
    """Return the uuid that Zabbix makes for the trigger when it imports format 3.4.

    7.0 looks for a trigger by nothing but its uuid, and refuses a second one of this name and expression: C52ImportConverter.php
    and CImportReferencer.php, include/classes/import.
    """
    seed = "/".join(
        [*([rule] if rule else []), trigger.name, expression(trigger.first_expression or trigger.expression)]
    )
    return uuid.UUID(bytes=hashlib.md5(seed.encode(), usedforsecurity=False).digest(), version=4).hex


def expression(text: str) -> str:
    """Return a trigger's expression with the template in it."""
    for call in calls(text):
        text = text.replace(call.text, call.text.replace("//", f"/{TEMPLATE}/", 1))
    return text


def event_name(trigger: Trigger) -> str:
    """Return the trigger's name with its threshold."""
    return f"{trigger.name} ({trigger.detail})"


def _first_name(name: str) -> str:
    """Return a port's name as it stood in the first uuids: an import renames what it finds under the same uuid."""
    return name.replace("{#NAME}", "{#PORT} {#SERVICE}")


def _template(template: Template) -> Tree:
    return {
        **head(template),
        "groups": [{"name": GROUP[0]}],
        **objects(template),
        "macros": macros(template),
        **dashboard(template, [_page(page) for page in template.pages]),
        **value_maps(template),
    }


def head(template: Template) -> Tree:
    """Return what the template is called, and what it is for."""
    return {
        "uuid": identity(TEMPLATE),
        "template": TEMPLATE,
        "name": TEMPLATE,
        "description": template.description,
    }


def objects(template: Template) -> Tree:
    """Return the template's items and discovery rules, and its tags."""
    return {
        "items": [_item(key, item, template.triggers) for key, item in template.items.items()],
        "discovery_rules": [_rule(rule, template.triggers) for rule in template.rules],
        "tags": [_tag("class", "os"), _tag("target", "linux")],
    }


def macros(template: Template) -> list[Tree]:
    """Return the template's macros."""
    return [
        {"macro": macro, "value": default.value, "description": default.description}
        for macro, default in sorted(template.macros.items())
    ]


def dashboard(template: Template, pages: Sequence[Tree]) -> Tree:
    """Return the template's dashboard with these pages."""
    return {
        "dashboards": [
            {
                "uuid": identity(f"dashboard {template.dashboard}"),
                "name": template.dashboard,
                "auto_start": "NO",
                "pages": pages,
            }
        ]
    }


def value_maps(template: Template) -> Tree:
    """Return the template's value maps."""
    return {
        "valuemaps": [
            {
                "uuid": identity(f"value map {name}"),
                "name": name,
                "mappings": [{"value": value, "newvalue": text} for value, text in mappings.items()],
            }
            for name, mappings in template.value_maps.items()
        ],
    }


def _key(rule: Rule | None) -> str:
    return rule.key if rule else ""


def _tag(tag: str, value: str) -> Tree:
    return {"tag": tag, "value": value}


def _item(key: str, item: Item, triggers: Sequence[Trigger], rule: Rule | None = None) -> Tree:
    tags = [_tag("component", item.component), *([_tag(rule.tag, rule.macro)] if rule else [])]
    return without_empty(
        {
            "uuid": identity(f"{_key(rule)} {key}".strip()),
            "name": item.name,
            "type": _type(item),
            "key": key,
            "delay": "" if item.formula else "0",  # a minute
            "history": HISTORY,
            "trends": "" if item.has_trends else "0",
            "value_type": item.value_type,
            "units": item.units,
            "params": item.formula,  # of this host, whichever it is
            "description": item.description,
            "valuemap": {"name": item.value_map} if item.value_map else "",
            "preprocessing": [_CHANGE_PER_SECOND] if item.rate_of else [],
            "master_item": {"key": item.rate_of} if item.rate_of else "",
            "discover": "" if item.is_discovered else "NO_DISCOVER",
            "tags": tags,
            # A trigger on one item stands with it.
            f"trigger{'_prototype' if rule else ''}s": [
                _trigger(t, triggers, rule) for t in triggers if t.keys == [key]
            ],
        }
    )


def _type(item: Item) -> str:
    return "DEPENDENT" if item.rate_of else "CALCULATED" if item.formula else "TRAP"


def _trigger(trigger: Trigger, all_of_them: Sequence[Trigger], rule: Rule | None = None) -> Tree:
    # An export sorts them without regard to spaces and case.
    parents = sorted(
        (t for t in all_of_them if t.name in trigger.depends_on), key=lambda t: t.name.replace(" ", "").casefold()
    )
    return without_empty(
        {
            "uuid": trigger_identity(trigger, _key(rule)),
            "expression": expression(trigger.expression),
            "name": trigger.name,
            "event_name": event_name(trigger),
            "opdata": trigger.value,
            "status": "" if trigger.is_enabled else "DISABLED",
            "priority": trigger.priority,
            "description": trigger.description,
            "manual_close": "YES" if trigger.manual_close else "",
            "dependencies": [{"name": t.name, "expression": expression(t.expression)} for t in parents],
            "tags": [*([_tag(rule.tag, rule.macro)] if rule else []), _tag("scope", trigger.scope)],
        }
    )


def _graph(graph: Graph, rule: Rule | None = None) -> Tree:
    return without_empty(
        {
            "uuid": identity(f"{_key(rule)} graph {_first_name(graph.name)}".strip()),
            "name": graph.name,
            "show_triggers": "NO" if graph.is_stacked else "",
            "type": "STACKED" if graph.is_stacked else "",
            "ymin_type_1": "FIXED",
            "ymax_type_1": "FIXED" if graph.is_percent else "",
            "graph_items": [
                without_empty(
                    {
                        "sortorder": str(n) if n else "",
                        "drawtype": line.draw,
                        "color": line.colour,
                        "calc_fnc": "" if line.function == "AVG" else line.function,
                        "item": {"host": TEMPLATE, "key": line.key},
                    }
                )
                for n, line in enumerate(graph.lines)
            ],
        }
    )


def _rule(rule: Rule, of_host: Sequence[Trigger]) -> Tree:
    triggers = (*of_host, *rule.triggers)
    conditions = [
        {"macro": macro, "value": f"{stem}.{test}}}", **({"operator": "NOT_MATCHES_REGEX"} if "NOT" in test else {})}
        for macro, stem in rule.filters
        for test in ("MATCHES", "NOT_MATCHES")
    ]
    on_several = [_trigger(t, triggers, rule) for t in rule.triggers if len(t.keys) > 1]
    return {
        "uuid": identity(rule.key),
        "name": rule.name,
        "type": "TRAP",
        "key": rule.key,
        "delay": "0",
        "filter": {
            "evaltype": "AND",
            "conditions": [{**condition, "formulaid": "ABCD"[n]} for n, condition in enumerate(conditions)],
        },
        "lifetime": rule.lifetime,
        "description": rule.description,
        "item_prototypes": [_item(key, item, triggers, rule) for key, item in rule.items.items()],
        **({"trigger_prototypes": on_several} if on_several else {}),
        "graph_prototypes": [_graph(graph, rule) for graph in rule.graphs],
    }


def _page(page: Page) -> Tree:
    widgets = sorted(page.widgets, key=lambda widget: widget.title.casefold())
    return {"name": page.name, "widgets": [_widget(widget) for widget in widgets]}


def _widget(widget: Widget) -> Tree:
    return without_empty(
        {
            "type": widget.kind,
            "name": widget.title,
            "x": str(widget.x or ""),
            "y": str(widget.y or ""),
            "width": str(widget.width),
            "height": "" if widget.height == 2 else str(widget.height),  # noqa: PLR2004  the default
            "fields": _fields(widget),
        }
    )


def _fields(widget: Widget) -> list[Tree]:
    if widget.kind == "ITEM":
        # 7.0 would show a count with two decimals.
        value_type = ITEMS[widget.shows].value_type
        whole = [] if value_type else [_field("INTEGER", "decimal_places", "0")]
        item = _field("ITEM", "itemid", {"host": TEMPLATE, "key": widget.shows})
        small = [_field("INTEGER", "value_size", _SMALL)] if value_type == "TEXT" else []
        return [*whole, _field("INTEGER", "show", _VALUE), *small, item]
    graph = {"host": TEMPLATE, "name": widget.shows}
    if widget.kind == "GRAPH_CLASSIC":
        return [_field("GRAPH", "graphid", graph)]
    return [
        _field("INTEGER", "source_type", _GRAPH_PROTOTYPES),
        _field("INTEGER", "columns", str(widget.columns)),
        _field("INTEGER", "rows", str(widget.rows)),
        _field("GRAPH_PROTOTYPE", "graphid", graph),
    ]


def _field(kind: str, name: str, value: str | Tree) -> Tree:
    return {"type": kind, "name": name, "value": value}
