"""What shows up on a host becomes items when it is worth them: long enough there, and so many new ones per day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.items import to_items
from sender.model import Listener, Snapshot, TcpState, Vitals
from sender.sampling.guard import DAY_S, FIRST_S, ChurnGuard, GuardMemory
from sender.sampling.memory import Memory, NameMemory
from sender.sampling.names import LeftOut
from sender.sampling.ports import PortTracker
from sender.settings import section
from sender.settings.schema import PortSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

EPHEMERAL = range(32768, 61000)
HOUR_S, WEEK_S = 3600.0, 7 * DAY_S


def sample(listening: Iterable[int]) -> Snapshot:
    """Return a snapshot in which these ports are listened on."""
    return Snapshot(
        clock=1,
        ns=1,
        duration_s=0,
        states=dict.fromkeys(TcpState, 0),
        listeners={port: Listener(limit=128) for port in listening},
        ephemeral_ports=EPHEMERAL,
    )


def tracker(memory: NameMemory[int] | None = None, now: float = 0.0, **keys: object) -> PortTracker:
    """Ports as the settings `keys` say, after a start at `now`."""
    return PortTracker(section.read(PortSettings, keys), memory or NameMemory(), service=str, now=now)


def local(ports: PortTracker, now: float, *listening: int) -> list[int]:
    """Return the ports that are reported at `now`."""
    return list(ports.track(sample(listening), now=now, wants_discovery=False).local)


def restarted(ports: PortTracker, now: float, **keys: object) -> PortTracker:
    """Return the ports of the next daemon, whose clock begins anew at `now`."""
    return tracker(Memory.parse(str(Memory(ports=ports.memory))).ports, now, **keys)


def test_listeners_on_ever_another_ephemeral_port_make_no_items() -> None:
    """A second each on a random port, beside two services, for a day: the services are reported, and nothing else ever."""
    ports, keys = tracker(), set()
    for now in range(0, 86_400, 7):
        reported = ports.track(sample([22, 443, EPHEMERAL[now * 31 % 28_000]]), now=now, wants_discovery=False)
        keys |= set(reported.local)
    assert keys == {22, 443}


def test_listeners_on_ever_another_low_port_are_bounded() -> None:
    """Of ports from 20,000 up, a new one every ten minutes for a week, no more are reported than `limit` and the days' budgets."""
    ports, keys = tracker(), set()
    for now in range(0, int(WEEK_S), 600):
        keys |= set(local(ports, now, 443, 20_000 + now // 600))
    assert 443 in keys
    assert len(keys) <= 3 + 7 * 20  # those of the first minutes, and then the budget
    items = to_items(
        sample([443]), Vitals(), host="h", tracked=ports.track(sample([443]), now=WEEK_S, wants_discovery=False)
    )
    assert len({item.port for item in items if item.port}) <= 50


def test_a_service_on_a_high_port_is_reported_in_time() -> None:
    """An hour after it began to listen, not before; other hosts' idea of the range does not matter."""
    ports = tracker()
    assert local(ports, 0, 443) == [443]
    assert local(ports, 30, 443, 50_000) == [443]
    assert list(ports.left_out.young) == [50_000]
    assert local(ports, HOUR_S, 443, 50_000) == [443]
    assert local(ports, HOUR_S + 30, 443, 50_000) == [443, 50_000]
    assert list(ports.left_out.young) == []


@pytest.mark.parametrize(("gap_s", "expected"), [(30, [50_000]), (3000, [])])
def test_a_restart_of_the_service_does_not_begin_anew(gap_s: int, expected: list[int]) -> None:
    """One that is away for less than a minute goes on waiting; one that was away for longer begins again."""
    ports = tracker()
    for now in range(0, int(HOUR_S), 30):
        local(ports, now, *([] if 300 <= now < 300 + gap_s else [50_000]))
    assert local(ports, HOUR_S, 50_000) == expected


def test_the_time_is_a_setting() -> None:
    """With 0s it is reported at once; a longer one is waited for."""
    assert local(tracker(ephemeral_after="0s"), 0, 50_000) == [50_000]
    slow = tracker(ephemeral_after="2h")
    assert [local(slow, hours * HOUR_S, 50_000) for hours in range(3)] == [[], [], [50_000]]


def test_a_port_that_is_named_needs_no_time() -> None:
    """`local` reports it from the first sample on."""
    assert local(tracker(local=[50_000]), 0, 50_000) == [50_000]


def test_the_first_minutes_are_free_and_the_budget_is_per_day() -> None:
    """All that is there in the first ten minutes is reported; then so many in 24 hours, and the next when these have passed."""
    ports = tracker(new_per_day=2)
    assert local(ports, 0, 1, 2) == [1, 2]
    assert local(ports, 570, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert local(ports, 630, 1, 2, 3, 4, 5, 6, 7) == [1, 2, 3, 4, 5, 6]
    assert ports.left_out.over_budget == (7,)
    assert local(ports, 629 + DAY_S, 1, 2, 3, 4, 5, 6, 7) == [1, 2, 3, 4, 5, 6]
    assert local(ports, 630 + DAY_S, 1, 2, 3, 4, 5, 6, 7) == [1, 2, 3, 4, 5, 6, 7]


def test_services_that_are_all_in_the_ephemeral_range_cost_no_budget() -> None:
    """Where the range begins at 1024, they are reported after an hour, all that were there at first."""
    ports = tracker(new_per_day=2)
    services = [40_000 + number for number in range(30)]
    assert local(ports, 0, *services) == []
    assert local(ports, HOUR_S, *services) == services


def test_what_comes_and_goes_in_the_first_minutes_is_bounded() -> None:
    """As many as there is room for, and the budget of the day: not one for each of 600 listeners."""
    ports, named = tracker(limit=10, new_per_day=3), set()
    for now in range(600):
        named |= set(local(ports, now, 2000 + now))
    assert len(named) == 10 + 3


def test_settings_that_are_taken_back_lose_nothing() -> None:
    """A limit, an exclusion or the whole search that was set for a while: what was reported before is again, without cost."""
    ports, services = tracker(new_per_day=0), range(8000, 8030)
    before = local(ports, 0, *services)
    assert before == [*services]
    for changed in ({"limit": 5}, {"exclude": ["8000-8029"]}, {"listening": False}):
        ports = ports.with_settings(section.read(PortSettings, {"new_per_day": 0, **changed}))
        assert len(local(ports, 700, *services)) < 30
        ports = ports.with_settings(PortSettings(new_per_day=0))
        assert local(ports, 730, *services) == before
        assert ports.left_out == LeftOut()


def test_a_reload_during_a_sample_charges_nothing_twice() -> None:
    """A port that the old settings have named just now is named for the new ones, too."""
    ports = tracker(new_per_day=1)
    local(ports, 0, 1)
    later = ports.with_settings(PortSettings(new_per_day=1))
    assert local(ports, 700, 1, 2) == [1, 2]
    assert local(later, 730, 1, 2) == [1, 2]


def test_where_nobody_can_tell_nothing_is_free() -> None:
    """A spool that cannot be read at the start: what is known there goes on, and the rest costs the day's budget until then."""
    ports = tracker(Memory.lost(["1"]).ports, new_per_day=1)
    assert local(ports, 0, 1, 2, 3) == [1, 2]
    ports.recall(
        Memory.parse(str(Memory(ports=NameMemory(named={3: 5}, guard=GuardMemory(spent=[10], begun=900))))).ports, 30.0
    )
    assert local(ports, 30, 1, 2, 3, 4) == [1, 2, 3]
    assert ports.left_out.over_budget == (4,)


def test_a_daemon_that_is_killed_again_and_again_ages_what_waits() -> None:
    """While a few wait, each sample brings them forward, however short the daemon's lives are."""
    ports = tracker(ephemeral_after="20s")
    for life in range(8):
        local(ports, life * 10 + 1, 50_000)
        named = local(ports, life * 10 + 4, 50_000)
        ports = restarted(ports, life * 10 + 10, ephemeral_after="20s")
    assert named == [50_000]


def test_a_restart_of_the_daemon_does_not_count_anew() -> None:
    """What waits goes on waiting, what was spent is spent, and nothing is free a second time."""
    ports = tracker(new_per_day=1)
    for now in range(0, 1801, 30):
        local(ports, now, 1, *([2] if now > 600 else []), 50_000)
    assert list(ports.left_out.young) == [50_000]
    later = restarted(ports, 7.0, new_per_day=1)
    assert local(later, 10.0, 1, 2, 3, 50_000) == [1, 2]
    assert list(later.left_out.over_budget) == [3]
    for now in range(40, 1700, 30):
        assert local(later, now, 1, 2, 3, 50_000) == [1, 2]
        assert list(later.left_out.young) == [50_000]
    assert local(later, 1900, 1, 2, 3, 50_000) == [1, 2, 50_000]  # it was there in the first minutes
    assert list(later.left_out.over_budget) == [3]


def test_what_was_never_looked_for_is_free_after_a_restart_too() -> None:
    """As where network namespaces are switched on in the file, and the daemon is restarted: the first ones cost no budget."""
    assert local(restarted(tracker(), 7.0, new_per_day=1), 10.0, 1, 2, 3) == [1, 2, 3]


def test_a_port_that_is_gone_is_not_kept_by_restarts() -> None:
    """Its day goes on over a restart: a daemon that starts each hour does not report it for ever."""
    ports = tracker()
    local(ports, 0, 1, 2)
    for hour in range(1, 26):
        local(ports, hour * HOUR_S, 1)
        ports = restarted(ports, hour * HOUR_S)
    assert local(ports, 26 * HOUR_S, 1) == [1]


def test_a_reload_keeps_what_is_known() -> None:
    """Another budget is in force at once; who waits goes on waiting."""
    ports = tracker(new_per_day=0)
    for now in range(0, 630, 30):
        local(ports, now, 1, 50_000)
    local(ports, 630, 1, 2, 50_000)
    assert list(ports.left_out.over_budget) == [2]
    ports = ports.with_settings(PortSettings(new_per_day=5))
    assert local(ports, 660, 1, 2, 50_000) == [1, 2]
    assert local(ports, HOUR_S, 1, 2, 50_000) == [1, 2, 50_000]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"named": 3}',
        '{"named":{"99999":1},"waiting":{"x":1},"spent":["a",-1,true]}',
        "[" * 5000,
    ],
)
def test_a_note_that_makes_no_sense_is_none(text: str) -> None:
    """Whatever the file holds, the daemon starts; the ports that a destination knows are those that are named then."""
    memory = Memory.parse(text, ["443"]).ports
    assert set(memory.named) <= {443}
    assert local(tracker(memory), 0, 80) == sorted({80, *memory.named})


