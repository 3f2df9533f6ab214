"""The kinds of tiles that the dashboard from 7.0 on is made of. Knows the widgets' settings, and not what is where.

What is not set keeps its default. A threshold must be a number, so it is the default of the macro that a trigger goes by.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from templates.graphs import GRAPHS
from templates.items import ITEMS
from templates.macros import MACROS
from templates.model import Board, Field, Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {"WARNING": "FFC859", "AVERAGE": "FFA059", "HIGH": "E97659"}  # Zabbix's own, of severities
_FINE = ("0", "7EC49D")

_VALUE, _ARC = 2, 5  # parts of an item's and a gauge's tile
_SIZE = 45  # of a figure, in percent of its tile
_STACKED, _MOST = 1, 4  # how a graph draws, and which of several values a point stands for
_CUSTOM = 1  # size of a label
_ALL_ROWS, _LEGEND_ROWS = 1, 8
_HEADS_ABOVE = 1  # of a history's columns; as shipped they are turned, and take three lines
_ONE_LINE, _LENGTH = 5, 500  # how a history shows a text, and how much of it


class Part(NamedTuple):
    """A tile whose place its row gives it."""

    kind: str
    title: str
    fields: Sequence[Field]
    width: int = 1  # relative to the others in the row


class Row(NamedTuple):
    """Tiles side by side."""

    height: int
    parts: Sequence[Part]


def board(name: str, *rows: Row) -> Board:
    """Return a page of rows, each 72 columns wide, one below the other."""
    tops = accumulate((row.height for row in rows), initial=0)
    return Board(name=name, tiles=tuple(tile for y, row in zip(tops, rows, strict=False) for tile in _tiles(y, row)))


def _tiles(y: int, row: Row) -> list[Tile]:
    unit = 72 // sum(part.width for part in row.parts)
    lefts = accumulate((part.width * unit for part in row.parts), initial=0)
    return [
        Tile(
            kind=part.kind,
            title=part.title,
            x=x,
            y=y,
            width=part.width * unit,
            height=row.height,
            fields=tuple(part.fields),
        )
        for x, part in zip(lefts, row.parts, strict=False)
    ]


def figure(key: str, title: str, *thresholds: tuple[str, str], size: int = _SIZE) -> Part:
    """Return the last value of an item, on the colour of the threshold that it has reached."""
    return Part("item", title, [*_last_value(key, size), *_thresholds(thresholds)])


def text(key: str, title: str) -> Part:
    """Return the last value of an item that is a text, small enough to be whole."""
    return Part("item", title, [*_last_value(key, 20), _number("value_bold", 0)])


def gauge(key: str, title: str, *thresholds: tuple[str, str]) -> Part:
    """Return a percentage as a gauge, with the thresholds on it."""
    fields = [
        _item("itemid.0", key),
        _number("show.0", _VALUE),
        _number("show.1", _ARC),
        _number("decimal_places", 1),
        _number("th_show_arc", 1),
    ]
    return Part("gauge", title, [*fields, *_thresholds((_FINE, *thresholds))])


def cells(pattern: str, title: str, label: str, *thresholds: tuple[str, str], digits: int = 0) -> Part:
    """Return a honeycomb of the items whose name is like `pattern`; `label` is what of the name stands in a cell."""
    fields = [
        _string("items.0", pattern),
        _string("primary_label", f'{{{{ITEM.NAME}}.regsub("{label}", "\\1")}}'),
        _number("primary_label_size_type", _CUSTOM),
        _number("primary_label_size", 18),
        _number("secondary_label_decimal_places", digits),
        _number("secondary_label_size_type", _CUSTOM),
        _number("secondary_label_size", 25),
    ]
    return Part("honeycomb", title, [*fields, *_thresholds((_FINE, *thresholds))])


def graph(name: str, *, columns: int = 2) -> Part:
    """Return the template's graph of this name as today's graph, with `columns` in its legend."""
    (known,) = (each for each in GRAPHS if each.name == name)
    return Part(
        "svggraph",
        name,
        [
            _number("ds.0.dataset_type", 0),
            *(_item(f"ds.0.itemids.{n}", line.key) for n, line in enumerate(known.lines)),
            *(_string(f"ds.0.color.{n}", line.colour) for n, line in enumerate(known.lines)),
            *_draw(is_stacked=known.is_stacked),
            *([_string("lefty_max", "100")] if known.is_percent else []),
            *_axis_and_legend(columns),
            _number("show_problems", 1),
        ],
    )


def lines(title: str, pattern: str, colour: str, *, is_stacked: bool = False) -> Part:
    """Return a graph of all items whose name is like a pattern, in shades of a colour."""
    return Part(
        "svggraph",
        title,
        [
            _string("ds.0.items.0", pattern),
            _string("ds.0.color", colour),
            *_draw(is_stacked=is_stacked),
            *_axis_and_legend(1),
        ],
    )


def over(macro: str, priority: str, *, seconds: int = 1) -> tuple[str, str]:
    """Return the threshold at a macro's default, with the colour of a trigger's priority. Of a rate, the default is in `seconds`.

    A tile has the colour of what it reaches, and over 0 is 1.
    """
    value = float(MACROS[f"{{$TCP.{macro}}}"].value) / seconds
    return f"{value or 1:g}", _COLOURS[priority]


def prototypes(graph_prototype: str, title: str, rows: int, *, columns: int = 1) -> Part:
    """Return the graphs that discovery makes of a prototype."""
    return Part(
        "graphprototype",
        title,
        [
            Field(kind="GRAPH_PROTOTYPE", name="graphid.0", value=graph_prototype),
            _number("columns", columns),
            _number("rows", rows),
        ],
    )


def history(title: str, *texts: tuple[str, str]) -> Part:
    """Return when each text has changed to what, the newest first; `texts` are pairs of a key and its name here."""
    columns = [
        [
            _item(f"columns.{n}.itemid", key),
            _string(f"columns.{n}.name", name),
            _number(f"columns.{n}.display", _ONE_LINE),
            _number(f"columns.{n}.max_length", _LENGTH),
        ]
        for n, (key, name) in enumerate(texts)
    ]
    return Part(
        "itemhistory",
        title,
        [
            *(field for fields in columns for field in fields),
            _number("show_timestamp", 1),
            _number("show_column_header", _HEADS_ABOVE),
        ],
    )


def _number(name: str, value: int) -> Field:
    return Field(kind="INTEGER", name=name, value=str(value))


def _string(name: str, value: str) -> Field:
    return Field(kind="STRING", name=name, value=value)


def _item(name: str, key: str) -> Field:
    return Field(kind="ITEM", name=name, value=key)


def _last_value(key: str, size: int) -> list[Field]:
    whole = [] if ITEMS[key].value_type else [_number("decimal_places", 0)]
    smaller = [] if size == _SIZE else [_number("value_size", size)]
    return [_item("itemid.0", key), _number("show.0", _VALUE), *smaller, *whole]


def _thresholds(pairs: Sequence[tuple[str, str]]) -> list[Field]:
    return [
        field
        for n, (value, colour) in enumerate(pairs)
        for field in (_string(f"thresholds.{n}.color", colour), _string(f"thresholds.{n}.threshold", value))
    ]


def _draw(*, is_stacked: bool) -> list[Field]:
    """Return how lines are drawn. The thresholds of triggers are of single ones."""
    if is_stacked:
        return [_number("ds.0.stacked", _STACKED), _number("ds.0.fill", 7), _number("ds.0.transparency", 0)]
    return [
        _number("ds.0.approximation", _MOST),
        _number("ds.0.fill", 2),
        _number("ds.0.transparency", 2),
        _number("ds.0.width", 2),
        _number("simple_triggers", 1),
    ]


def _axis_and_legend(columns: int) -> list[Field]:
    return [
        _string("lefty_min", "0"),
        _number("legend_columns", columns),
        _number("legend_lines_mode", _ALL_ROWS),
        _number("legend_lines", _LEGEND_ROWS),
    ]
