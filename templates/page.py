"""docs/template.md: what the template brings, for people who want to know before they import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.items import TEMPLATE
from templates.format_6_0 import event_name
from templates.model import calls
from templates.wizard import ASKED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from templates.model import Item, Rule, Template, Tile, Trigger

_HEAD = f"""\
# The template

**{TEMPLATE}**. `make template` writes it, and this page, from the source in `templates/`.

| Zabbix | command | file |
|---|---|---|
| 7.4 and later | `tcp-status-sender template --format 7.4` | `templates/tcp_states_template_7.4.yaml` |
| 7.0 and later | `tcp-status-sender template --format 7.0` | `templates/tcp_states_template_7.0.yaml` |
| 6.0 and later | `tcp-status-sender template` | `templates/tcp_states_template.xml` |
| 3.4 to 5.4 | `tcp-status-sender template --format 3.4` | `templates/tcp_states_template_3.4.xml` |

All have the same items, triggers and graphs. `provision` takes the newest that the server imports. Format 7.0 differs from 6.0 in
what Zabbix did not know before:

- [The dashboard](#dashboard-from-70-on) has colours by threshold, gauges, a cell for each port, and a history of the texts.
- The list of templates shows vendor and version.
- Items that discovery no longer finds stay enabled until they are deleted after 7 days. This is as before 7.0, but 7.0 has
  another default.

Format 7.4 is format 7.0 with what the host wizard shows: how to set up the host, and questions for
[the macros that people change](#the-host-wizard-from-74-on). Zabbix 8.0 imports it as it is.

What was run, and what was not:

- The tests import formats 3.4, 6.0 and 7.0 into real servers, and look at the dashboard in a real browser. Format 7.0 goes into 7.0.22,
  also over formats 3.4 and 6.0, and into 7.0.29, also over format 6.0.
- Of 7.4 and 8.0 no server is packaged. A test compares format 7.4 with the rules that the public sources of both have for an import. It
  was in no server.

`packaging/zabbix-community-templates` has formats 7.0 and 7.4 as zabbix/community-templates wants them, each with its page. The
templates are links there: `cp -rL` copies what is behind them.

Format 3.4 differs in what Zabbix did not know then:

- It has applications instead of tags, and a screen instead of the dashboard.
- Prototypes that are not created as shipped are created disabled.
- Event names, operational data and the descriptions of macros are missing.

After an upgrade of the server, bring the newer file over the older one: items, triggers and graphs keep their ids, items their
history, and hosts their macros.

- `tcp-status-sender provision` does it in every version from 6.0 on, with `--template-only`. It keeps what you have added to the template.
- By hand, tick *Create new* and *Update existing* for everything in the import's dialog. *Delete missing*, which the dialog ticks
  by default from 6.4 on, deletes what you have added to the template: untick it to keep that.
- If the import by hand says that a trigger already exists, the template is of another version, or the upgrade of the server has
  given other uuids to its triggers. Use `provision`, or tick *Delete missing* for triggers: they are made anew, and their open
  problems end. Items keep their history.
"""

_RUNBOOKS = """\
## Runbooks

These are the descriptions of the triggers. Zabbix shows them beside a problem.

- **In the list of problems**, set *Show operational data* in the filter of *Monitoring > Problems* to *Separately*. The column then
  has the current figure, and whose the sockets are or where they lead.
- **In messages**, such as mail, `{EVENT.OPDATA}` is the same. The messages of a new Zabbix have it. To have the runbook there, too,
  add `{TRIGGER.DESCRIPTION}` to the message template of the media type.
"""

_WIZARD = """\
## The host wizard from 7.4 on

It asks for these, with the template's default as the answer. The others are on the host's tab *Macros*.
"""
_BOARDS = """\
## Dashboard from 7.0 on

Format 7.0 has the same pages, made of newer widgets.

![The page Overview in Zabbix 7.0: CLOSE_WAIT is yellow, the accept queue of port 8080 red](images/dashboard-7.0.png)

[The page Who](images/who-7.0.png) of the same hour has whose the sockets are. Widgets have the colour of the severity of a trigger:
yellow for warning, orange for average, red for high.

- **The thresholds are the macros' defaults.** A widget takes numbers only. If you change a macro, the triggers follow and the colours do
  not: change them in the template's dashboard, too. The next import sets them back.
- **Graphs are shaded** for as long as a problem of their items was open. Dashed lines are the thresholds of triggers that look at one
  figure alone.
- **Cells have all that discovery has found**, up to 1,000. A graph by port or service has the first 50 by name: Zabbix draws no
  more. A page without any is empty, such as
  *Containers* where no network namespaces are reported.
"""
_TRIGGERS = """- **A leak at one port is two problems.** That of the host names the owner, that of the port has its number in a tag. Who wants only
  one disables the prototypes of the other. A higher threshold for one port leaves that of the host as it is: the host counts all.
- **`*UNKNOWN*` in the place of a name** means that the host does not tell whose its sockets are: it has Linux before 5.8, no cgroup
  v2, `services.report: false` or `name_destinations: false`.
- **Do not disable an item.** The daemon goes on sending it, and Zabbix goes on rejecting it, which is a problem. Let Zabbix store no
  history and no trends of it instead.
- **With more than 5 minutes between samples**, the triggers that look at what has grown in five minutes never fire: requests dropped,
  SYN cookies, closing without TIME_WAIT, segments sent again. With more than 15 neither does that of memory under pressure, and
  with more than 30 those of values rejected and dropped hardly ever do. `check` says so.
"""
_KINDS = {
    "item": "",
    "gauge": " (gauge)",
    "honeycomb": " (cells)",
    "svggraph": " (graph)",
    "graphprototype": " (graphs)",
    "itemhistory": " (history)",
}


def write(template: Template) -> str:
    """Return the whole page."""
    parts = [
        _HEAD,
        "## Items\n",
        _items(template.items),
        *(_rule(rule) for rule in template.rules),
        "## Triggers\n\nEvery threshold is a macro. To set one for a single port, use the port as context:",
        '`{$TCP.CLOSE_WAIT.MAX.WARN:"443"}`.\n',
        _TRIGGERS,
        _triggers(template.all_triggers()),
        _RUNBOOKS,
        *(_runbook(trigger) for trigger in template.all_triggers()),
        "## Macros\n",
        table(
            ("macro", "default", "meaning"),
            ((f"`{macro}`", f"`{default.value}`", default.description) for macro, default in template.macros.items()),
        ),
        _WIZARD,
        table(
            ("section", "asks for", "macro"),
            ((asked.section, asked.label, _code(macro)) for macro, asked in ASKED.items()),
        ),
        "## Dashboard\n\nOn the host: *Monitoring > Hosts > Dashboards*. A state has the same colour everywhere.\n",
        table(
            ("page", "shows"),
            ((page.name, "; ".join(_code(w.shows) for w in page.widgets)) for page in template.pages),
        ),
        _BOARDS,
        table(
            ("page", "shows"),
            ((board.name, "; ".join(_tile(tile) for tile in board.tiles)) for board in template.boards),
        ),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _tile(tile: Tile) -> str:
    return f"{tile.title}{_KINDS[tile.kind]}"


def _code(text: str) -> str:
    return f"`{text}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n\n", " ") for cell in line) + " |\n" for line in lines
    )


def _items(items: dict[str, Item]) -> str:
    return table(
        ("key", "name", "unit", "meaning"),
        ((_code(key), item.name, item.units, item.description) for key, item in items.items()),
    )


def _rule(rule: Rule) -> str:
    return f"## {rule.name}\n\n`{rule.key}`: {rule.description}\n\n{_items(rule.items)}"


def _triggers(triggers: Sequence[Trigger]) -> str:
    return table(
        ("problem", "severity", "depends on"),
        (
            (
                f"{_code(event_name(t))}{'' if t.is_enabled else ', disabled as shipped'}",
                t.priority.lower(),
                "; ".join(t.depends_on),
            )
            for t in triggers
        ),
    )


def _runbook(trigger: Trigger) -> str:
    commands = "\n".join(f"    {command}" for command in trigger.run)
    told = f"{trigger.told}: {_code(calls(trigger.expression)[1].key)}.\n\n" if trigger.told else ""
    return (
        f"### {trigger.name}\n\n{told}{trigger.means}\n\nExpression: `{trigger.expression}`\n\nRun on the host, as root:\n\n"
        f"{commands}\n\n{trigger.do}\n"
    )
