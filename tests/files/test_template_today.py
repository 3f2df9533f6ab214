"""The template for today's Zabbix, in YAML: the objects of format 6.0 under the same uuids, and a dashboard that fits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from sender.commands import template
from sender.items import TEMPLATE
from sender.settings import yaml_file
from templates import format_7_0, format_7_4
from templates.content import template as content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from templates.model import Template

FORMS = sorted(form for form in template.FORMATS if template.FORMATS[form].endswith(".yaml"))
COLUMNS, ROWS = 72, 64
UUID = re.compile(r"\b[0-9a-f]{32}\b")
SEVERITIES = {"WARNING": "FFC859", "AVERAGE": "FFA059", "HIGH": "E97659"}
FINE = ("0", "7EC49D")


@pytest.fixture(scope="module", params=FORMS)
def export(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the export in each of these forms."""
    whole: dict[str, Any] = yaml_file.parsed(template.text(request.param))["zabbix_export"]
    assert whole["version"] == request.param
    return whole


@pytest.fixture
def ours(export: dict[str, Any]) -> dict[str, Any]:
    """Return the one template in it."""
    (ours,) = export["templates"]
    return dict(ours)


@pytest.fixture
def pages(ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the pages of its one dashboard."""
    (dashboard,) = ours["dashboards"]
    return list(dashboard["pages"])


def fields(widget: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a widget by name; each is there once."""
    found = {field["name"]: field["value"] for field in widget["fields"]}
    assert len(found) == len(widget["fields"])
    return found


def leaves(value: Any) -> Iterator[Any]:
    """Yield keys and values of all that is in it."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def names(ours: dict[str, Any]) -> dict[str, str]:
    """Return the name of each item, prototypes among them, by key."""
    items = [*ours["items"], *(item for rule in ours["discovery_rules"] for item in rule["item_prototypes"])]
    return {item["key"]: item["name"] for item in items}


@pytest.mark.parametrize(("form", "write"), [("7.0", format_7_0.write), ("7.4", format_7_4.write)])
def test_it_is_written_the_same_again(form: str, write: Callable[[Template], str]) -> None:
    """The file is what the source says, to the letter, whenever it is made."""
    assert write(content()) == write(content()) == template.text(form)


def test_every_value_is_a_text(export: dict[str, Any]) -> None:
    """The import takes nothing else: a number that is not quoted breaks it. Nor does any reader see a truth value."""
    assert {type(leaf) for leaf in leaves(export)} == {str}


@pytest.mark.parametrize("form", FORMS)
def test_no_reader_takes_a_text_for_something_else(form: str) -> None:
    """What is not quoted is neither a number nor a truth value, in the older YAML and in the newer."""
    bare = re.findall(r"^ *(?:- )?(?:([^'\" #][^:\n]*):(?: ([^'|\n][^\n]*))?)$", template.text(form), re.MULTILINE)
    assert len(bare) > 1000
    words = {word for pair in bare for word in pair if word}
    assert not {word for word in words if re.fullmatch(r"(?i)y|n|yes|no|on|off|true|false|null|~", word)}
    assert not {
        word for word in words if re.fullmatch(r"[-+]?[\d_.]+(e[-+]?\d+)?|0x[\da-f]+|0o[0-7]+", word, re.IGNORECASE)
    }


def test_it_has_the_objects_of_format_6_0(export: dict[str, Any]) -> None:
    """Every uuid is that of the same object there: an import over it updates in place, and makes nothing twice."""
    older = ET.fromstring(template.text("6.0"))  # noqa: S314  our own file
    of_older = [uuid.text for uuid in older.iter("uuid")]
    newer = [leaf for leaf in leaves(export) if UUID.fullmatch(leaf)]
    assert sorted(newer) == sorted(filter(None, of_older))
    by_key = {item.findtext("uuid"): item.findtext("key") for item in older.iter() if item.find("key") is not None}
    items = [*export["templates"][0]["items"], *export["templates"][0]["discovery_rules"]]
    items += [item for rule in export["templates"][0]["discovery_rules"] for item in rule["item_prototypes"]]
    assert {item["uuid"]: item["key"] for item in items} == {uuid: key for uuid, key in by_key.items() if uuid}


def test_it_says_whose_and_which_it_is(export: dict[str, Any], ours: dict[str, Any]) -> None:
    """The list of templates shows vendor and version: the oldest Zabbix that it is for, and the daemon's."""
    assert ours["vendor"]["name"] == "tcp-status-sender"
    assert re.fullmatch(re.escape(export["version"]) + r"-\d+\.\d+\.\d+", ours["vendor"]["version"])


def test_what_discovery_no_longer_finds_stays_enabled(ours: dict[str, Any]) -> None:
    """As before 7.0, whose default is another: a port that comes back has its values at once. After 7 days it is deleted."""
    for rule in ours["discovery_rules"]:
        assert rule["enabled_lifetime_type"] == "DISABLE_NEVER"
        assert not {"lifetime", "lifetime_type"} & rule.keys()  # 7d and DELETE_AFTER are the defaults


def test_widgets_fit_and_do_not_overlap(pages: list[dict[str, Any]]) -> None:
    """Each page is 72 columns wide, all of them used, and no widget covers another, or is called as another."""
    assert len({page["name"] for page in pages}) == len(pages) == 8
    for page in pages:
        assert len({widget["name"] for widget in page["widgets"]}) == len(page["widgets"])
        taken: set[tuple[int, int]] = set()
        for widget in page["widgets"]:
            x, y, width = (int(widget.get(name, 0)) for name in ("x", "y", "width"))
            height = int(widget.get("height", 2))
            area = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            assert width > 0
            assert not area & taken
            taken |= area
        assert {column for column, _ in taken} == set(range(COLUMNS))
        assert {row for _, row in taken} == set(range(max(row for _, row in taken) + 1)) <= set(range(ROWS))
        assert len(taken) == COLUMNS * (max(row for _, row in taken) + 1)


def test_widgets_show_what_the_template_has(ours: dict[str, Any], pages: list[dict[str, Any]]) -> None:
    """Items and graphs that they name exist, patterns find at least one prototype, and labels are made of its name."""
    known, graphs = names(ours), {g["name"] for rule in ours["discovery_rules"] for g in rule["graph_prototypes"]}
    patterns = 0
    for widget in (widget for page in pages for widget in page["widgets"]):
        settings = fields(widget)
        for value in settings.values():
            if isinstance(value, dict):
                assert value.pop("host") == TEMPLATE
                assert set(value.values()) <= known.keys() | graphs
        for name in settings.keys() & {"items.0", "ds.0.items.0"}:
            like = re.compile(re.escape(settings[name]).replace(r"\*", ".*"))
            found = [each for each in known.values() if like.fullmatch(each)]
            assert len(found) == 1
            patterns += 1
            if label := re.search(r'regsub\("(.*)", "\\1"\)', settings.get("primary_label", "")):
                shown = re.search(label[1], found[0].replace("{#UNIT}", "a.service"))
                assert shown
                assert shown[1] in {"{#NAME}", "a", "{#NETNS}"}
    assert patterns == 16


def test_every_widget_that_others_may_refer_to_has_a_name_of_its_own(pages: list[dict[str, Any]]) -> None:
    """Where two had the same, to choose a line in one graph would change the other."""
    references = [fields(widget).get("reference") for page in pages for widget in page["widgets"]]
    given = [reference for reference in references if reference]
    assert len(set(given)) == len(given) > 20
    assert all(re.fullmatch("[A-Z]{5}", reference) for reference in given)


def test_colours_go_by_the_macros(ours: dict[str, Any], pages: list[dict[str, Any]]) -> None:
    """Every threshold on the dashboard is a macro's default, in the colour of the trigger that goes by it; a widget takes no macro."""
    defaults = {macro["macro"]: macro["value"] for macro in ours["macros"]}
    shown: dict[str, list[tuple[str, str]]] = {}
    for widget in (widget for page in pages for widget in page["widgets"]):
        settings = fields(widget)
        count = sum(name.startswith("thresholds.") for name in settings) // 2
        pairs = [(settings[f"thresholds.{n}.threshold"], settings[f"thresholds.{n}.color"]) for n in range(count)]
        assert sorted(pairs, key=lambda pair: float(pair[0])) == pairs
        if pairs:
            shown[widget["name"]] = pairs
    warning, average, high = SEVERITIES.values()
    close_wait = [(defaults["{$TCP.CLOSE_WAIT.MAX.WARN}"], warning), (defaults["{$TCP.CLOSE_WAIT.MAX.CRIT}"], average)]
    assert shown["CLOSE_WAIT"] == close_wait
    assert shown["CLOSE_WAIT of each port"] == [FINE, *close_wait]
    assert shown["SYN_RECV"] == [(defaults["{$TCP.SYN_RECV.MAX.CRIT}"], average)]
    assert shown["Addresses in SYN_SENT"] == [(defaults["{$TCP.SYN_SENT.HOSTS.MAX.CRIT}"], high)]
    assert shown["Accept queue of each port"] == [
        FINE,
        (defaults["{$TCP.LISTEN.QUEUE.PUSED.MAX.WARN}"], warning),
        (defaults["{$TCP.LISTEN.QUEUE.PUSED.MAX.CRIT}"], high),
    ]
    assert shown["Requests dropped per second at each port"] == [FINE, ("0.0333333", warning)]  # 10 in 5 minutes
    assert shown["Values queued"] == [("1", warning)]  # over 0
    assert not shown.keys() & {"Values dropped", "Values rejected"}  # since the start: they would stay yellow


def test_a_state_has_the_colour_of_the_other_formats(ours: dict[str, Any], pages: list[dict[str, Any]]) -> None:
    """Whoever knows the graphs of a host knows those on its dashboard."""
    older = ET.fromstring(template.text("6.0"))  # noqa: S314  our own file
    colours = {line.findtext("item/key"): line.findtext("color") for line in older.iter("graph_item")}
    drawn = {}
    for widget in (widget for page in pages for widget in page["widgets"]):
        settings = fields(widget)
        for n in range(20):
            if f"ds.0.itemids.{n}" in settings:
                drawn[settings[f"ds.0.itemids.{n}"]["key"]] = settings[f"ds.0.color.{n}"]
    assert len(drawn) > 30
    assert drawn == {key: colours[key] for key in drawn}
    assert drawn.keys() <= names(ours).keys()


def test_many_lines_have_colours_that_are_seen(pages: list[dict[str, Any]]) -> None:
    """Zabbix makes shades of a colour for the items of a pattern: the lightest, by half of white, is still no white."""
    colours = {
        settings["ds.0.color"]
        for page in pages
        for widget in page["widgets"]
        if "ds.0.color" in (settings := fields(widget))
    }
    assert len(colours) == 4
    for colour in colours:
        channels = [int(colour[at : at + 2], 16) for at in (0, 2, 4)]
        assert min(channels) + 255 // 2 <= 190
