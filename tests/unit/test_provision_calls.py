"""What `provision` asks of the API of each version, given answers as Zabbix gives them; with a real one: tests/zabbix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lab.api import GROUP, KEPT, Zabbix
from sender.commands.provision.credentials import Psk
from sender.commands.provision.provision import Goal, Provision
from sender.errors import ApiError, ApiRejectedError
from sender.items import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

PSK = Psk(identity="PSK a", key="5a" * 16)


def lines(zabbix: Zabbix, *hosts: str, version: tuple[int, int] = (7, 0), **wanted: Any) -> list[str]:
    """Return what is said of these hosts, where the template is not to be touched unless `wanted` says so."""
    goal = Goal(**{"hosts": hosts, "is_template_kept": True, **wanted})
    return [line.text for line in Provision(zabbix, version, goal).steps()]


def host(version: tuple[int, int] = (7, 0), **properties: Any) -> dict[str, Any]:
    """Return the host `a`, which has all that is wanted, as host.get gives it."""
    groups = "groups" if version < (6, 2) else "hostgroups"
    common = {"hostid": "3", "host": "a", "tls_accept": "1", "parentTemplates": [KEPT], groups: [{"name": "g"}]}
    return {**common, **properties}


@pytest.mark.parametrize(
    ("version", "answers", "monitored"),
    [
        ((6, 4), {"proxy_get": [{"proxyid": "5"}]}, {"proxy_hostid": "5"}),
        ((7, 0), {"proxy_get": [{"proxyid": "5"}]}, {"monitored_by": 1, "proxyid": "5"}),
        ((7, 0), {"proxygroup_get": [{"proxy_groupid": "6"}]}, {"monitored_by": 2, "proxy_groupid": "6"}),
    ],
)
def test_behind_a_proxy(version: tuple[int, int], answers: dict[str, Any], monitored: dict[str, Any]) -> None:
    """From 7.0 on, a host says whether a proxy or a group of proxies monitors it; one that is behind it is as wanted."""
    zabbix = Zabbix(**answers)
    assert lines(zabbix, "a", version=version, proxy="p") == [
        "host 'a': created in group 'Linux servers', with the template, behind 'p'"
    ]
    (created,) = dict(zabbix.changes)["host.create"]
    assert created == {"host": "a", "groups": [GROUP], "templates": [KEPT], **monitored}
    elsewhere = host(version, **dict.fromkeys(monitored, "0"))
    zabbix = Zabbix(**answers, host_get=[elsewhere])
    assert lines(zabbix, "a", version=version, proxy="p") == ["host 'a': changed: put behind 'p'"]
    assert zabbix.changes == [("host.update", [{"hostid": "3", **monitored}])]
    there = host(version, **{name: str(value) for name, value in monitored.items()})
    zabbix = Zabbix(**answers, host_get=[there])
    assert lines(zabbix, "a", version=version, proxy="p") == ["host 'a': nothing to do"]


@pytest.mark.parametrize("version", [(6, 0), (7, 0)])
def test_a_proxy_that_is_not_there(version: tuple[int, int]) -> None:
    """It ends before anything is changed."""
    zabbix = Zabbix()
    with pytest.raises(ApiError, match="there is no proxy 'p' that this user may read"):
        lines(zabbix, "a", version=version, proxy="p")
    assert zabbix.changes == []


@pytest.mark.parametrize(
    ("has_key", "done"),
    [
        (lambda filtered: "tls_psk_identity" in filtered, "nothing to do"),
        (lambda _: True, "changed: PSK 'PSK a' set"),  # a Zabbix that leaves the key out of account finds it always
        (lambda _: False, "changed: PSK 'PSK a' set"),
    ],
)
def test_a_key_that_is_there_is_not_set_again(has_key: Callable[[Any], bool], done: str) -> None:
    """Only where the API really looks at keys does it tell whether a host has the wanted one."""

    def found(params: Any) -> list[Any]:
        if "host" in params["filter"]:
            return [host(tls_accept="2")]
        return [{"hostid": "3"}] if has_key(params["filter"]) else []

    zabbix = Zabbix(host_get=found)
    assert lines(zabbix, "a", psks={"a": PSK}) == [f"host 'a': {done}"]
    secret = {"tls_psk_identity": PSK.identity, "tls_psk": PSK.key}
    updates = [("host.update", [{"hostid": "3", "tls_accept": 2, **secret}])]
    assert zabbix.changes == ([] if done == "nothing to do" else updates)


def test_hosts_that_lack_the_same_are_completed_in_one_call() -> None:
    """What is missing is added by host.massadd, which takes nothing away; a key that is not wanted is left alone."""
    names = ("a", "b", "c")
    bare = [host(host=name, hostid=name, parentTemplates=[], hostgroups=[]) for name in names[:2]]
    hosts = [*bare, host(host="c", hostid="c")]
    zabbix = Zabbix(host_get=hosts)
    assert lines(zabbix, *names, groups=("g",)) == [
        "host 'a': changed: template linked, put into group 'g'",
        "host 'b': changed: template linked, put into group 'g'",
        "host 'c': nothing to do",
        "3 hosts: 2 changed, 1 as wanted",
    ]
    both = [{"hostid": "a"}, {"hostid": "b"}]
    assert zabbix.changes == [("host.massadd", {"hosts": both, "templates": [KEPT], "groups": [GROUP]})]


def test_a_group_that_is_missing_is_made() -> None:
    """Named, before the hosts that go into it."""
    zabbix = Zabbix(hostgroup_get=[], hostgroup_create={"groupids": ["7"]})
    assert lines(zabbix, "a", groups=("g",)) == [
        "group 'g': created",
        "host 'a': created in group 'g', with the template",
    ]
    assert [method for method, _ in zabbix.changes] == ["hostgroup.create", "host.create"]
    assert zabbix.changes[1][1][0]["groups"] == [{"groupid": "7"}]


def test_a_template_that_is_not_there_is_not_linked() -> None:
    """With --keep-template, it is said that it must be imported."""
    with pytest.raises(ApiError, match=r"there is no template .* Import it \(without --keep-template\)"):
        lines(Zabbix(template_get=[]), "a")


def changed(name: str, **states: dict[str, Any]) -> dict[str, Any]:
    """Return an entity in configuration.importcompare's answer, `before` and `after`."""
    return {when: {"name": name, **properties} for when, properties in states.items()}


