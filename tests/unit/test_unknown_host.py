"""A host that Zabbix does not know yet loses nothing: its samples stay queued, and one is offered again, less and less often."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from lab.some_items import LIMITS, Zabbix, sample
from sender.delivery.delivery import Delivery
from sender.delivery.rejections import Rejections
from sender.delivery.unknown_host import UnknownHost
from sender.model import Item, Outcome
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "tcp.status[TOTAL]"
INTERVAL_S = 30


class Clock:
    """A clock that the test sets; the samples are taken by it too."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


class Host:
    """A daemon's delivery to a Zabbix that knows no host, one sample every 30 s."""

    def __init__(self, spool: Spool) -> None:
        self.spool, self.zabbix, self.clock = spool, Zabbix(), Clock()
        self.zabbix.lacks = lambda _: True
        self.delivery = self.started()
        self.taken: list[int] = []

    def started(self) -> Delivery:
        """Return the delivery of a daemon that has just been started."""
        delivery = Delivery("main", self.zabbix.send, self.spool, monotonic=self.clock, jitter=lambda: 1.0)
        delivery.unknown_host = UnknownHost("main", monotonic=self.clock, jitter=lambda: 1.0, now=self.clock)
        delivery.unknown_host.host = "web-01"
        return delivery

    def live(self, seconds: int, *ports: int) -> None:
        """Take samples and deliver for so long."""
        for _ in range(seconds):
            self.clock.now += 1
            if self.clock.now % INTERVAL_S == 0:
                self.taken.append(int(self.clock.now))
                self.spool.append(sample(self.taken[-1], *ports, discovery=len(self.taken) == 1))
            assert self.delivery.drain()


@pytest.fixture
def host() -> Iterator[Host]:
    """Return a host that Zabbix does not know."""
    spool = Spool(":memory:", ["main"], LIMITS)
    yield Host(spool)
    spool.close()


@pytest.mark.parametrize("after_s", [1, 60, 600, 3500])
def test_a_new_host_begins_with_its_first_sample(host: Host, after_s: int) -> None:
    """However long it takes until Zabbix knows the host, within the hour: every sample arrives, in order, its ports' too."""
    host.live(after_s, 443)
    host.zabbix.lacks = lambda _: False
    host.live(180, 443)
    assert host.zabbix.clocks(KEY) == host.taken
    assert host.zabbix.clocks("tcp.status[ESTABLISHED,443]") == host.taken
    assert (host.spool.queued("main"), host.spool.rejected) == (0, 0)


def test_a_host_that_is_never_created_costs_little(host: Host, logged: Callable[[], list[str]]) -> None:
    """A day of it: an hour stays queued, a request every two minutes is made, of one sample, and the log has three lines."""
    host.live(86_400)
    assert host.spool.queued("main") <= 2 * (3600 + 240) / INTERVAL_S
    assert len(host.zabbix.requests) <= 86_400 / 120 + 20
    assert max(len({item.clock for item in items}) for items in host.zabbix.requests) == 1
    first, second, third = logged()
    assert "Zabbix rejects all" in first
    assert "stay queued for 1 h 0 min" in second
    assert "rejected for good from now on" in third
    assert host.spool.rejected == sum(1 + 2 * (number == 0) for number in range(len(host.taken))) - host.spool.queued(
        "main"
    )


def test_it_is_offered_soon_and_then_less_often(host: Host) -> None:
    """Within seconds at first, for that is what a server takes; after some minutes every two."""
    times = []
    host.zabbix.lacks = lambda _: not times.append(host.clock.now)  # type: ignore[func-returns-value]
    host.live(1800)
    moments = sorted(set(times))
    pauses = [later - before for before, later in pairwise(moments)]
    assert pauses[0] <= 6
    assert pauses == sorted(pauses)
    assert 119 <= pauses[-1] <= 121


