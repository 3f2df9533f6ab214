"""What a template is made of, whatever the format of the export. Knows neither XML nor this template's content.

Words in capitals (UNSIGNED, WARNING, BOLD_LINE ...) are those of format 6.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

GROUP = ("Templates/Operating systems", "846977d1dfed4968bc5f8bdb363285bc")  # the group and uuid of Zabbix's own
HISTORY = "14d"  # longer than the daemon holds values back: Zabbix silently drops what is older than an item's history
MACRO = re.compile(r"\{\$[A-Z_.]+(?::\"[^\"]*\")?\}")


def text_at(place: int) -> str:
    """Return the newest text of an expression's function at `place`, whole: without a function the frontend shows 20 characters."""
    return f'{{{{ITEM.LASTVALUE{place}}}.regsub("(.*)", "\\1")}}'


TEXT = text_at(2)
"""The text to which `telling` refers, where the first condition has one function."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A trapper item, or the prototype of one; or one that the server makes of other items."""

    name: str
    description: str
    component: str
    value_type: str = ""  # UNSIGNED, which an export leaves out: written out, every import would show it as a change
    units: str = ""
    value_map: str = ""
    is_discovered: bool = True
    has_trends: bool = True  # of a raw counter they say nothing
    rate_of: str = ""  # the key of the counter whose change per second it is
    formula: str = ""  # of a calculated item, in the syntax of 6.0, with `//key`

    @property
    def is_derived(self) -> bool:
        """Return whether the server makes its values, so that nothing sends them."""
        return bool(self.rate_of or self.formula)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger, or the prototype of one. `expression` is in the syntax of 6.0, with `//key` in place of a host."""

    name: str
    detail: str  # what the event's name says in addition: the threshold
    expression: str
    priority: str
    scope: str
    value: str  # the operational data
    means: str
    run: tuple[str, ...]  # commands on the host
    do: str
    depends_on: tuple[str, ...] = ()  # the names of the triggers that make this one superfluous
    told: str = ""  # what the text says to which its expression refers: the description begins with it
    text: str = TEXT  # that text
    manual_close: bool = False
    is_enabled: bool = True
    first_expression: str = ""  # where a released version had another one: the uuid is made of it, and must stay

    @property
    def keys(self) -> list[str]:
        """Return the keys of the items in the expression, each once, in order."""
        return list(dict.fromkeys(call.key for call in calls(self.expression)))

    @property
    def macros(self) -> list[str]:
        """Return the macros in the expression, without their context."""
        return list(dict.fromkeys(without_context(macro) for macro in MACRO.findall(self.expression)))

    @property
    def description(self) -> str:
        """Return the runbook: whose it is, where a text tells; what it means, what to run next, what to do."""
        told = f"{self.told}: {self.text}\n" if self.told else ""
        commands = "\n".join(f"  {command}" for command in self.run)
        return f"{told}{self.means}\n\nRun on the host, as root:\n{commands}\n\n{self.do}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One item in a graph."""

    key: str
    colour: str
    draw: str = "BOLD_LINE"
    function: str = "AVG"  # what a point stands for where there are more values than pixels


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A classic graph, or the prototype of one. The axis begins at 0.

    A stacked graph does not show the thresholds of triggers: they are of single states.
    """

    name: str
    lines: tuple[Line, ...]
    is_stacked: bool = False
    is_percent: bool = False  # the axis ends at 100


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A low-level discovery rule. `filters` are pairs of an LLD macro and the stem of the two macros that it must fit.

    `tag` is the tag of all that it makes, with `macro` as its value; `application` what has the items in format 3.4.
    """

    key: str
    name: str
    description: str
    tag: str
    macro: str
    application: str
    filters: tuple[tuple[str, str], ...]
    items: dict[str, Item]
    triggers: tuple[Trigger, ...]
    graphs: tuple[Graph, ...]
    lifetime: str = "7d"