def test_a_dry_run_needs_the_template_that_is_to_be_kept() -> None:
    """With --keep-template, a dry run ends where the run itself would; without, the template would be imported."""
    zabbix, goal = Zabbix(template_get=[]), Goal(hosts=("a",), is_template_kept=True)
    with pytest.raises(ApiError, match="there is no template"):
        list(Provision(zabbix, (7, 0), goal, is_dry=True).steps())


def test_a_name_that_another_host_has_as_its_visible_name() -> None:
    """It is said which host that is, by its technical name; it is not tried, by a dry run neither, and others are created."""

    def found(params: Any) -> list[Any]:
        return [{"hostid": "9", "host": "tech 05", "name": "b"}] if "searchByAny" in params else []

    for is_dry in (False, True):
        zabbix, goal = Zabbix(host_get=found), Goal(hosts=("a", "b"), is_template_kept=True)
        steps = list(Provision(zabbix, (7, 0), goal, is_dry=is_dry).steps())
        assert [step.is_failure for step in steps][:2] == [False, True]
        assert steps[1].text == (
            "host 'b': 'b' is the visible name of a host whose technical name is 'tech 05'. Is it the same host? Then give "
            '--host "tech 05" here, and `host: tech 05` in its configuration. Else change the visible name in Zabbix.'
        )
        created = [host["host"] for method, hosts in zabbix.changes for host in hosts]
        assert created == ([] if is_dry else ["a"])


def test_a_name_that_a_template_has() -> None:
    """Hosts and templates share their names."""

    def templates(params: Any) -> list[Any]:
        return [{"templateid": "9", "host": "a", "name": "A"}] if "searchByAny" in params else Zabbix.templates(params)

    zabbix = Zabbix(template_get=templates)
    said = "there is a template 'a' with this name, and no host can have a template's name. Choose another name for the host."
    assert lines(zabbix, "a") == [f"host 'a': {said}"]
    assert zabbix.changes == []


def test_what_changes_in_the_template_is_named() -> None:
    """The first few, with kind and name; parents of what changed, which the API lists too, are not."""
    items = [changed(f"item {n}", before={"delay": "1m"}, after={"delay": "2m"}) for n in range(6)]
    rule = {**changed("rule", before={}, after={}), "triggers": {"added": [changed("trigger", after={})]}}
    parent = {
        **changed("ours", before={}, after={}),
        "items": {"updated": items},
        "discovery_rules": {"updated": [rule]},
    }
    zabbix = Zabbix(configuration_importcompare={"templates": {"updated": [parent]}})
    named = ", ".join(f"item 'item {n}' updated" for n in range(5))
    assert lines(zabbix, is_template_kept=False) == [f"template {TEMPLATE!r}: updated: {named} and 2 more"]
    assert [method for method, _ in zabbix.changes] == ["configuration.import"]