def test_a_backlog_survives_a_destination_that_knows_nobody_yet(host: Host) -> None:
    """A proxy that has just been started rejects all for a while: samples of many hours, which were queued, are not lost."""
    host.zabbix.is_down = True
    for _ in range(600):
        host.clock.now += INTERVAL_S
        host.taken.append(int(host.clock.now))
        host.spool.append(sample(host.taken[-1]))
    host.zabbix.is_down = False
    host.live(120)
    host.zabbix.lacks = lambda _: False
    host.live(180)
    assert host.zabbix.clocks(KEY) == host.taken


def test_after_the_hour_the_last_hour_stays(host: Host) -> None:
    """A host that is enabled again after a day has the last hour; what is older was rejected for good, and counted."""
    host.live(86_400)
    host.zabbix.lacks = lambda _: False
    host.live(300)
    clocks = host.zabbix.clocks(KEY)
    assert clocks == host.taken[-len(clocks) :]
    assert 3600 / INTERVAL_S <= len(clocks) <= (3600 + 600) / INTERVAL_S


def test_another_name_does_not_wait_for_the_old_one(host: Host) -> None:
    """When a wrong name is corrected, samples of that name are rejected for good, and those of the right one delivered."""
    host.live(300)
    host.zabbix.lacks = lambda item: item.host == "web-01"
    host.delivery.unknown_host.host = "web-02"
    host.delivery.unknown_host.retry_now()
    host.spool.append(sample(int(host.clock.now) + 1, host="web-02"))
    assert host.delivery.drain()
    assert [item.host for item in host.zabbix.taken] == ["web-02"]
    assert host.spool.rejected > 0


def test_without_the_setting_nothing_stays(host: Host) -> None:
    """With 0s, a sample that is rejected is gone."""
    host.delivery.unknown_host.keep_s = 0
    host.live(300)
    assert host.spool.queued("main") == 0
    assert not host.delivery.unknown_host.is_waiting


def test_a_destination_that_changes_its_mind_gets_everything(host: Host) -> None:
    """One name in front of two servers, of which one knows the host: with every other request rejected, nothing is behind."""
    host.zabbix.lacks = lambda _: len(host.zabbix.requests) % 2 == 1
    host.live(1800)
    assert host.spool.queued("main") <= 2
    assert host.zabbix.clocks(KEY) == host.taken[: len(host.zabbix.clocks(KEY))]


def test_a_rare_key_that_is_rejected_stays_named() -> None:
    """A sample without it says nothing of it; the next one that has it accepted does."""
    rejections = Rejections("main")
    whole = [Item(host="web-01", key=key, value="1", clock=1, ns=1) for key in (KEY, "tcp.limit[TIME_WAIT]")]
    rejections.record(whole, Outcome(accepted=1, rejected=1))
    rejections.probe(whole, lambda items: outcome(items[0].key.startswith("tcp.limit")), lambda _: None)
    assert "tcp.limit[TIME_WAIT]" in rejections.summary
    rejections.record(whole[:1], Outcome(accepted=1))
    assert "tcp.limit[TIME_WAIT]" in rejections.summary
    rejections.record(whole, Outcome(accepted=1, rejected=1))
    assert not rejections.wants_probe
    rejections.record(whole, Outcome(accepted=2))
    assert rejections.summary == ""


def outcome(is_rejected: bool) -> Outcome:  # noqa: FBT001
    """Return what became of one value."""
    return Outcome(rejected=1) if is_rejected else Outcome(accepted=1)


def test_a_restart_goes_on_waiting(host: Host) -> None:
    """What was queued while the host was unknown is delivered by the next daemon."""
    host.live(600)
    host.delivery = host.started()
    host.live(60)
    host.zabbix.lacks = lambda _: False
    host.live(180)
    assert host.zabbix.clocks(KEY) == host.taken
    assert host.spool.failing_s("main") is None


def test_who_changes_its_mind_again_and_again_does_not_fill_the_log(
    host: Host, logged: Callable[[], list[str]]
) -> None:
    """That samples stay queued is said every ten minutes at most."""
    for _ in range(60):
        host.zabbix.lacks = lambda _: True
        host.live(30)
        host.zabbix.lacks = lambda _: False
        host.live(30)
    assert 2 <= sum("stay queued" in line for line in logged()) <= 7
