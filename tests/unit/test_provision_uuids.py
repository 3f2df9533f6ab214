"""Which uuids the template has when it is imported over one that is there; with a real Zabbix: tests/matrix."""

from __future__ import annotations

import json
import re

import pytest

from sender.commands import template
from sender.commands.provision.uuids import with_their_uuids
from sender.settings import yaml_file

OURS = template.text("6.0")
TODAY = json.dumps(yaml_file.parsed(template.text("7.0")))
UUID = re.compile("<uuid>([0-9a-f]{32})</uuid>")
UUID_OF_TODAY = re.compile('"uuid": "([0-9a-f]{32})"')
TRIGGER = "<trigger><uuid>{}</uuid><expression>{}</expression><name>{}</name></trigger>"
A, B, C = (letter * 32 for letter in "abc")


def with_other_uuids(xml: str) -> str:
    """Return an export of the same objects by a Zabbix that gave them other uuids."""
    return UUID.sub(lambda found: f"<uuid>{found[1][::-1]}</uuid>", xml)


def test_every_object_gets_its_own() -> None:
    """All but the group, which is found by its name and which every Zabbix has with the same uuid."""
    theirs = with_other_uuids(OURS)
    done = UUID.findall(with_their_uuids(OURS, theirs))
    group, *others = UUID.findall(OURS)
    assert done == [group, *(each[::-1] for each in others)]


def test_every_object_gets_its_own_in_today_s_form_too() -> None:
    """It has the same objects: each is found, whatever its uuid is, and nothing else is exchanged."""
    done = with_their_uuids(TODAY, with_other_uuids(OURS))
    group, *others = UUID_OF_TODAY.findall(TODAY)
    assert UUID_OF_TODAY.findall(done) == [group, *(each[::-1] for each in others)]
    assert UUID_OF_TODAY.sub("", done) == UUID_OF_TODAY.sub("", TODAY)
    assert with_their_uuids(TODAY, OURS) == TODAY


def test_only_uuids_are_exchanged() -> None:
    """All else is ours, to the letter."""
    theirs = with_other_uuids(OURS).replace("Many connections", "Other words").replace("14d", "90d")
    assert UUID.sub("", with_their_uuids(OURS, theirs)) == UUID.sub("", OURS)


def test_what_is_known_already_stays() -> None:
    """An object that Zabbix finds by its uuid keeps it, whatever its name there is; so does what is not there."""
    assert with_their_uuids(OURS, OURS) == OURS
    assert with_their_uuids(OURS, "<zabbix_export/>") == OURS
    assert with_their_uuids(TRIGGER.format(A, "1", "t"), f"<z>{TRIGGER.format(A, '1', 'renamed')}</z>").count(A) == 1


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ([(B, "2", "t")], B),  # by its name alone: another version's
        ([(B, "2", "t"), (C, "1", "t")], C),  # the one with our expression
        ([(B, "2", "t"), (C, "3", "t")], A),  # nobody knows which
        ([(B, "1", "u")], A),
        ([(A, "2", "t"), (B, "1", "t")], A),
    ],
)
def test_which_of_several_triggers_it_is(theirs: list[tuple[str, str, str]], expected: str) -> None:
    """Names of triggers need not be unique; with the expression they are."""
    exported = f"<z>{''.join(TRIGGER.format(*each) for each in theirs)}</z>"
    assert with_their_uuids(TRIGGER.format(A, "1", "t"), exported) == TRIGGER.format(expected, "1", "t")


def test_prototypes_belong_to_their_rule() -> None:
    """Two rules may have prototypes of one name; where a trigger stands in the file is of no matter."""
    rule = "<discovery_rule><key>{}</key><{}>{}</{}></discovery_rule>"
    prototype = TRIGGER.replace("trigger>", "trigger_prototype>")
    ours = f"<z>{rule.format('a', 'x', prototype.format(A, '1', 't'), 'x')}{rule.format('b', 'x', prototype.format(B, '1', 't'), 'x')}</z>"
    theirs = f"<z>{rule.format('b', 'y', prototype.format(C, '1', 't'), 'y')}</z>"
    assert UUID.findall(with_their_uuids(ours, theirs)) == [A, C]


@pytest.mark.parametrize("exported", ["", "<html>", "[]", "\0", "<a/><b/>"])
def test_what_is_no_export(exported: str) -> None:
    """It is no reason for a traceback."""
    with pytest.raises(ValueError, match="no XML"):
        with_their_uuids(OURS, exported)
