"""The template in format 3.4, which 3.4 to 5.4 import (and later ones too): every tag, in numbers.

What it cannot say is left out: event names and operational data of triggers, descriptions of macros, and tags of items (in
their place are applications).
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from sender.items import TEMPLATE
from templates.model import GROUP, HISTORY, calls
from templates.xml import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from templates.model import Call, Graph, Item, Rule, Template, Trigger, Widget
    from templates.xml import Tree

_TRAPPER, _CALCULATED, _DEPENDENT = "2", "15", "18"
_CHANGE_PER_SECOND = "10"
_VALUE_TYPES = {"FLOAT": "0", "CHAR": "1", "": "3", "TEXT": "4"}
_PRIORITIES = {"INFO": "1", "WARNING": "2", "AVERAGE": "3", "HIGH": "4"}
_DRAWS = {"FILLED_REGION": "1", "BOLD_LINE": "2"}
_FUNCTIONS = {"AVG": "2", "MAX": "4"}
_RESOURCES = {"GRAPH_CLASSIC": "0", "GRAPH_PROTOTYPE": "20"}
_AND = "1"
_OPERATORS = {"MATCHES": "8", "NOT_MATCHES": "9"}
_APPLICATIONS = {"network": "TCP", "application": "TCP sender"}

_UNUSED = dict.fromkeys(
    [
        *("snmp_community", "snmp_oid", "allowed_hosts", "snmpv3_contextname", "snmpv3_securityname"),
        *("snmpv3_authpassphrase", "snmpv3_privpassphrase", "params", "ipmi_sensor", "username", "password"),
        *("publickey", "privatekey", "port", "jmx_endpoint"),
    ],
    "",
) | dict.fromkeys(["snmpv3_securitylevel", "snmpv3_authprotocol", "snmpv3_privprotocol", "authtype"], "0")
"""What items and discovery rules of every type must have."""


def write(template: Template) -> str:
    """Return the whole file."""
    return document(
        {
            "version": "3.4",
            "groups": [{"name": GROUP[0]}],
            "templates": [_template(template)],
            "triggers": [_trigger(trigger, template.triggers) for trigger in template.triggers],
            "graphs": [_graph(graph) for graph in template.graphs],
            "value_maps": [
                {"name": name, "mappings": [{"value": value, "newvalue": text} for value, text in mappings.items()]}
                for name, mappings in template.value_maps.items()
            ],
        }
    )


def expression(text: str) -> str:
    """Return a trigger's expression in the syntax before 5.4, where a time shift was a parameter of its own."""
    for call in calls(text):
        text = text.replace(call.text, f"{{{TEMPLATE}:{call.key}.{call.function}({_arguments(call)})}}", 1)
    return text


def _arguments(call: Call) -> str:
    window, *more = call.arguments.split(",")
    period, _, shift = window.partition(":now-")
    if call.function == "count":  # the pattern stood before the operator, and a time shift behind both
        more = more[::-1] or (["", ""] if shift else [])
    return ",".join([period, *more, *([shift] if shift else [])])


def _formula(text: str) -> str:
    """Return a calculated item's formula in that syntax, which had no template in it."""
    for call in calls(text):
        arguments = ",".join([f'"{call.key}"', *([call.arguments] if call.arguments else [])])
        text = text.replace(call.text, f"{call.function}({arguments})", 1)
    return text


def _template(template: Template) -> Tree:
    applications = dict.fromkeys([*_APPLICATIONS.values(), *(rule.application for rule in template.rules)])
    return {
        "template": TEMPLATE,
        "name": TEMPLATE,
        "description": template.description,
        "groups": [{"name": GROUP[0]}],
        "applications": [{"name": name} for name in applications],
        "items": [
            _item(key, item, _APPLICATIONS[item.component], {"master_item": _master(item)})
            for key, item in template.items.items()
        ],
        "discovery_rules": [_rule(rule, template.triggers) for rule in template.rules],
        "macros": [{"macro": macro, "value": default.value} for macro, default in template.macros.items()],
        "screens": [_screen(template)],
    }


def _item(key: str, item: Item, application: str, more: Tree) -> Tree:
    return {
        **_UNUSED,
        "name": item.name,
        "type": _DEPENDENT if item.rate_of else _CALCULATED if item.formula else _TRAPPER,
        "key": key,
        "delay": "1m" if item.formula else "0",
        "history": HISTORY,
        "trends": "365d" if item.has_trends else "0",
        "status": "0" if item.is_discovered else "1",
        "value_type": _VALUE_TYPES[item.value_type],
        "units": item.units,
        "description": item.description,
        "inventory_link": "0",
        "applications": [{"name": application}],
        "valuemap": {"name": item.value_map} if item.value_map else "",
        "preprocessing": [{"type": _CHANGE_PER_SECOND, "params": ""}] if item.rate_of else "",
        "params": _formula(item.formula),
        "logtimefmt": "",
        **more,
    }


