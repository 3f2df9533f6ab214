"""The pages for zabbix/community-templates, whose folders in packaging/ hold one for each version, beside the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.items import TEMPLATE
from templates.format_6_0 import event_name, expression
from templates.page import table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from templates.model import Item, Rule, Template, Trigger

FOLDER = "packaging/zabbix-community-templates/Operating_Systems/Linux/template_tcp_states_by_zabbix_trapper"

_TESTED = {
    "7.0": """\
- Zabbix 7.0.22 and 7.0.29: imported, alone and over the template's format 6.0, and its dashboard seen in a browser.
- Debian 12 as the host. The daemon runs on any Linux with Python 3.10 or newer.
""",
    "7.4": """\
- The rules of the importers of Zabbix 7.4 and 8.0, as their public sources state them. It was in no server of these versions.
- The same template in format 7.0 was in Zabbix 7.0.22 and 7.0.29.
""",
}


def write_7_0(template: Template) -> str:
    """Return the page for 7.0."""
    return _write(template, "7.0")


def write_7_4(template: Template) -> str:
    """Return the page for 7.4."""
    return _write(template, "7.4")


def _write(template: Template, version: str) -> str:
    return "\n".join(
        [
            _HEAD.format(version=version, tested=_TESTED[version]),
            "### Macros used\n",
            table(
                ("Name", "Description", "Default"),
                (
                    (macro, default.description, f"`{default.value}`")
                    for macro, default in sorted(template.macros.items())
                ),
            ),
            "### Items\n",
            _items(template.items),
            "### Triggers\n",
            _triggers(template.triggers),
            *(_rule(rule) for rule in template.rules),
            _FEEDBACK,
        ]
    )


def _rule(rule: Rule) -> str:
    parts = [
        f"### LLD rule {rule.name}\n",
        table(
            ("Name", "Description", "Type", "Key"), [(rule.name, rule.description, "Zabbix trapper", f"`{rule.key}`")]
        ),
        f"### Item prototypes for {rule.name}\n",
        _items(rule.items),
    ]
    if rule.triggers:
        parts += [f"### Trigger prototypes for {rule.name}\n", _triggers(rule.triggers)]
    return "\n".join(parts)


def _items(items: dict[str, Item]) -> str:
    return table(
        ("Name", "Description", "Type", "Key"),
        ((item.name, item.description, _type(item), f"`{key}`") for key, item in items.items()),
    )


def _type(item: Item) -> str:
    return f"Dependent item of `{item.rate_of}`" if item.rate_of else "Calculated" if item.formula else "Zabbix trapper"


def _triggers(triggers: Iterable[Trigger]) -> str:
    return table(
        ("Name", "Description", "Expression", "Severity", "Dependencies and additional info"),
        (
            (
                event_name(trigger),
                trigger.means,
                f"`{expression(trigger.expression)}`",
                trigger.priority.capitalize(),
                "; ".join(
                    [
                        *(["Disabled as shipped"] if not trigger.is_enabled else []),
                        *(f"Depends on: {name}" for name in trigger.depends_on),
                    ]
                ),
            )
            for trigger in triggers
        ),
    )


_HEAD = f"""\
# {TEMPLATE}

## Overview

TCP sockets of a Linux host by state, port, service and container. The daemon tcp-status-sender counts them straight from the kernel,
and pushes the counts as trapper items: nothing is polled, and no Zabbix agent is needed. The template has a dashboard, graphs, and
triggers whose descriptions are runbooks.

## Requirements

Zabbix version {{version}} and higher. The daemon tcp-status-sender on each host.

## Tested versions

{{tested}}
## Setup

1. Install tcp-status-sender on the host, as its README says.
2. Import the template, and link it to the host. The host needs no interface.
3. In `/etc/tcp-status-sender/config.yaml`, set `host` to exactly the host's name in Zabbix (case matters), and `destinations` to the
   server, or to the proxy that monitors the host.
4. Run `tcp-status-sender check`, which says what is wrong and what to do, and `systemctl enable --now tcp-status-sender`.

To set a threshold for one port alone, use the port as context: `{{{{$TCP.CLOSE_WAIT.MAX.WARN:"443"}}}}`.
"""
_FEEDBACK = """\
## Feedback

Report problems with the template or the daemon to the project tcp-status-sender.
"""
