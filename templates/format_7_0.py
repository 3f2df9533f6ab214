"""The template as YAML, which 7.0 and all later ones import.

Objects and their uuids are those of format 6.0: an import over it, or over format 3.4, updates what is there. What is new is
the dashboard, whose template it is, and that nothing is disabled while discovery does not find it: so it was before 7.0, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from sender import __version__
from sender.items import TEMPLATE
from templates import format_6_0
from templates.model import GROUP
from templates.yaml import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from templates.model import Board, Field, Template, Tile
    from templates.xml import Tree

_VENDOR = "tcp-status-sender"
_LIFETIME = "7d"  # the default
_REFERRED = {"svggraph", "graphprototype", "itemhistory", "honeycomb"}  # tiles to which others can refer


def write(template: Template) -> str:
    """Return the whole file."""
    return document(
        {
            "version": "7.0",
            "template_groups": format_6_0.groups(),
            "templates": [
                {
                    **format_6_0.head(template),
                    "vendor": vendor("7.0"),
                    "groups": [{"name": GROUP[0]}],
                    **today(format_6_0.objects(template)),
                    "macros": format_6_0.macros(template),
                    **format_6_0.dashboard(template, pages(template)),
                    **format_6_0.value_maps(template),
                }
            ],
            **today(format_6_0.beside(template)),
        }
    )


def vendor(version: str) -> Tree:
    """Return whose the template is, and which: the Zabbix that it is for, and the daemon's version."""
    return {"name": _VENDOR, "version": f"{version}-{__version__}"}


def today(old: Any) -> Any:
    """Return a part of format 6.0 as it is now."""
    if isinstance(old, str):
        return old
    if not isinstance(old, Mapping):
        return [today(one) for one in old]
    if old.keys() == {"parameter"}:  # in XML the one of several
        return [old["parameter"]]
    return {tag: today(inside) for tag, inside in _entries(old)}


def _entries(old: Tree) -> Iterator[tuple[str, Any]]:
    for tag, inside in old.items():
        if tag == "lifetime":
            if inside != _LIFETIME:
                yield tag, inside
            yield "enabled_lifetime_type", "DISABLE_NEVER"
        else:
            yield tag, inside


def pages(template: Template) -> list[Tree]:
    """Return the pages of the dashboard."""
    numbers = count()
    return [_page(board, numbers) for board in template.boards]


def _page(board: Board, numbers: Iterator[int]) -> Tree:
    tiles = sorted(board.tiles, key=lambda tile: (tile.x, tile.y))  # as an export does
    return {"name": board.name, "widgets": [_widget(tile, numbers) for tile in tiles]}


def _widget(tile: Tile, numbers: Iterator[int]) -> Tree:
    fields = [_field(field) for field in tile.fields]
    if tile.kind in _REFERRED:
        fields.append({"type": "STRING", "name": "reference", "value": _reference(next(numbers))})
    return {
        "type": tile.kind,
        "name": tile.title,
        **({"x": str(tile.x)} if tile.x else {}),
        **({"y": str(tile.y)} if tile.y else {}),
        "width": str(tile.width),
        **({} if tile.height == 2 else {"height": str(tile.height)}),  # noqa: PLR2004  the default
        "fields": sorted(fields, key=_order),
    }


def _field(field: Field) -> Tree:
    value: str | Tree = field.value
    if field.kind == "ITEM":
        value = {"host": TEMPLATE, "key": field.value}
    elif field.kind == "GRAPH_PROTOTYPE":
        value = {"host": TEMPLATE, "name": field.value}
    return {"type": field.kind, "name": field.name, "value": value}


def _order(field: Tree) -> list[tuple[int, str]]:
    """Return what to sort by, as an export does: 2 comes before 10, and _ behind the letters."""
    parts = re.split(r"(\d+)", str(field["name"]).upper())
    return [(int(part) if part.isdigit() else 0, part) for part in parts]


def _reference(number: int) -> str:
    """Return a name for a widget that no other of the dashboard has: AAAAA, AAAAB ..."""
    return "AAA" + chr(ord("A") + number // 26) + chr(ord("A") + number % 26)
