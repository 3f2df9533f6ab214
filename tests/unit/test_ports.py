"""Which ports are reported: found, limited, and kept for a day when nobody listens any more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sender.items import LOCAL, REMOTE, to_items
from sender.model import CountedPorts, Listener, Reported, Snapshot, TcpState, Vitals
from sender.sampling.memory import Memory, NameMemory
from sender.sampling.names import KEEP_S
from sender.sampling.ports import PortTracker
from sender.settings import section
from sender.settings.schema import PortSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR_S = 3600.0


def settings(**keys: Any) -> PortSettings:
    """As `ports:` in a configuration."""
    return section.read(PortSettings, keys)


def subject(seen: Mapping[int, float] | None = None, **keys: Any) -> PortTracker:
    """Ports whose services are all called as their number."""
    memory: NameMemory[int] = NameMemory(named={port: -moment for port, moment in (seen or {}).items()})
    return PortTracker(settings(**keys), memory, service=lambda port: f"s{port}")


def sample(*listening: int, loopback: tuple[int, ...] = (), local: Mapping[tuple[int, TcpState], int] = {}) -> Snapshot:
    """Return a snapshot in which these ports are listened on."""
    listeners = {port: Listener(limit=128, is_loopback=port in loopback) for port in (*listening, *loopback)}
    states = dict.fromkeys(TcpState, 0)
    return Snapshot(clock=1, ns=1, duration_s=0, states=states, listeners=listeners, local=local)


def track(ports: PortTracker, snapshot: Snapshot, now: float = 0.0, *, wants_discovery: bool = False) -> Reported:
    """Return what is reported at the moment `now`."""
    return ports.track(snapshot, now=now, wants_discovery=wants_discovery)


def test_the_discovery_is_the_contracts() -> None:
    """Local ports come with service and scope, remote ones with service: JSON as low-level discovery takes it."""
    tracked = track(subject(local=[9], remote=[5432]), sample(443, loopback=(25,)))
    assert tracked.discovery == {
        LOCAL: '[{"{#PORT}":"9","{#SERVICE}":"s9","{#NAME}":"9 s9","{#SCOPE}":"any"},'
        '{"{#PORT}":"25","{#SERVICE}":"s25","{#NAME}":"25 s25","{#SCOPE}":"loopback"},'
        '{"{#PORT}":"443","{#SERVICE}":"s443","{#NAME}":"443 s443","{#SCOPE}":"any"}]',
        REMOTE: '[{"{#PORT}":"5432","{#SERVICE}":"s5432","{#NAME}":"5432 s5432"}]',
    }
    assert (tracked.local, tracked.remote) == ([9, 25, 443], (5432,))


def test_a_port_of_a_container_is_marked() -> None:
    """Its connections are elsewhere, and its zeros look measured: its scope and its name say so, when nobody listens too."""
    ports = subject()
    seen = replace(sample(443), listeners={443: Listener(limit=1, is_published=True)})
    marked = '[{"{#PORT}":"443","{#SERVICE}":"s443","{#NAME}":"443 s443 (container)","{#SCOPE}":"container"}]'
    assert track(ports, seen).discovery[LOCAL] == marked
    assert track(ports, sample(), 4000.0).discovery[LOCAL] == marked
    loopback = Listener(limit=1, is_published=True, is_loopback=True)  # which Docker's proxy serves itself
    found = track(ports, replace(sample(443), listeners={443: loopback}), 8000.0).discovery[LOCAL]
    assert '"{#NAME}":"443 s443","{#SCOPE}":"loopback"' in found


def test_a_port_without_a_name_is_called_by_its_number() -> None:
    """Where the system's table has no service, no word stands in its place."""
    ports = PortTracker(settings(remote=[5432]), service=lambda _: "")
    assert track(ports, sample(8765)).discovery == {
        LOCAL: '[{"{#PORT}":"8765","{#SERVICE}":"","{#NAME}":"8765","{#SCOPE}":"any"}]',
        REMOTE: '[{"{#PORT}":"5432","{#SERVICE}":"","{#NAME}":"5432"}]',
    }