@dataclass(frozen=True, kw_only=True)
class Widget:
    """One widget of the dashboard, in a grid of 24 columns: the key of an item, or the name of a graph."""

    kind: str  # ITEM, GRAPH_CLASSIC, GRAPH_PROTOTYPE
    shows: str
    x: int
    y: int
    width: int
    height: int
    title: str = ""
    columns: int = 1
    rows: int = 1


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the dashboard."""

    name: str
    widgets: tuple[Widget, ...]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One setting of a tile. `value` is the key of an item, the name of a graph, or else the value itself."""

    kind: str  # INTEGER, STRING, ITEM, GRAPH_PROTOTYPE
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One widget of the dashboard from 7.0 on, in a grid of 72 columns."""

    kind: str  # item, gauge, honeycomb, svggraph, graphprototype, itemhistory
    title: str
    x: int
    y: int
    width: int
    height: int
    fields: tuple[Field, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One page of that dashboard."""

    name: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, kw_only=True)
class Macro:
    """A user macro's default, and what it is for."""

    value: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template with all its parts."""

    description: str
    items: dict[str, Item]
    rules: tuple[Rule, ...]
    triggers: tuple[Trigger, ...]
    graphs: tuple[Graph, ...]
    dashboard: str
    pages: tuple[Page, ...]
    boards: tuple[Board, ...]
    macros: dict[str, Macro]
    value_maps: dict[str, dict[str, str]] = field(default_factory=dict)

    def all_triggers(self) -> list[Trigger]:
        """Return triggers and their prototypes."""
        return [*self.triggers, *(trigger for rule in self.rules for trigger in rule.triggers)]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function in a trigger's expression."""

    text: str
    function: str
    key: str
    arguments: str


_CALL = re.compile(r"(?P<function>[a-z]+)\(//(?P<key>[a-z._]+(?:\[[^]]*\])?)(?:,(?P<arguments>[^()]*))?\)")


def calls(expression: str) -> list[Call]:
    """Return the functions in an expression, in order."""
    return [
        Call(text=found[0], function=found["function"], key=found["key"], arguments=found["arguments"] or "")
        for found in _CALL.finditer(expression)
    ]


def lasting(key: str, threshold: str, period: str = "5m") -> str:
    """Return an expression for a value that is high for a whole period, and was when the period began.

    min() alone would be content with a first sample, or with the first after a stop.

    Not in every trigger: Zabbix draws the threshold into graphs only where min() stands alone.
    """
    return f"min(//{key},{period})>{threshold} and last(//{key},#1:now-{period})>{threshold}"


def growth(key: str, begin: str = "6m", end: str = "1m") -> str:
    """Return an expression for what a counter has grown by in a window, by default the five minutes that ended a minute ago.

    A counter that seldom changes is seldom sent: a window of its values may be empty, while the last value before a moment is
    always known. A counter that begins anew makes the growth negative. The window does not end now, because of the newest
    sample, and of samples that arrive late, Zabbix may know one item and not yet the other.
    """
    return f"last(//{key},#1:now-{end})-last(//{key},#1:now-{begin})"


def watched(key: str, begin: str = "6m") -> str:
    """Return an expression for a daemon that was there in the hour before a window begins.

    What was counted while it was stopped for long is not of the last minutes. `key` comes with every sample, so that a trigger
    in which this stands is judged, and ends, while its counter is not sent. count() is 0, never unknown, without values. With a
    pattern it is the same text, and so the same uuid, whether a server imports format 3.4 or has it from before 5.4.
    """
    return f'count(//{key},1h:now-{begin},"ge","0")>0'


def telling(expression: str, *keys: str) -> str:
    """Return an expression that is true when `expression` is, and in which the newest values of `keys` can be quoted.

    Zabbix numbers the functions in an expression as they stand, the same ones again, too. Those of `keys` come after those of the
    first condition: at 2 after min(), at 3 after `growth`. Where a key never had a value count() is 0, never unknown. Only where
    its item is disabled the trigger is judged no more. And Zabbix draws no threshold into graphs any more, not even where min()
    stood alone.
    """
    first, *others = expression.split(" and ")
    return " and ".join([first, *(f"count(//{key},#1)>=0" for key in keys), *others])


def without_context(macro: str) -> str:
    """Return `{$X:"443"}` as `{$X}`."""
    return re.sub(r":\".*\"\}$", "}", macro)