@given(
    st.lists(st.tuples(st.sets(st.integers(1, 40), max_size=12), st.integers(1, 30_000)), max_size=40),
    st.integers(0, 5),
)
def test_no_day_has_more_than_its_budget(steps: list[tuple[set[int], int]], per_day: int) -> None:
    """Whatever comes and goes, and however often the daemon starts: in any 24 hours at most so many are admitted."""
    begun: GuardMemory[int] = GuardMemory(begun=FIRST_S + 1)
    guard, now, admitted, known = ChurnGuard(per_day, begun, now=0.0), 0.0, list[tuple[float, int]](), set[int]()
    for number, (present, pause_s) in enumerate(steps):
        now += pause_s
        new = guard.admit(dict.fromkeys(present - known, 0.0), room=100, now=now)
        admitted += [(now, name) for name in new]
        known |= set(new)
        if number % 3 == 2:
            guard = ChurnGuard(per_day, guard.memory(now), now=now)
    for moment, _ in admitted:
        assert sum(moment <= other < moment + DAY_S for other, _ in admitted) <= per_day


def test_memory_is_bounded() -> None:
    """A port scan in reverse, tens of thousands of listeners that come and go, leaves a note of a few kilobytes."""
    ports = tracker()
    for now in range(30):
        local(ports, now, *range(33_000 + now * 900, 33_900 + now * 900))
    local(ports, 100, *range(33_000, 60_000))
    assert len(str(Memory(ports=ports.memory))) < 30_000
