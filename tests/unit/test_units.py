"""Which units are reported, and which texts have news: bounded over weeks, and quiet where nothing happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sender.items import UNITS, named, port_of, to_items
from sender.model import EphemeralPorts, Reported, Snapshot, TcpState, Vitals
from sender.sampling.groups import UnitTracker
from sender.sampling.left_out import LeftOutLog
from sender.sampling.memory import Memory, NameMemory
from sender.sampling.reporting import Reporting
from sender.sampling.tops import TopTexts, top
from sender.settings import section
from sender.settings.schema import NamespaceSettings, ServiceSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOUR_S, DAY_S = 3600.0, 86_400.0
Owners = dict[TcpState, "Mapping[str, int]"]


def sample(owners: Owners | None = None, **fields: object) -> Snapshot:
    """Return a snapshot with these owners; every state without any has none."""
    known = None if owners is None else {**{state: {} for state in TcpState}, **owners}
    return Snapshot(clock=1, ns=1, duration_s=0, states=dict.fromkeys(TcpState, 0), owners=known, **fields)  # type: ignore[arg-type]


def running(*units: str) -> Snapshot:
    """Return a snapshot in which each of these units has one open connection."""
    return sample({TcpState.ESTABLISHED: dict.fromkeys(units, 1)})


def tracker(**keys: object) -> UnitTracker:
    """As `services:` in a configuration."""
    return UnitTracker(section.read(ServiceSettings, keys))


def units(subject: UnitTracker, snapshot: Snapshot, now: float = 0.0) -> list[str]:
    """Return the units that are reported at the moment `now`."""
    return list(subject.track(snapshot, now=now, wants_discovery=False)[0])


def test_units_are_reported_by_state() -> None:
    """Each unit in each of the wanted states, 0 included; a state whose owners are unknown is left out."""
    snapshot = sample({TcpState.ESTABLISHED: {"a.service": 3}, TcpState.CLOSE_WAIT: {"b.service": 2}})
    tracked = Reported(units=["a.service", "b.service"], unit_states=[TcpState.ESTABLISHED, TcpState.CLOSE_WAIT])
    values = {item.key: item.value for item in to_items(snapshot, Vitals(), host="h", tracked=tracked) if item.port}
    assert values == {
        "tcp.service.status[ESTABLISHED,a.service]": "3",
        "tcp.service.status[CLOSE_WAIT,a.service]": "0",
        "tcp.service.status[ESTABLISHED,b.service]": "0",
        "tcp.service.status[CLOSE_WAIT,b.service]": "2",
    }
    unknown: Owners = {state: {} for state in TcpState if state != TcpState.CLOSE}
    tracked = Reported(units=["a.service"], unit_states=[TcpState.CLOSE])
    found = to_items(
        Snapshot(clock=1, ns=1, duration_s=0, states={}, owners=unknown), Vitals(), host="h", tracked=tracked
    )
    assert not [item for item in found if item.port]


def test_what_no_program_owns_is_reported_where_it_can_be_more_than_0() -> None:
    """Every host has such sockets, in states that are not sent unless somebody wants them."""
    snapshot = sample({TcpState.TIME_WAIT: {"kernel": 900}, TcpState.LISTEN: {"a.service": 1}})
    assert units(tracker(), snapshot) == ["a.service"]
    assert units(tracker(states=["TIME_WAIT"]), snapshot) == ["a.service", "kernel"]


def test_discovery_names_every_unit() -> None:
    """As low-level discovery takes it, on a change and every hour."""
    subject = tracker()
    (_, first) = subject.track(running("b.service", "a.service"), now=0, wants_discovery=False)
    assert json.loads(first[UNITS]) == [{"{#UNIT}": "a.service"}, {"{#UNIT}": "b.service"}]
    assert subject.track(running("b.service", "a.service"), now=30, wants_discovery=False)[1] == {}
    assert subject.track(running("b.service", "c.service"), now=60, wants_discovery=False)[1] != {}
    assert subject.track(running("b.service", "c.service"), now=60 + HOUR_S, wants_discovery=False)[1] != {}


def test_a_unit_that_is_gone_stays_for_a_day() -> None:
    """Its items end in zeros, and a service that is restarted keeps them."""
    subject = tracker()
    assert units(subject, running("a.service")) == ["a.service"]
    assert units(subject, running(), DAY_S) == ["a.service"]
    assert units(subject, running(), DAY_S + 1) == []


def test_excluded_units_are_left_out() -> None:
    """By patterns; a reload that excludes one ends it at once."""
    subject = tracker()
    names = ["getty@tty1.service", "nginx.service", "other"]
    assert units(subject, running(*names)) == names
    subject = subject.with_settings(section.read(ServiceSettings, {"exclude": ["getty@*", "other"]}))
    assert units(subject, running(*names)) == ["nginx.service"]
    assert units(subject, running(), 10.0) == ["nginx.service"]


def test_units_without_end_are_bounded() -> None:
    """Ever new names are as many as the budget of each day, beyond those that were there at first."""
    subject, seen = tracker(new_per_day=3), set[str]()
    for minute in range(0, 2 * 24 * 60, 10):
        seen |= set(units(subject, running("web.service", f"job-{minute}.service"), minute * 60.0))
    assert "web.service" in seen
    assert len(seen) <= 1 + 1 + 3 + 3 + 3
    assert subject.left_out.over_budget


def test_no_more_units_than_the_limit() -> None:
    """Those that were found first; the others are named."""
    subject = tracker(limit=2)
    assert units(subject, running("a.service", "b.service")) == ["a.service", "b.service"]
    assert units(subject, running("0.service", "a.service", "b.service"), 30.0) == ["a.service", "b.service"]
    assert subject.left_out.over_limit == ("0.service",)


def test_where_owners_are_unknown_nothing_is_reported() -> None:
    """Neither units nor an empty discovery, which would end what Zabbix has."""
    subject = tracker()
    assert units(subject, running("a.service")) == ["a.service"]
    assert subject.track(sample(None), now=30.0, wants_discovery=True) == ((), {})
    assert tracker(report=False).track(running("a.service"), now=0, wants_discovery=True) == ((), {})


@pytest.mark.parametrize("is_restarted", [False, True])
def test_units_that_are_not_wanted_any_more_leave_discovery(*, is_restarted: bool) -> None:
    """Once: Zabbix would keep their items for ever, whether the daemon is reloaded or restarted. Wanted again, they are found anew."""
    subject, off = tracker(new_per_day=0), section.read(ServiceSettings, {"report": False})
    both = running("a.service", "b.service")
    assert units(subject, both) == ["a.service", "b.service"]
    note = str(Memory(units=subject.memory))
    subject = UnitTracker(off, Memory.parse(note).units) if is_restarted else subject.with_settings(off)
    assert subject.track(sample(None), now=30, wants_discovery=False) == ((), {UNITS: "[]"})
    assert subject.track(sample(None), now=60, wants_discovery=True) == ((), {})
    assert not Memory.parse(str(Memory(units=subject.memory))).units.named
    again = subject.with_settings(section.read(ServiceSettings, {"new_per_day": 0}))
    assert units(again, both, 9e4) == ["a.service", "b.service"]


def test_what_is_known_survives_a_restart() -> None:
    """Units and ports, in one note; a note of before, or none, leaves what has items."""
    memory = Memory(
        ports=NameMemory(named={443: 5.0}), units=NameMemory(named={"a.service": 7.0, "user sessions": 0.0})
    )
    again = Memory.parse(str(Memory(ports=NameMemory(named={443: 5}), units=NameMemory(named={"a.service": 7}))))
    assert (again.ports.named, again.units.named) == ({443: 5.0}, {"a.service": 7.0})
    for text in ("", "{}", "[]", '{"units": 5}', str(memory)):
        found = Memory.parse(text, ["443", "remote 5432", "a.service", "user sessions", "0", "a,b"])
        assert (set(found.ports.named), set(found.units.named)) in (
            ({443}, {"a.service", "user sessions"}),
            (set(), set()),
        )
    lost = Memory.lost(["443", "a.service"])
    assert (set(lost.ports.named), set(lost.units.named)) == ({443}, {"a.service"})
    assert not lost.units.is_first


def test_names_are_said_as_people_say_them() -> None:
    """Ports as ports, units by their names."""
    assert named(["443"]) == "port 443"
    assert named(["443", "nginx.service", "remote 5432"]) == "port 443, remote 5432 and nginx.service"
    assert named(["user sessions"]) == "user sessions"
    assert port_of("tcp.service.status[CLOSE_WAIT,postgresql@15-main.service]") == "postgresql@15-main.service"


CLOSE_WAIT, SYN_SENT = "tcp.status.top[CLOSE_WAIT]", "tcp.status.top[SYN_SENT]"


def test_a_text_names_the_largest_first() -> None:
    """Five, and what the others have together; `none` where there is nothing."""
    assert top({"b": 3, "a": 560}) == "a 560, b 3"
    assert top({}) == "none"
    assert top({name: count for count, name in enumerate("abcdefg", 1)}) == "g 7, f 6, e 5, d 4, c 3, 2 more 3"


def test_a_text_comes_with_news_alone() -> None:
    """When a figure has moved by a tenth of the largest and by ten; else once an hour, and after a reset."""
    texts = TopTexts(names_destinations=True)

    def due(count: int, now: float, **more: int) -> str | None:
        return texts.due(sample({TcpState.CLOSE_WAIT: {"a.service": count, **more}}), now).get(CLOSE_WAIT)

    assert due(560, 0) == "a.service 560"
    assert due(600, 30) is None
    assert due(623, 60) == "a.service 623"
    assert due(600, 90, b=62) is None
    assert due(600, 120, b=63) == "a.service 600, b 63"
    assert due(600, 150, b=62) is None
    assert due(600, 119 + HOUR_S, b=62) is None
    assert due(600, 120 + HOUR_S, b=63) == "a.service 600, b 63"
    texts.reset()
    assert due(600, 121 + HOUR_S, b=63) == "a.service 600, b 63"


def test_few_sockets_are_no_news() -> None:
    """Where nothing is wrong, nothing is sent: a handful of sockets comes and goes."""
    texts = TopTexts(names_destinations=True)
    sent = [
        texts.due(sample({TcpState.CLOSE_WAIT: {f"{n % 3}.service": n % 9}}), n * 30.0).get(CLOSE_WAIT)
        for n in range(100)
    ]
    assert [n for n, text in enumerate(sent) if text] == [0]


def test_destinations_are_named_only_where_that_is_wanted() -> None:
    """With `name_destinations: false` no text has an address; owners are named all the same."""
    snapshot = sample(
        {TcpState.CLOSE_WAIT: {"a.service": 1}},
        destinations={"192.0.2.1:443": 20},
        ephemeral=EphemeralPorts(used=10, usable=100, destination="192.0.2.1:443 from 192.0.2.9"),
    )
    named_ones = TopTexts(names_destinations=True).due(snapshot, 0)
    assert named_ones[SYN_SENT] == "192.0.2.1:443 20"
    assert named_ones["tcp.ephemeral.top"] == "192.0.2.1:443 from 192.0.2.9"
    others = TopTexts(names_destinations=False).due(snapshot, 0)
    assert "192.0.2.1" not in str(others)
    assert others == {key: text for key, text in named_ones.items() if key not in (SYN_SENT, "tcp.ephemeral.top")}


def test_a_destination_of_few_ports_is_not_named() -> None:
    """It may be a client, whose listener is gone. A figure that moves about the border makes no texts."""
    texts = TopTexts(names_destinations=True)

    def due(used: int, now: float) -> str | None:
        ephemeral = EphemeralPorts(used=used, usable=100, destination="192.0.2.1:443 from 192.0.2.9")
        return texts.due(sample({}, ephemeral=ephemeral), now).get("tcp.ephemeral.top")

    assert due(9, 0) == "none"
    assert [due(used, 30) for used in (10, 9, 10, 8, 11)] == [None] * 5
    assert due(19, 60) == "192.0.2.1:443 from 192.0.2.9"
    assert due(10, 90) is None
    assert due(9, 120) == "none"


@pytest.mark.parametrize("is_known", [True, False])
def test_without_owners_there_is_no_text_about_them(*, is_known: bool) -> None:
    """Not even `none`, which would say that there is no socket."""
    texts = TopTexts(names_destinations=True).due(sample({} if is_known else None), 0)
    assert (CLOSE_WAIT in texts) == is_known
    assert texts[SYN_SENT] == "none"


def test_a_reload_knows_what_was_known() -> None:
    """Ports and units stay, texts are sent anew, and what the settings say holds at once."""
    settings = section.read(Settings, {"host": "h"})
    reporting = Reporting(settings, service=str)
    first = reporting.track(running("a.service"), now=0, wants_discovery=False)
    assert reporting.track(running("a.service"), now=30, wants_discovery=False).texts == {}
    again = reporting.with_settings(section.read(Settings, {"host": "h", "services": {"states": ["LISTEN"]}}))
    second = again.track(running(), now=60, wants_discovery=False)
    assert (first.units, second.units) == (["a.service"], ["a.service"])
    assert second.unit_states == (TcpState.LISTEN,)
    assert CLOSE_WAIT in second.texts


def test_the_helper_s_trouble_is_said_once(logged: Callable[[], list[str]]) -> None:
    """When it begins, when it is another, and when it is over."""
    log = LeftOutLog()
    for trouble in ("gone", "gone", None, None, "not root's"):
        log.log_trouble(trouble)
    said = logged()
    assert ["not counted: gone" in said[0], "counted again" in said[1], "not root's" in said[2]] == [True] * 3
    assert len(said) == 3


def test_namespaces_that_are_too_large_are_said_daily(logged: Callable[[], list[str]]) -> None:
    """All those that are not excluded, in one line."""
    log, settings = LeftOutLog(), section.read(NamespaceSettings, {"exclude": ["job-*"]})
    for now in (0, 30, 86_400):
        log.log_too_large({"b", "a", "job-1"}, settings, now)
        log.log_too_large({"job-1"}, settings, now)
    said = logged()
    assert len(said) == 2
    assert all("are not counted: a, b. " in line for line in said)


def test_namespaces_are_reported_by_name() -> None:
    """In the wanted states; one that is gone is reported in zeros, one that there was no time for is not.

    The latter stays in discovery for as long as it is there.
    """
    settings = section.read(Settings, {"host": "h", "namespaces": {"report": True, "states": ["LISTEN"]}})
    reporting = Reporting(settings, service=str)
    assert reporting.wanted.namespaces

    def values(now: float, uncounted: frozenset[str] = frozenset(), **found: int) -> dict[str, str]:
        namespaces = {name: {TcpState.LISTEN: count} for name, count in found.items()}
        snapshot = sample(None, namespaces=namespaces, uncounted=uncounted, namespace_drops={"web": 9})
        tracked = reporting.track(snapshot, now=now, wants_discovery=False)
        items = to_items(snapshot, Vitals(), host="h", tracked=tracked)
        assert {item.key: item.value for item in items if "drops" in item.key} == (
            {"tcp.netns.listen.drops[web]": "9"} if "web" in found else {}
        )
        return {item.port: item.value for item in items if item.port and "drops" not in item.key}

    assert values(0, web=3, db=4) == {"netns db": "4", "netns web": "3"}
    assert values(30, web=5) == {"netns db": "0", "netns web": "5"}
    assert values(60, frozenset({"db"}), web=5) == {"netns web": "5"}
    waiting = frozenset({"db", "late"})  # of which "late" has never been counted
    assert values(90 + 2 * DAY_S, waiting, web=5) == {"netns web": "5"}
    assert values(120 + 2 * DAY_S, web=5) == {"netns db": "0", "netns web": "5"}
    gone = sample(None)
    assert not reporting.track(gone, now=90, wants_discovery=True).namespaces
    assert named(["netns web"]) == "netns web"


@pytest.mark.parametrize("name", ["web", "42", "shop/web-0"])
def test_a_namespace_survives_a_restart(name: str) -> None:
    """One whose name is a number, too (`ip netns add 42`): it costs no budget again, and is called a namespace."""
    settings = section.read(Settings, {"host": "h", "namespaces": {"report": True, "new_per_day": 0}})
    snapshot = sample(None, namespaces={name: {TcpState.ESTABLISHED: 1}})
    before = Reporting(settings, service=str)
    assert before.track(snapshot, now=0, wants_discovery=False).namespaces == [name]
    assert named([f"netns {name}"]) == f"netns {name}"
    for memory in (
        Memory.parse(str(before.memory)),
        Memory.parse("", [f"netns {name}"]),
        Memory.lost([f"netns {name}"]),
    ):
        assert list(memory.namespaces.named) == [name]
        again = Reporting(settings, memory, service=str, now=5000)
        assert again.track(snapshot, now=5000, wants_discovery=False).namespaces == [name]
