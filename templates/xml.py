"""The little of XML that formats 3.4 and 6.0 need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Union
from xml.etree import ElementTree as ET

Tree = Mapping[str, Union[str, "Tree", "Sequence[Tree]"]]
"""Tags to texts, or to what is inside; a sequence is a list of elements whose tag is the singular."""

_SINGULARS = {
    "dependencies": "dependency",
    "preprocessing": "step",
    "macros": "macro",
}


def document(tree: Tree) -> str:
    """Return the whole export, as both formats begin and end it."""
    root = ET.Element("zabbix_export")
    _fill(root, tree)
    ET.indent(root, "    ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _fill(parent: ET.Element, tree: Tree) -> None:
    for tag, inside in tree.items():
        child = ET.SubElement(parent, tag)
        if isinstance(inside, str):
            child.text = inside
        elif isinstance(inside, Mapping):
            _fill(child, inside)
        else:
            for one in inside:
                _fill(ET.SubElement(child, _SINGULARS.get(tag, tag.removesuffix("s"))), one)


def without_empty(tree: Tree) -> Tree:
    """Return fields without those that are empty: format 6.0 leaves them out."""
    return {tag: inside for tag, inside in tree.items() if inside}
