"""Over the template in an older format comes each newer one, in each version that imports both: by hand, by `provision`."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from lab.command import COMMAND
from lab.matrix import RELEASES
from lab.namespace import LOOPBACK, Namespace, entered
from lab.zabbix_stack import ZabbixStack
from sender.commands import template
from sender.items import KEYS, TEMPLATE
from sender.model import Item
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "of the older form"
TRIGGERS = 37  # of the template, prototypes among them: no second one of a name
KINDS = {
    "item": ("itemid", "key_"),
    "itemprototype": ("itemid", "key_"),
    "discoveryrule": ("itemid", "key_"),
    "trigger": ("triggerid", "description"),
    "triggerprototype": ("triggerid", "description"),
    "graph": ("graphid", "name"),
    "graphprototype": ("graphid", "name"),
}

OF_HOST = {"macro": "{$TCP.CLOSE_WAIT.MAX.WARN}", "value": "12345"}  # not the template's default
OTHER = "update {} set uuid = overlay(overlay(md5(uuid) placing '4' from 13) placing '8' from 17) where length(uuid) > 0 returning 1"


class Way(NamedTuple):
    """Where the programs of a Zabbix are, and the format that it has."""

    root: Path
    older: str


WAYS = (
    Way(Path("/"), "3.4"),
    Way(RELEASES / "trixie", "3.4"),
    Way(RELEASES / "trixie", "6.0"),
    Way(RELEASES / "zabbix" / "forky", "6.0"),
)


def grouped(way: Way) -> object:
    """Return a parameter whose tests all go to one worker: the Zabbix is started once."""
    name = f"Zabbix of {way.root.name or 'here'}, format {way.older} and newer"
    return pytest.param(way, id=name, marks=pytest.mark.xdist_group(name))


@pytest.fixture(scope="module", params=[grouped(way) for way in WAYS])
def way(request: pytest.FixtureRequest) -> Way:
    """Return each of these ways."""
    way: Way = request.param
    return way


@pytest.fixture(scope="module")
def running(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a Zabbix of that version, without the template."""
    with (
        Namespace(LOOPBACK) as network,
        entered(network.report["pid"]),
        ZabbixStack(tmp_path_factory.mktemp("zabbix"), root=way.root) as zabbix,
    ):
        yield zabbix


@pytest.fixture
def older(running: ZabbixStack, way: Way) -> Iterator[ZabbixStack]:
    """Yield it with the older form, and a host that has it, a value, and a macro of its own."""
    running.import_template(template.text(way.older))
    host = running.create_host(HOST, [TEMPLATE], macros=[OF_HOST])
    running.wait_for_items(HOST)
    assert accepted(running, ["tcp.status[LISTEN]"], "7") == 1
    running.wait_for_history(HOST, 1)
    yield running
    running.api.host.delete(host)
    running.api.template.delete(id_of(running, "template", TEMPLATE))


def newer(zabbix: ZabbixStack, than: str) -> list[str]:
    """Return the formats that are newer than one, and that this version imports, the oldest first."""
    forms = list(template.FORMATS)
    return forms[forms.index(template.newest(zabbix.version)) : forms.index(than)][::-1]


def accepted(zabbix: ZabbixStack, keys: list[str], value: str) -> int:
    """Send the host a value for each of these keys; return how many are accepted."""
    uplink = Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}))
    return uplink.send([Item(host=HOST, key=key, value=value, clock=int(time.time()), ns=1) for key in keys]).accepted


def id_of(zabbix: ZabbixStack, kind: str, name: str) -> str:
    """Return the id of a host or a template, by its technical name."""
    (found,) = getattr(zabbix.api, kind).get(filter={"host": [name]}, output=["host"])
    return str(found[f"{kind}id"])


def ids(zabbix: ZabbixStack) -> dict[tuple[str, str, str], str]:
    """Return the id of each object of the template and of the host, by whose it is, kind and name."""
    owners = {"template": id_of(zabbix, "template", TEMPLATE), "host": id_of(zabbix, "host", HOST)}
    return {
        (whose, kind, found[name]): found[number]
        for whose, owner in owners.items()
        for kind, (number, name) in KINDS.items()
        for found in getattr(zabbix.api, kind).get(hostids=owner, output=[number, name])
    }


