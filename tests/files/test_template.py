"""The template: the daemon's keys, no more and no fewer, in every format; every trigger with a runbook and defaults."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from sender.commands import template
from sender.items import (
    DISCOVERIES,
    KEYS,
    NAMESPACES,
    NETNS,
    TCP_COUNTERS,
    TCP_EXT_COUNTERS,
    TEXTS,
    UNIT,
    UNITS,
    is_rare,
)
from sender.model import TcpState
from sender.settings import yaml_file

if TYPE_CHECKING:
    from collections.abc import Iterable

MACRO = re.compile(r"\{\$[A-Z_.]+")
TRIGGERS = ("trigger", "trigger_prototype")
BY_DEFAULT = {
    "ports.states": {"ESTABLISHED", "SYN_RECV", "TIME_WAIT", "CLOSE_WAIT"},
    "services.states": {"ESTABLISHED", "CLOSE_WAIT"},
    "namespaces.states": {"ESTABLISHED", "CLOSE_WAIT"},
}
SINGULARS = {"dependencies": "dependency", "preprocessing": "step"}
SETTINGS = {"service": "services.states", "netns": "namespaces.states"}
TAGS = {"service": "service", "netns": "netns", "remote": "remote_port"}

WHOLE_TEXT = '{{ITEM.LASTVALUE2}.regsub("(.*)", "\\1")}'  # bare, the frontend would cut it off after 20 characters


def parsed(version: str) -> ET.Element:
    """Return the bundled template in this format, as installed; YAML as the same in XML."""
    text = template.text(version)
    if text.startswith("<"):
        return ET.fromstring(text)  # noqa: S314  our own file
    (whole,) = yaml_file.parsed(text).values()
    return element("zabbix_export", whole)


def element(tag: str, value: Any) -> ET.Element:
    """Return a part of YAML as XML: each of several has a name of its own there."""
    made = ET.Element(tag)
    if isinstance(value, dict):
        made.extend([element(name, part) for name, part in value.items()])
    elif isinstance(value, list):
        made.extend([element(SINGULARS.get(tag, tag.removesuffix("s")), part) for part in value])
    else:
        made.text = value
    return made


@pytest.fixture(scope="module", params=sorted(template.FORMATS))
def either(request: pytest.FixtureRequest) -> ET.Element:
    """Return the template in each of the formats."""
    return parsed(request.param)


@pytest.fixture(scope="module", params=sorted(set(template.FORMATS) - {"3.4"}))
def root(request: pytest.FixtureRequest) -> ET.Element:
    """Return the template in each of the formats that are not the oldest."""
    return parsed(request.param)


def texts(root: ET.Element, path: str) -> list[str]:
    """Return the texts of all elements at `path`."""
    return [element.text or "" for element in root.iterfind(path)]


def triggers(root: ET.Element) -> list[ET.Element]:
    """All triggers and prototypes; not the ones named as dependencies."""
    return [element for tag in TRIGGERS for element in root.iter(tag)]


def keys_of(items: Iterable[ET.Element], *types: str) -> tuple[str, ...]:
    """Return the keys of those items that are of one of these types, as the two formats name it."""
    return tuple(item.findtext("key") or "" for item in items if item.findtext("type") in types)


def test_template_and_daemon_have_the_same_keys(either: ET.Element) -> None:
    """Every key that the daemon sends has its item, in its order, and there is no trapper item that nothing fills."""
    assert keys_of(either.iterfind(".//items/item"), "TRAP", "2") == (*KEYS, *TEXTS)


def test_template_and_daemon_discover_the_same_keys(either: ET.Element) -> None:
    """So it is with the discovery rules and their prototypes, which are trappers too."""
    rules = {
        rule.findtext("key"): keys_of(rule.iterfind("item_prototypes/item_prototype"), "TRAP", "2")
        for rule in either.iterfind(".//discovery_rule")
    }
    assert {rule: set(keys) for rule, keys in rules.items()} == {rule: set(keys) for rule, keys in DISCOVERIES.items()}
    assert set(texts(either, ".//discovery_rule/type")) <= {"TRAP", "2"}


def test_rates_are_made_of_counters(either: ET.Element) -> None:
    """Every rate is the change per second of the counter that its key names, and every counter of a graph is a rate."""
    rates = [item for item in (*either.iterfind(".//items/item"), *either.iter("item_prototype")) if is_rate(item)]
    assert len(rates) == 20
    for item in rates:
        (step,) = item.iterfind("preprocessing/step")
        assert step.findtext("type") in {"CHANGE_PER_SECOND", "10"}
        master = item.findtext("master_item/key") or item.findtext("master_item_prototype/key")
        assert item.findtext("key") == (master or "").replace("counter[", "counter.rate[").replace(
            "drops[", "drops.rate["
        )
    drawn = set(texts(either, ".//graph_item/item/key"))
    assert {item.findtext("key") for item in rates} <= drawn
    assert not {
        key for key in drawn if key.startswith(("tcp.counter[", "tcp.listen.drops[", "tcp.netns.listen.drops["))
    }


def is_rate(item: ET.Element) -> bool:
    """Return whether an item is one that hangs on another."""
    return item.findtext("type") in {"DEPENDENT", "18"}


def test_the_share_of_segments(either: ET.Element) -> None:
    """Segments sent again are a share of all, and of none when none were sent. While no sample comes, it is not supported."""
    (share,) = (item for item in either.iterfind(".//items/item") if item.findtext("type") in {"CALCULATED", "15"})
    formula = share.findtext("params") or ""
    for again, sent, percent in ((0, 0, 0), (5, 95, 5), (5, 0, 100), (0, 7, 0)):
        figures = re.sub(
            r"count\((?://tcp\.status\[TOTAL\]|\"tcp\.status\[TOTAL\]\"),\{\$TCP\.NODATA\.TIMEOUT\}\)>0",
            "COUNTED",
            formula,
        )
        for name, value in (("RetransSegs", again), ("OutSegs", sent)):
            key = f"tcp.counter.rate[{name}]"
            figures = re.sub(rf"last\((?://|\"){re.escape(key)}\"?\)", str(value), figures)
        figures = figures.replace("=", "==")
        assert re.fullmatch(r"[-+*/()=\d]+", figures.replace("COUNTED", "1")), figures
        assert eval(figures.replace("COUNTED", "1")) == percent  # noqa: S307  figures and operators, as asserted
        with pytest.raises(ZeroDivisionError):
            eval(figures.replace("COUNTED", "0"))  # noqa: S307  the same


def test_only_what_the_daemon_sends_by_default_is_created(either: ET.Element) -> None:
    """A prototype whose state the setting leaves out by default is not created, and says how to have it."""
    for prototype in either.iter("item_prototype"):
        state = re.match(r"tcp\.(?:(service|netns|remote)\.)?status\[([A-Z_12]+),", prototype.findtext("key") or "")
        setting = SETTINGS.get(state[1] if state else "", "ports.states")
        is_off = prototype.findtext("discover") == "NO_DISCOVER" or prototype.findtext("status") == "1"
        assert is_off == bool(state and state[2] not in BY_DEFAULT[setting])
        assert is_off == (f" in {setting} of" in (prototype.findtext("description") or ""))


def test_triggers_and_graphs_use_what_is_created(either: ET.Element) -> None:
    """No trigger and no graph stands on a prototype that is not created: discovery would fail."""
    off = {
        prototype.findtext("key") or ""
        for prototype in either.iter("item_prototype")
        if prototype.findtext("discover") == "NO_DISCOVER" or prototype.findtext("status") == "1"
    }
    assert len(off) == 31
    assert not off & set(texts(either, ".//graph_item/item/key"))
    for trigger in triggers(either):
        assert not any(key in (trigger.findtext("expression") or "") for key in off)


def test_every_item_explains_itself(root: ET.Element) -> None:
    """Each item and prototype has a name of its own, a description, a component tag and a history."""
    items = [*root.iter("item_prototype"), *root.iterfind(".//items/item")]
    assert len({item.findtext("name") for item in items}) == len(items)
    for item in items:
        assert len(item.findtext("description") or "") > 40
        key = item.findtext("key") or ""
        kind = next((tag for kind, tag in TAGS.items() if key.startswith(f"tcp.{kind}.")), "port")
        whose = [kind] if item.tag == "item_prototype" else []
        assert texts(item, "tags/tag/tag") == ["component", *whose]
        assert item.findtext("history") == "14d"


def test_every_state_is_explained_in_words_of_its_own(root: ET.Element) -> None:
    """No two states have one description, and no two counters."""
    for keys, count in (("tcp.status[", len(TcpState) + 1), ("tcp.counter[", len(TCP_COUNTERS + TCP_EXT_COUNTERS))):
        descriptions = {
            item.findtext("description")
            for item in root.iterfind(".//items/item")
            if (item.findtext("key") or "").startswith(keys)
        }
        assert len(descriptions) == count


def test_values_fit_their_items(root: ET.Element) -> None:
    """A value of the wrong type is processed and dropped by Zabbix without a word: the types must fit."""
    items = [*root.iterfind(".//items/item"), *root.iter("item_prototype")]
    made = {item.findtext("key") for item in items if item.findtext("type") != "TRAP"}
    types = {item.findtext("key"): item.findtext("value_type", "UNSIGNED") for item in items}
    assert {types.pop(key) for key in made} == {"FLOAT"}
    keys = [*KEYS, *(key for keys in DISCOVERIES.values() for key in keys)]
    no_trends = None if root.findtext("version") == "7.4" else "0"  # which has none for them, and says nothing of it
    assert {item.findtext("trends") for item in items if item.findtext("value_type") == "TEXT"} == {no_trends}
    assert types == dict.fromkeys(keys, "UNSIGNED") | {
        "tcp.sender.version": "CHAR",
        "tcp.sender.sample.time": "FLOAT",
        "tcp.listen.queue.pused[{#PORT}]": "FLOAT",
        "tcp.orphans.pused": "FLOAT",
        "tcp.memory.pused": "FLOAT",
        "tcp.ephemeral.pused": "FLOAT",
    } | dict.fromkeys(TEXTS, "TEXT")


def test_uuids_are_version_4_and_differ(root: ET.Element) -> None:
    """The import takes only uuids of version 4, 32 lower-case hex digits, each once."""
    found = texts(root, ".//uuid")
    assert len(set(found)) == len(found)
    for text in found:
        parsed = uuid.UUID(text)
        assert (parsed.hex, parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_triggers_have_the_uuids_that_zabbix_makes_of_the_older_form() -> None:
    """7.0 finds a trigger by its uuid alone: over the older form the newer one would otherwise be refused.

    Zabbix makes it of the discovery rule's key, the name and the expression in the newer syntax, as C52ImportConverter.php
    does. tests/matrix imports both into a real one.
    """
    newer, older = (parsed(version) for version in ("6.0", "3.4"))
    rules = {
        trigger: rule.findtext("key") for rule in newer.iter("discovery_rule") for trigger in rule.iter(TRIGGERS[1])
    }
    assert {trigger.findtext("name") for trigger in triggers(newer)} == {
        each.findtext("name") for each in triggers(older)
    }
    for trigger in triggers(newer):
        seed = "/".join(filter(None, [rules.get(trigger), trigger.findtext("name"), trigger.findtext("expression")]))
        made = uuid.UUID(bytes=hashlib.md5(seed.encode(), usedforsecurity=False).digest(), version=4)
        assert trigger.findtext("uuid") == made.hex


def test_every_trigger_is_a_runbook(either: ET.Element) -> None:
    """Each says what it means, which commands to run next, and what to do; its threshold is a macro or stands in it."""
    names = {trigger.findtext("name") or "" for trigger in triggers(either)}
    assert len(names) == len(triggers(either)) == 37
    for trigger in triggers(either):
        meaning, commands, advice = (trigger.findtext("description") or "").split("\n\n")
        head, *lines = commands.splitlines()
        assert head == "Run on the host, as root:"
        assert lines
        assert all(
            re.match(
                r"  (ss|nstat|sysctl|lsof|for|journalctl|systemctl|tcp-status-sender|grep|ip|nc|dmesg|df|last|uptime)\b",
                line,
            )
            for line in lines
        )
        assert len(meaning) > 40
        assert len(advice) > 40
        assert (trigger.findtext("name") or "").startswith("TCP ") or (trigger.findtext("name") or "").startswith(
            "TCP:"
        )
        assert set(texts(trigger, "dependencies/dependency/name")) <= names


def test_every_macro_has_a_default_and_a_use(either: ET.Element) -> None:
    """A macro in an expression, a filter or a text has a default; a default that nothing uses is none."""
    macros = set(texts(either, ".//macros/macro/macro"))
    assert all(texts(either, ".//macros/macro/value"))
    places = [element for tag in (*TRIGGERS, "filter") for element in either.iter(tag)]
    used = {found + "}" for place in places for text in place.itertext() for found in MACRO.findall(text)}
    assert used == macros


def test_events_tell_the_threshold_and_the_value(root: ET.Element) -> None:
    """In 6.0 the event's name is the trigger's and its threshold, and the operational data the current value."""
    for trigger in triggers(root):
        name, event = trigger.findtext("name") or "", trigger.findtext("event_name") or ""
        assert re.fullmatch(re.escape(name) + r" \(.+\)", event)
        assert set(MACRO.findall(event)) <= set(MACRO.findall(trigger.findtext("expression") or ""))
        assert re.match(r"[A-Z][\w' ]+: {ITEM\.LASTVALUE[123]}", trigger.findtext("opdata") or "")
        assert [tag for tag in texts(trigger, "tags/tag/tag") if not tag.endswith("port")] == ["scope"]


def test_one_problem_at_a_time(either: ET.Element) -> None:
    """Where two triggers have one item, the milder one depends on the graver one."""
    order = {name: n for n, name in enumerate(["INFO", "WARNING", "AVERAGE", "HIGH"], start=1)}
    by_name = {trigger.findtext("name"): trigger for trigger in triggers(either)}

    def grade(trigger: ET.Element) -> int:
        priority = trigger.findtext("priority") or ""
        return int(priority) if priority.isdigit() else order[priority]

    depending = [trigger for trigger in triggers(either) if trigger.find("dependencies/dependency") is not None]
    assert len(depending) == 17
    for trigger in depending:
        for dependency in trigger.iterfind("dependencies/dependency"):
            parent = by_name[dependency.findtext("name")]
            assert grade(trigger) <= grade(parent)
            assert dependency.findtext("expression") == parent.findtext("expression")


def test_no_prototype_depends_on_a_trigger_of_the_host(either: ET.Element) -> None:
    """Zabbix would refuse to unlink and clear the template wherever it has discovered something."""
    prototypes = {prototype.findtext("name") for prototype in either.iter(TRIGGERS[1])}
    for prototype in either.iter(TRIGGERS[1]):
        assert set(texts(prototype, "dependencies/dependency/name")) <= prototypes


def test_what_is_seldom_sent_is_never_asked_for_in_a_window(either: ET.Element) -> None:
    """A window without a value would make a trigger unknown: of a rare key the last value before a moment is taken.

    Whether there ever was one is no window. And what comes with every sample stands beside it, or the problem would end only with
    the next value, in an hour.
    """
    for trigger in triggers(either):
        expression = trigger.findtext("expression") or ""
        ever = re.findall(r"count\(/[^/]+/([^()]+),#1\)=0|:([a-z._]+\[[^]]*\])\.count\(#1\)\}=0", expression)
        found = re.findall(r"(\w+)\(/[^/]+/([a-z._]+(?:\[[^]]*\])?)|:([a-z._]+(?:\[[^]]*\])?)\.(\w+)\(", expression)
        calls = [(after or before, function or name) for name, before, after, function in found]
        used = set(calls)
        assert used
        assert sorted(function for key, function in calls if is_rare(key) and function != "last") == ["count"] * len(
            ever
        )
        assert {function for key, function in used if key in TEXTS} <= {"count"}
        assert any(not is_rare(key) and key not in TEXTS and "drops.rate" not in key for key, _ in used)


def test_a_trigger_tells_whose_it_is_without_a_say_of_the_text(either: ET.Element) -> None:
    """Description and operational data have the text from its place in the expression, where it is always true."""
    told = set()
    for trigger in triggers(either):
        expression, description = (trigger.findtext(tag) or "" for tag in ("expression", "description"))
        calls = re.findall(r"\w+\(/[^)]*\)|\{[^{}]+:[^{}]+\)\}", expression)
        quoted = [key for key in TEXTS if key in expression]
        (place,) = [n for n, call in enumerate(calls, start=1) if any(key in call for key in quoted)] or [0]
        text = WHOLE_TEXT.replace("2", str(place), 1)
        assert description.partition("\n")[0].endswith(f": {text}") == bool(quoted)
        assert description.count("{ITEM.") == len(quoted)
        if trigger.find("opdata") is not None:
            assert (trigger.findtext("opdata") or "").endswith(f" {text}") == bool(quoted)
        for key in quoted:
            call = calls[place - 1]
            condition = re.escape(call) + r">=0(?= and |$)"
            assert re.fullmatch(rf"count\(/[^/]+/{re.escape(key)},#1\)|\{{.+:{re.escape(key)}\.count\(#1\)\}}", call)
            assert re.search(condition, expression)
            assert expression.count(key) == 1
            assert " or " not in expression
            told.add(key)
    assert told == {key for key in TEXTS if not re.search("FIN_WAIT2|LAST_ACK", key)}
    for item in either.iterfind(".//items/item"):
        is_quoted = item.findtext("key") in told
        assert is_quoted == ("Do not disable this item" in (item.findtext("description") or ""))


@pytest.mark.parametrize(("key", "macro", "stem"), [(UNITS, UNIT, "SERVICE"), (NAMESPACES, NETNS, "NETNS")])
def test_groups_are_discovered_with_a_filter(either: ET.Element, key: str, macro: str, stem: str) -> None:
    """The rule has macros of its own, and what it makes is told apart by the name of the service or the namespace."""
    (rule,) = (rule for rule in either.iter("discovery_rule") if rule.findtext("key") == key)
    conditions = [[condition.findtext(tag) for tag in ("macro", "value")] for condition in rule.iter("condition")]
    assert conditions == [[macro, f"{{$TCP.{stem}.MATCHES}}"], [macro, f"{{$TCP.{stem}.NOT_MATCHES}}"]]
    for tag in ("item_prototype", "graph_prototype"):
        assert all(macro in (each.findtext("name") or "") for each in rule.iter(tag))
    assert not list(rule.iter("trigger_prototype"))


def test_a_state_has_one_colour(either: ET.Element) -> None:
    """What a line shows has the same colour in every graph, and nothing else has it."""
    colours = defaultdict(set)
    for line in either.iter("graph_item"):
        of_state = r"tcp\.(?:remote\.|service\.|netns\.)?status\[([A-Z_12]+),.+"
        key = re.sub(of_state, r"tcp.status[\1]", line.findtext("item/key") or "")
        colours[key].add(line.findtext("color"))
    assert all(len(found) == 1 for found in colours.values())
    assert len({found.pop() for found in colours.values()}) == len(colours)
    assert {f"tcp.status[{state.name}]" for state in TcpState} <= set(colours)


def test_graphs_begin_at_zero(either: ET.Element) -> None:
    """Every axis has a fixed lower end, so that a quiet host does not look busy."""
    graphs = [*either.iter("graph"), *either.iter("graph_prototype")]
    assert len(graphs) == 26
    assert {graph.findtext("ymin_type_1") for graph in graphs} <= {"FIXED", "1"}


def test_the_dashboard_shows_every_graph_and_fits() -> None:
    """Every graph is on it, widgets stay within 24 columns and do not overlap, and their types exist in 6.0 and 7."""
    root = parsed("6.0")
    graphs = set(texts(root, ".//graphs/graph/name")) | set(texts(root, ".//graph_prototype/name"))
    assert set(texts(root, ".//widget/fields/field/value/name")) == graphs
    for page in root.iter("page"):
        cells: set[tuple[int, int]] = set()
        for widget in page.iter("widget"):
            x, y, width, height = (
                int(widget.findtext(tag, d)) for tag, d in zip(("x", "y", "width", "height"), "0012", strict=True)
            )
            area = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            assert not area & cells
            assert x + width <= 24
            cells |= area
    assert set(texts(root, ".//widget/type")) == {"ITEM", "GRAPH_CLASSIC", "GRAPH_PROTOTYPE"}


def test_the_old_format_knows_nothing_newer() -> None:
    """No uuid, no tags of items, no expression in the new syntax: 3.4 refuses what it does not know."""
    old = parsed("3.4")
    assert old.findtext("version") == "3.4"
    newer = {"uuid", "event_name", "opdata", "discover", "dashboards", "valuemaps", "parameters"}
    assert not newer & {element.tag for element in old.iter()}
    for trigger in triggers(old):
        assert not re.search(r"now-|//|\(/", trigger.findtext("expression") or "")
    assert not [
        tag for item in (*old.iterfind(".//items/item"), *old.iter("item_prototype")) for tag in item.iter("tags")
    ]