def test_discovery_comes_on_change_and_every_hour() -> None:
    """The first sample has it, one in which anything is another, and one an hour after it was sent last."""
    ports = subject()
    moments = [
        (0.0, sample(443), True),
        (30.0, sample(443), False),
        (60.0, sample(443, 80), True),
        (90.0, sample(443, loopback=(80,)), True),  # another scope
        (90.0 + HOUR_S - 1, sample(443, loopback=(80,)), False),
        (90.0 + HOUR_S, sample(443, loopback=(80,)), True),
    ]
    for now, snapshot, comes in moments:
        assert bool(track(ports, snapshot, now).discovery) == comes, now


def test_discovery_comes_when_it_is_asked_for() -> None:
    """Where a destination has lost it, it is sent anew, but not with each of many samples."""
    ports = subject()
    sent = [bool(track(ports, sample(443), now, wants_discovery=True).discovery) for now in range(25)]
    assert [now for now, is_sent in enumerate(sent) if is_sent] == [0, 10, 20]


def test_what_is_wanted_of_the_kernel() -> None:
    """Configured ports, those seen before, and whatever is listened on."""
    ports = subject({80: 0.0}, local=[9], remote=[5432])
    assert ports.wanted == CountedPorts(local=frozenset({9, 80}), remote=frozenset({5432}), listening=True)
    assert subject({80: 0.0}, listening=False, local=[9]).wanted.local == frozenset({9})


def test_excluded_ports_are_left_out_and_named_ones_never() -> None:
    """A port or a range of `exclude` is not found; `local` wins over it, and over there being no listener."""
    ports = subject(exclude=[22, "1000-2000"], local=[1500])
    assert track(ports, sample(22, 80, 999, 1000, 1400, 2000, 2001)).local == [80, 999, 1500, 2001]


def test_without_listening_only_named_ports_are_reported() -> None:
    """What is found by itself is nothing then."""
    assert track(subject(listening=False, local=[9]), sample(9, 443)).local == [9]


def test_the_limit_keeps_those_that_were_there_first_and_those_listened_on() -> None:
    """Past `limit`, what comes later is left out, of several the high numbers; what nobody listens on any more gives way.

    It is of the others alone that it is said. Ports that are configured never give way.
    """
    ports = subject({1: -61.0}, limit=2, local=[7000])
    assert track(ports, sample(500, 100, 300), 0.0).local == [100, 300, 7000]
    assert list(ports.left_out.over_limit) == [500]
    assert track(ports, sample(50, 100, 300), 30.0).local == [100, 300, 7000]
    assert list(ports.left_out.over_limit) == [50]
    assert track(ports, sample(100), 60.0).local == [100, 300, 7000]
    assert list(ports.left_out.over_limit) == []
    assert track(ports, sample(100, 500), 91.0).local == [100, 500, 7000]


def test_a_restart_at_the_limit_costs_no_service_its_place() -> None:
    """A minute without it changes nothing. After that its room is another's, until it is back: it was found first.

    So it is after a restart of the daemon, too.
    """
    ports = subject(limit=3)
    all_but_80, found = [8080, 8443, 9090], sample(80, 8080, 8443, 9090)
    assert track(ports, sample(*all_but_80), 0.0).local == all_but_80
    assert track(ports, found, 30.0).local == all_but_80
    for now in (60.0, 90.0):
        assert track(ports, sample(80, 8080, 8443), now).local == all_but_80
        assert list(ports.left_out.over_limit) == [80]
    assert track(ports, sample(80, 8080, 8443), 91.0).local == [80, 8080, 8443]
    memory = Memory.parse(str(Memory(ports=ports.memory))).ports
    again = PortTracker(settings(limit=3), memory, service=str)
    for each in (ports, again):
        assert track(each, found, 180.0).local == all_but_80
        assert list(each.left_out.over_limit) == [80]


def test_a_port_that_goes_stays_for_a_day_and_then_until_it_is_unused() -> None:
    """It is reported, in zeros, and discovered; what is left of its connections keeps it, and the last sample has zeros."""
    ports = subject()
    track(ports, sample(443), 0.0)
    quiet = sample()
    items = to_items(quiet, Vitals(), host="h", tracked=track(ports, quiet, KEEP_S))
    assert {item.value for item in items if item.key.endswith(("443]", ",443]"))} == {"0", "0.00"}
    leak = sample(local={(443, TcpState.CLOSE_WAIT): 3})
    for now in (KEEP_S + 1, 3 * KEEP_S):
        assert track(ports, leak, now).local == [443]
    gone = track(ports, quiet, 3 * KEEP_S + 30)
    assert gone.local == []
    assert json.loads(gone.discovery[LOCAL]) == []