def test_what_only_looks_changed_is_no_change() -> None:
    """From 7.0 on widgets come in another order, and a default is left out: to import that again would go on for ever."""
    one, other = {"type": "graph", "x": "0"}, {"type": "graph", "x": "12"}
    page = changed("page", before={"widgets": [one, other]}, after={"widgets": [other, one]})
    rule = changed("rule", before={"lifetime": "7d"}, after={})
    zabbix = Zabbix(configuration_importcompare={"dashboards": {"updated": [page]}, "rules": {"updated": [rule]}})
    assert lines(zabbix, is_template_kept=False) == [f"template {TEMPLATE!r}: nothing to do"]
    assert zabbix.changes == []


def test_what_is_there_keeps_its_uuids() -> None:
    """The comparison and the import are given the uuids that this Zabbix knows; without a template there, ours."""
    theirs = "0123456789ab4def8123456789abcdef"
    export = f"<z><templates><template><uuid>{theirs}</uuid><template>{TEMPLATE}</template></template></templates></z>"
    for found, uuids in (([KEPT], 1), ([], 0)):
        zabbix = Zabbix(configuration_export=export, template_get=found, configuration_importcompare={"templates": {}})
        lines(zabbix, is_template_kept=False)
        (compared,) = [params for method, params in zabbix.asked if method == "configuration.importcompare"]
        assert compared["source"].count(theirs) == uuids


@pytest.mark.parametrize(
    ("version", "form"),
    [((6, 0), "xml 6.0"), ((6, 4), "xml 6.0"), ((7, 0), "7.0"), ((7, 2), "7.0"), ((7, 4), "7.4"), ((8, 0), "7.4")],
)
def test_a_zabbix_gets_the_newest_form_that_it_imports(version: tuple[int, int], form: str) -> None:
    """Of two that it takes, the one with today's dashboard and, where it has one, with what the host wizard asks."""
    zabbix = Zabbix(template_get=[], configuration_importcompare={"templates": {}})
    lines(zabbix, version=version, is_template_kept=False)
    (compared,) = [params for method, params in zabbix.asked if method == "configuration.importcompare"]
    if compared["format"] == "xml":
        assert form == "xml 6.0"
        assert "<version>6.0</version>" in compared["source"]
    else:
        export = json.loads(compared["source"])["zabbix_export"]
        assert (compared["format"], export["version"]) == ("json", form)
        assert ("readme" in export["templates"][0]) == (form == "7.4")


def test_an_export_that_is_none() -> None:
    """A Zabbix that answers something else is said to."""
    with pytest.raises(ApiError, match=r"configuration\.export answers what is no export: no XML"):
        lines(Zabbix(configuration_export="<html>"), is_template_kept=False)


@pytest.mark.parametrize(("version", "kind"), [((6, 0), "groups"), ((7, 0), "template_groups")])
def test_the_template_s_group_is_made_only_where_it_is_missing(version: tuple[int, int], kind: str) -> None:
    """Nobody but a Super admin may ask for it from 7.0 on, so that where it is there it is not asked for."""
    for is_there in (True, False):
        found = [GROUP] if is_there else []
        zabbix = Zabbix(hostgroup_get=found, templategroup_get=found)
        lines(zabbix, version=version, is_template_kept=False)
        (compared,) = [params for method, params in zabbix.asked if method == "configuration.importcompare"]
        assert compared["rules"][kind] == {"createMissing": not is_there}


def test_the_refused_are_found_among_many() -> None:
    """Of 120 new hosts, of which three are refused, the others are created, each once, in few calls."""
    bad = {"h-3", "h-4", "h-117"}
    created: list[str] = []

    def create(hosts: Any) -> Any:
        names = [host["host"] for host in hosts]
        if bad & set(names):
            raise ApiRejectedError("host.create is refused: why")
        created.extend(names)
        return {}

    zabbix = Zabbix(host_create=create)
    hosts = [f"h-{number}" for number in range(120)]
    *said, last = lines(zabbix, *hosts)
    assert created == [host for host in hosts if host not in bad]
    assert [line for line in said if "refused" in line] == [
        f"host {host!r}: host.create is refused: why" for host in hosts if host in bad
    ]
    assert last == "120 hosts: 117 created, 3 failed"
    assert len(zabbix.changes) < 40