def provision(zabbix: ZabbixStack, *arguments: str) -> list[str]:
    """Return the lines of the command, which must succeed."""
    done = subprocess.run(
        [COMMAND, "provision", "--url", zabbix.web_url, *arguments],
        env={**os.environ, "ZABBIX_USER": "Admin", "ZABBIX_PASSWORD": "zabbix"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def assert_that_it_is_the_newer(zabbix: ZabbixStack, before: dict[tuple[str, str, str], str]) -> None:
    """Every object has kept its id, the host its history and its macro; the template has what the newer form brings, and works."""
    assert ids(zabbix) == before
    assert zabbix.history(HOST)[0].value == "7"
    (macro,) = zabbix.api.usermacro.get(hostids=id_of(zabbix, "host", HOST), output=list(OF_HOST))
    assert {name: macro[name] for name in OF_HOST} == OF_HOST
    (trigger,) = zabbix.api.trigger.get(
        hostids=id_of(zabbix, "host", HOST),
        filter={"description": "TCP: Many connections in CLOSE_WAIT"},
        output=["opdata"],
    )
    assert trigger["opdata"]
    dashboards = zabbix.api.templatedashboard.get(
        templateids=id_of(zabbix, "template", TEMPLATE), output=["name"], selectPages=["name"]
    )
    assert [(dashboard["name"], len(dashboard["pages"])) for dashboard in dashboards] == [("TCP states", 8)]
    zabbix.wait_for_items(HOST)
    assert accepted(zabbix, list(KEYS), "8") == len(KEYS)


@pytest.fixture
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a server that came from 5.0, and has given uuids to a template that had none, and a host that has it."""
    with Namespace(LOOPBACK) as network, entered(network.report["pid"]):
        with ZabbixStack(tmp_path_factory.mktemp("before"), root=RELEASES / "bullseye") as before:
            assert before.version == (5, 0)
            before.import_template(template.text("3.4"))
            before.create_host(HOST, [TEMPLATE])
            before.stop_server()
            database = before.dump()
        with ZabbixStack(tmp_path_factory.mktemp("after"), root=RELEASES / "trixie", database=database) as after:
            yield after


def assert_that_no_trigger_is_there_twice(zabbix: ZabbixStack) -> None:
    """Count those of the template: as many as before."""
    count = "select count(*) from triggers where flags in (0, 2) and templateid is null and length(uuid) > 0"
    assert zabbix.query(f"{count} and description like 'TCP%'") == [(str(TRIGGERS),)]


@pytest.mark.xdist_group("upgraded")
def test_by_hand_after_an_upgrade_of_the_server(upgraded: ZabbixStack) -> None:
    """A server that came from 5.0, and has given uuids to a template that had none, takes the newer forms as well."""
    known = ids(upgraded)
    for form in newer(upgraded, "3.4"):
        upgraded.import_template(template.text(form))
        assert ids(upgraded) == known
        assert_that_no_trigger_is_there_twice(upgraded)
    assert provision(upgraded, "--template-only") == [f"template {TEMPLATE!r}: nothing to do"]


@pytest.mark.xdist_group("upgraded")
def test_by_provision_after_an_upgrade_of_the_server(upgraded: ZabbixStack) -> None:
    """So it does by `provision`, which then has nothing left to do."""
    known = ids(upgraded)
    assert provision(upgraded, "--template-only")[0].startswith(f"template {TEMPLATE!r}: updated: ")
    assert ids(upgraded) == known
    assert_that_no_trigger_is_there_twice(upgraded)
    assert provision(upgraded, "--template-only") == [f"template {TEMPLATE!r}: nothing to do"]


def test_by_hand(older: ZabbixStack, way: Way) -> None:
    """An import that creates and updates, and deletes nothing, is enough, from each form to the next."""
    before = ids(older)
    for form in newer(older, way.older):
        older.import_template(template.text(form))
        assert_that_it_is_the_newer(older, before)
    assert provision(older, "--template-only") == [f"template {TEMPLATE!r}: nothing to do"]


def test_by_provision(older: ZabbixStack) -> None:
    """What the dry run promises is done, to the newest form, and then nothing is left to do."""
    before = ids(older)
    (promised, _) = provision(older, "--template-only", "--dry-run")
    assert ids(older) == before
    assert provision(older, "--template-only") == [promised.replace("would be updated", "updated")]
    assert_that_it_is_the_newer(older, before)
    assert provision(older, "--template-only") == [f"template {TEMPLATE!r}: nothing to do"]


def test_by_provision_where_the_uuids_are_others(older: ZabbixStack) -> None:
    """Whatever uuids a Zabbix has given to the template's objects, they keep them, and their ids."""
    for table in ("items", "triggers", "graphs", "hosts", "dashboard", "valuemap"):
        older.query(OTHER.format(table))
    uuids = "select triggerid, uuid from triggers where length(uuid) > 0 order by 1"
    before, given = ids(older), older.query(uuids)
    (promised, _) = provision(older, "--template-only", "--dry-run")
    assert provision(older, "--template-only") == [promised.replace("would be updated", "updated")]
    assert_that_it_is_the_newer(older, before)
    assert older.query(uuids) == given
    assert provision(older, "--template-only") == [f"template {TEMPLATE!r}: nothing to do"]


def test_a_trigger_that_was_changed_is_brought_back_and_not_doubled(older: ZabbixStack) -> None:
    """One whose expression is another, as that of another version of the template, is updated, found by its name."""
    (changed,) = older.api.trigger.get(
        hostids=id_of(older, "template", TEMPLATE), filter={"description": "TCP: Many connections in CLOSE_WAIT"}
    )
    other = f"last(/{TEMPLATE}/tcp.status[CLOSE_WAIT])>12345"
    older.api.trigger.update(triggerid=changed["triggerid"], expression=other)
    older.query(OTHER.format("triggers"))
    before = ids(older)
    provision(older, "--template-only")
    assert_that_it_is_the_newer(older, before)
    (now,) = older.api.trigger.get(triggerids=changed["triggerid"], expandExpression=True)
    assert "12345" not in now["expression"]
