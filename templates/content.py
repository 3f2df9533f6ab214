"""The template as one value, checked against the daemon's table of keys."""

from __future__ import annotations

import sys

from sender.items import DISCOVERIES, KEYS, TEXTS
from templates import boards, dashboard, ephemeral, event_triggers, flood_triggers, sender_triggers, triggers
from templates.counters import DERIVED
from templates.graphs import GRAPHS
from templates.items import ITEMS, VALUE_MAPS
from templates.macros import MACROS
from templates.model import Template
from templates.namespaces import NETWORK_NAMESPACES
from templates.owners import SERVICES
from templates.ports import PORTS, REMOTES

RULES = (PORTS, REMOTES, SERVICES, NETWORK_NAMESPACES)

DESCRIPTION = """\
TCP sockets of a Linux host by state, port and service, pushed by the daemon tcp-status-sender. Its items are trapper items, \
and rates that the server makes of them: nothing is polled, and no Zabbix agent is needed.

Setup: link this template to the host, and on the host set host: of /etc/tcp-status-sender/config.yaml to exactly \
the technical host name (case matters) and destinations: to this server or the host's proxy. From Zabbix 5.2 on the \
host needs no interface; before, it needs one of an agent, which nothing uses. A server takes new items within a \
minute, a proxy after its ConfigFrequency (an hour before 6.4)."""


def template() -> Template:
    """Return the template. Raises SystemExit when its keys are not those that the daemon sends."""
    keys = {("", key) for key in (*KEYS, *TEXTS)} | {(rule, key) for rule, keys in DISCOVERIES.items() for key in keys}
    ours = {("", key) for key in ITEMS}
    ours |= {(rule.key, key) for rule in RULES for key, item in rule.items.items() if not item.is_derived}
    if keys != ours:
        sys.exit(f"template and sender/items.py differ in {sorted(keys ^ ours)}")
    return Template(
        description=DESCRIPTION,
        items={**{key: ITEMS[key] for key in (*KEYS, *TEXTS)}, **DERIVED},
        rules=RULES,
        triggers=(
            *flood_triggers.TRIGGERS,
            *triggers.TRIGGERS,
            *ephemeral.TRIGGERS,
            *event_triggers.TRIGGERS,
            *sender_triggers.TRIGGERS,
        ),
        graphs=GRAPHS,
        dashboard=dashboard.NAME,
        pages=dashboard.PAGES,
        boards=boards.BOARDS,
        macros=MACROS,
        value_maps=VALUE_MAPS,
    )