def test_a_port_that_comes_back_has_another_day() -> None:
    """A service that is restarted keeps its items."""
    ports = subject()
    track(ports, sample(443), 0.0)
    assert track(ports, sample(443), KEEP_S - 1).local == [443]
    assert track(ports, sample(), 2 * KEEP_S - 2).local == [443]


def test_a_remembered_port_is_reported_though_nobody_listens() -> None:
    """After a reboot that a service did not survive, its items do not go on showing what was before."""
    assert track(subject({443: 10.0}), sample(), 11.0).local == [443]


def test_a_scope_outlives_its_listener() -> None:
    """A loopback service that stops does not turn into one for everybody, which a filter might let pass."""
    ports = subject()
    first, later = (track(ports, snapshot, 1.0) for snapshot in (sample(loopback=(25,)), sample()))
    assert first.discovery
    assert not later.discovery


def test_a_scope_outlives_a_reload() -> None:
    """Nor does it while the settings change: discovery, which comes then, still says so."""
    ports = subject()
    track(ports, sample(loopback=(25,)), 0.0)
    discovery = track(ports.with_settings(settings(remote=[5432])), sample(), 30.0).discovery
    assert json.loads(discovery[LOCAL]) == [
        {"{#PORT}": "25", "{#SERVICE}": "s25", "{#NAME}": "25 s25", "{#SCOPE}": "loopback"}
    ]
    assert json.loads(discovery[REMOTE]) == [{"{#PORT}": "5432", "{#SERVICE}": "s5432", "{#NAME}": "5432 s5432"}]


@pytest.mark.parametrize(
    ("waiting", "limit", "percent"), [(0, 128, "0.00"), (64, 128, "50.00"), (129, 128, "100.78"), (1, 0, "100.00")]
)
def test_how_full_a_queue_is(waiting: int, limit: int, percent: str) -> None:
    """In percent of its limit; the kernel lets one connection over it, and a limit of 0 takes one."""
    snapshot = Snapshot(
        clock=1,
        ns=1,
        duration_s=0,
        states=dict.fromkeys(TcpState, 0),
        listeners={80: Listener(waiting=waiting, limit=limit)},
    )
    items = to_items(snapshot, Vitals(), host="h", tracked=Reported(local=[80]))
    values = {item.key: item.value for item in items if "queue" in item.key}
    assert values == {
        "tcp.listen.queue[80]": str(waiting),
        "tcp.listen.queue.max[80]": str(limit),
        "tcp.listen.queue.pused[80]": percent,
    }


def test_where_the_kernel_names_no_limit_none_is_sent() -> None:
    """An unknown limit of TIME_WAIT is no value, least of all 0."""
    items = to_items(sample(), Vitals(), host="h")
    assert "tcp.limit[TIME_WAIT]" not in {item.key for item in items}


def test_a_port_without_a_name_has_its_unit() -> None:
    """Where the system's table has none, {#SERVICE} is the unit that listens; it stays while the service restarts."""
    ports = PortTracker(settings(), service=lambda port: {443: "https"}.get(port, ""))
    owners = {443: "nginx.service", 8080: "backend.service", 9000: "other", 9001: "kernel"}
    first = track(ports, replace(sample(443, 8080, 9000, 9001, 9002), port_owners=owners))
    named = {entry["{#PORT}"]: (entry["{#SERVICE}"], entry["{#NAME}"]) for entry in json.loads(first.discovery[LOCAL])}
    assert named == {
        "443": ("https", "443 https"),
        "8080": ("backend.service", "8080 backend.service"),
        "9000": ("", "9000"),
        "9001": ("", "9001"),
        "9002": ("", "9002"),
    }
    assert track(ports, sample(443, 9000, 9001, 9002), 30.0).discovery == {}
    moved = track(ports, replace(sample(443, 8080, 9000, 9001, 9002), port_owners={8080: "other.service"}), 60.0)
    assert "8080 other.service" in moved.discovery[LOCAL]
