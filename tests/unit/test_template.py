"""The template: the daemon's keys, no more and no fewer, in the form that Zabbix 6.0 and later import."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sender import template
from sender.items import KEYS
from sender.model import TcpState

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root() -> ET.Element:
    """The bundled template, as installed."""
    return ET.fromstring(template.text("6.0"))  # noqa: S314  our own file


def texts(root: ET.Element, path: str) -> list[str]:
    """The texts of all elements at `path`."""
    return [element.text or "" for element in root.iterfind(path)]


def test_template_and_daemon_have_the_same_keys(root: ET.Element) -> None:
    """Every key that the daemon sends has its item, and there is no item that nothing fills."""
    assert texts(root, ".//items/item/key") == list(KEYS)
    assert set(texts(root, ".//items/item/type")) == {"TRAP"}


def test_every_item_explains_itself(root: ET.Element) -> None:
    """Each item has a name of its own, a description, a component tag and a history."""
    items = list(root.iterfind(".//items/item"))
    assert len({item.findtext("name") for item in items}) == len(items)
    for item in items:
        assert len(item.findtext("description") or "") > 40
        assert texts(item, "tags/tag/tag") == ["component"]
        assert item.findtext("history") == "14d"


def test_every_state_is_explained_in_words_of_its_own(root: ET.Element) -> None:
    """No two states have one description."""
    descriptions = {
        item.findtext("description")
        for item in root.iterfind(".//items/item")
        if "status" in (item.findtext("key") or "")
    }
    assert len(descriptions) == len(TcpState) + 1


def test_values_fit_their_items(root: ET.Element) -> None:
    """A value of the wrong type is processed and dropped by Zabbix without a word: the types must fit."""
    types = {item.findtext("key"): item.findtext("value_type", "UNSIGNED") for item in root.iterfind(".//items/item")}
    expected = dict.fromkeys(KEYS, "UNSIGNED") | {"tcp.sender.version": "CHAR", "tcp.sender.sample.time": "FLOAT"}
    assert types == expected


def test_uuids_are_version_4_and_differ(root: ET.Element) -> None:
    """The import takes only uuids of version 4, 32 lower-case hex digits, each once."""
    found = texts(root, ".//uuid")
    assert len(set(found)) == len(found) == len(KEYS) + 3
    for text in found:
        parsed = uuid.UUID(text)
        assert (parsed.hex, parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_no_data_is_a_problem(root: ET.Element) -> None:
    """There is a nodata trigger, its time is a macro, and the macro has a default."""
    (trigger,) = root.iterfind(".//triggers/trigger")
    assert trigger.findtext("expression") == (
        "nodata(/TCP states by Zabbix trapper/tcp.status[TOTAL],{$TCP.NODATA.TIMEOUT})=1"
    )
    assert trigger.findtext("priority") == "WARNING"
    assert trigger.findtext("manual_close") == "YES"
    assert texts(trigger, "tags/tag/value") == ["availability"]
    assert texts(root, ".//macros/macro/macro") == ["{$TCP.NODATA.TIMEOUT}"]
    assert texts(root, ".//macros/macro/value") == ["10m"]


def test_the_file_is_not_stale() -> None:
    """The file in the repository is what its generator writes."""
    subprocess.run([sys.executable, REPOSITORY / "templates" / "generate.py", "--check"], check=True)
