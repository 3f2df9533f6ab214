"""The bundled template's uuids, exchanged for those that a Zabbix has given to the same objects. Knows no call of the API.

An import finds objects by uuid, and only some versions go on to look for the name: 7.0 does not for triggers, and then
refuses a second one of the same name and expression. The older form has no uuids: Zabbix makes some of its own when it
imports that, or when it is upgraded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

_Name = tuple[str, str, str]  # kind, key of the discovery rule or "", name
_NAMED_BY = {
    "template": "template",
    "item": "key",
    "discovery_rule": "key",
    "item_prototype": "key",
    "trigger": "name",
    "trigger_prototype": "name",
    "graph": "name",
    "graph_prototype": "name",
    "dashboard": "name",
    "valuemap": "name",
}


def with_their_uuids(source: str, exported: str) -> str:
    """Return `source`, XML or JSON, with the uuids that the same objects have in the XML `exported`.

    What has its uuid there already, or no counterpart or several, keeps it. Raises ValueError where `exported` is no XML.
    """
    try:
        theirs = list(_identified(ET.fromstring(exported)))  # noqa: S314  of the Zabbix that is given our keys
    except ET.ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    known = {uuid for _, _, uuid in theirs}
    exchanged = {}
    for name, expression, uuid in _identified(_parsed(source)):
        same = [each for each in theirs if each[0] == name]
        exact = [each for each in same if each[1] == expression] or same
        if uuid not in known and len(exact) == 1:
            exchanged[uuid] = exact[0][2]
    return re.sub(r"\b[0-9a-f]{32}\b", lambda found: exchanged.get(found[0], found[0]), source)


def _parsed(source: str) -> ET.Element:
    """Return our own file as XML."""
    if source.startswith("<"):
        return ET.fromstring(source)  # noqa: S314  our own
    return _element("export", json.loads(source))


def _element(tag: str, value: Any) -> ET.Element:
    """Return what JSON holds as the same in XML, where each of several has the name of one."""
    element = ET.Element(tag)
    if isinstance(value, Mapping):
        element.extend([_element(name, part) for name, part in value.items()])
    elif isinstance(value, list):
        element.extend([_element(tag.removesuffix("s"), part) for part in value])
    else:
        element.text = value
    return element


def _identified(element: ET.Element, rule: str = "") -> Iterator[tuple[_Name, str, str]]:
    """Yield the name, the expression and the uuid of each object in the XML.

    An export has a trigger beside its items, or in its only one: where it stands is not part of its name.
    """
    named_by, uuid = _NAMED_BY.get(element.tag), element.findtext("uuid")
    if named_by and uuid:
        yield (element.tag, rule, element.findtext(named_by, "")), element.findtext("expression", ""), uuid
    if element.tag == "discovery_rule":
        rule = element.findtext("key", "")
    for child in element:
        yield from _identified(child, rule)
