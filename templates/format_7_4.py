"""The template as YAML for the host wizard, which 7.4 and later ones import: 8.0 takes 7.4 for its own.

What it has beyond format 7.0 is what the wizard says and asks for. What these versions ignore in an import is left out: it would
show as a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from templates import format_6_0, format_7_0
from templates.model import GROUP
from templates.wizard import ASKED, README
from templates.yaml import document

if TYPE_CHECKING:
    from templates.model import Template
    from templates.xml import Tree

_TEXTS = {"CHAR", "TEXT"}  # of which there are no trends


def write(template: Template) -> str:
    """Return the whole file."""
    return document(
        {
            "version": "7.4",
            "template_groups": format_6_0.groups(),
            "templates": [
                {
                    **format_6_0.head(template),
                    "wizard_ready": "YES",
                    "readme": README,
                    "vendor": format_7_0.vendor("7.4"),
                    "groups": [{"name": GROUP[0]}],
                    **_lean(format_7_0.today(format_6_0.objects(template))),
                    "macros": [{**macro, **_config(str(macro["macro"]))} for macro in format_6_0.macros(template)],
                    **format_6_0.dashboard(template, format_7_0.pages(template)),
                    **format_6_0.value_maps(template),
                }
            ],
            **_lean(format_7_0.today(format_6_0.beside(template))),
        }
    )


def _lean(part: Any) -> Any:
    """Return a part of format 7.0 without what these versions ignore."""
    if isinstance(part, Mapping):
        return {tag: _lean(inside) for tag, inside in part.items() if not _is_ignored(tag, part)}
    return part if isinstance(part, str) else [_lean(one) for one in part]


def _is_ignored(tag: str, part: Mapping[str, Any]) -> bool:
    """Return whether a tag is: the interval of what is not polled, letters of conditions that a formula would name ..."""
    return tag in ("delay", "formulaid", "parameters") or (tag == "trends" and part.get("value_type") in _TEXTS)


def _config(macro: str) -> Tree:
    """Return how the wizard asks for a macro, if it does."""
    if macro not in ASKED:
        return {}
    asked = ASKED[macro]
    return {
        "config": {
            "type": "TEXT",
            "priority": str(list(ASKED).index(macro) + 1),
            "section_name": asked.section,
            "label": asked.label,
            "required": "YES",
            "regex": asked.fits,
        }
    }