def _master(item: Item) -> Tree | str:
    return {"key": item.rate_of} if item.rate_of else ""


def _trigger(trigger: Trigger, all_of_them: Sequence[Trigger]) -> Tree:
    parents = [
        {"name": t.name, "expression": expression(t.expression), "recovery_expression": ""}
        for t in all_of_them
        if t.name in trigger.depends_on
    ]
    return {
        "expression": expression(trigger.expression),
        "recovery_mode": "0",
        "recovery_expression": "",
        "correlation_mode": "0",
        "correlation_tag": "",
        "name": trigger.name,
        "url": "",
        "status": "0" if trigger.is_enabled else "1",
        "priority": _PRIORITIES[trigger.priority],
        "description": trigger.description,
        "type": "0",
        "manual_close": "1" if trigger.manual_close else "0",
        "dependencies": parents,
        "tags": [{"tag": "scope", "value": trigger.scope}],
    }


def _graph(graph: Graph) -> Tree:
    return {
        "name": graph.name,
        "width": "900",
        "height": "200",
        "yaxismin": "0",
        "yaxismax": "100",
        "show_work_period": "1",
        "show_triggers": "0" if graph.is_stacked else "1",
        "type": "1" if graph.is_stacked else "0",
        "show_legend": "1",
        "show_3d": "0",
        "percent_left": "0",
        "percent_right": "0",
        "ymin_type_1": "1",
        "ymax_type_1": "1" if graph.is_percent else "0",
        "ymin_item_1": "0",
        "ymax_item_1": "0",
        "graph_items": [
            {
                "sortorder": str(n),
                "drawtype": _DRAWS[line.draw],
                "color": line.colour,
                "yaxisside": "0",
                "calc_fnc": _FUNCTIONS[line.function],
                "type": "0",
                "item": {"host": TEMPLATE, "key": line.key},
            }
            for n, line in enumerate(graph.lines)
        ],
    }


def _rule(rule: Rule, of_host: Sequence[Trigger]) -> Tree:
    tests = [(macro, stem, test) for macro, stem in rule.filters for test in _OPERATORS]
    return {
        **_UNUSED,
        "name": rule.name,
        "type": _TRAPPER,
        "key": rule.key,
        "delay": "0",
        "status": "0",
        "filter": {
            "evaltype": _AND,
            "formula": "",
            "conditions": [
                {"macro": macro, "value": f"{stem}.{test}}}", "operator": _OPERATORS[test], "formulaid": "ABCD"[n]}
                for n, (macro, stem, test) in enumerate(tests)
            ],
        },
        "lifetime": rule.lifetime,
        "description": rule.description,
        "item_prototypes": [
            _item(key, item, rule.application, {"application_prototypes": "", "master_item_prototype": _master(item)})
            for key, item in rule.items.items()
        ],
        "trigger_prototypes": [_trigger(trigger, (*of_host, *rule.triggers)) for trigger in rule.triggers],
        "graph_prototypes": [_graph(graph) for graph in rule.graphs],
        "host_prototypes": "",
    }


def _screen(template: Template) -> Tree:
    """Return the screen: two graphs in a row, and prototypes, which have many, in a row of their own."""
    graphs = [widget for page in template.pages for widget in page.widgets if widget.kind in _RESOURCES]
    single = [widget for widget in graphs if widget.kind == "GRAPH_CLASSIC"]
    many = [widget for widget in graphs if widget.kind == "GRAPH_PROTOTYPE"]
    rows = count((len(single) + 1) // 2)
    cells = [(widget, n % 2, n // 2, 1) for n, widget in enumerate(single)]
    cells += [(widget, 0, next(rows), 2) for widget in many]
    return {
        "name": template.dashboard,
        "hsize": "2",
        "vsize": str(next(rows)),
        "screen_items": [_cell(*cell) for cell in cells],
    }


def _cell(widget: Widget, x: int, y: int, columns: int) -> Tree:
    return {
        "resourcetype": _RESOURCES[widget.kind],
        "style": "0",
        "resource": {"name": widget.shows, "host": TEMPLATE},
        "width": "500",
        "height": "150",
        "x": str(x),
        "y": str(y),
        "colspan": str(columns),
        "rowspan": "1",
        "elements": "0",
        "valign": "0",
        "halign": "0",
        "dynamic": "0",
        "sort_triggers": "0",
        "url": "",
        "application": "",
        "max_columns": str(columns),
    }
