"""Delivery policy: order, backing off, and a log that speaks when something changes and is silent otherwise."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from sender.delivery import Delivery
from sender.errors import DeliveryError
from sender.model import Item, Outcome
from sender.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Destination:
    """Takes what it is sent, in the mood that the test puts it into."""

    def __init__(self) -> None:
        self.mood: Callable[[int], Outcome] = lambda count: Outcome(accepted=count)
        self.calls = 0
        self.taken: list[int] = []
        self.called = threading.Condition()

    def send(self, items: Sequence[Item]) -> Outcome:
        """As Uplink.send."""
        with self.called:
            self.calls += 1
            self.called.notify_all()
        outcome = self.mood(len(items))
        self.taken += [item.clock for item in items]
        return outcome

    def wait_for_calls(self, count: int) -> None:
        """Until `send` was called that often."""
        with self.called:
            assert self.called.wait_for(lambda: self.calls >= count, timeout=20)


def down(_count: int) -> Outcome:
    """The mood of a destination that is away."""
    raise DeliveryError("zbx:10051: connection refused")


def hung(_count: int) -> Outcome:
    """The mood of a destination that says nothing."""
    raise DeliveryError("zbx:10051: no answer")


def fill(spool: Spool, *clocks: int) -> None:
    """One sample of ten values for each clock."""
    for clock in clocks:
        spool.append([Item(host="web-01", key=f"k{n}", value="1", clock=clock, ns=1) for n in range(10)])


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the messages logged since it was called last, from INFO up."""
    caplog.set_level(logging.INFO)

    def logged() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return logged


def test_everything_that_waits_is_delivered_in_order() -> None:
    """A drain sends all that waits, oldest first, in requests of at most a thousand values."""
    spool, destination = Spool(["main"]), Destination()
    fill(spool, *range(250))
    assert Delivery("main", destination.send, spool).drain()
    assert destination.taken == [clock for clock in range(250) for _ in range(10)]
    assert destination.calls == 3
    assert spool.backlog == 0


def test_a_failure_ends_the_drain_and_loses_nothing() -> None:
    """Where the destination does not answer, the drain ends at once and everything is still there."""
    spool, destination = Spool(["main"]), Destination()
    destination.mood = down
    fill(spool, *range(250))
    assert not Delivery("main", destination.send, spool).drain()
    assert destination.calls == 1
    assert spool.waiting("main") == 2500


def test_what_changes_is_logged_once(logged: Callable[[], list[str]]) -> None:
    """Working, failing, another cause and working again: one line each, with numbers; nothing in between."""
    clock = iter([100.0, 195.0])
    spool, destination = Spool(["main"]), Destination()
    delivery = Delivery("main", destination.send, spool, monotonic=lambda: next(clock))
    for number in range(3):
        fill(spool, number)
        delivery.drain()
    assert logged() == ["main accepts every value of host 'web-01'"]
    destination.mood = down
    for number in range(3):
        fill(spool, number)
        delivery.drain()
    assert logged() == ["delivery to main failed, 10 values undelivered: zbx:10051: connection refused"]
    destination.mood = hung
    delivery.drain()
    delivery.drain()
    assert logged() == ["delivery to main failed, 30 values undelivered: zbx:10051: no answer"]
    destination.mood = lambda count: Outcome(accepted=count)
    delivery.drain()
    assert logged() == ["delivery to main works again after 95 s; 30 values to deliver"]


def test_refusals_are_logged_with_advice(logged: Callable[[], list[str]]) -> None:
    """Values that Zabbix refuses are named once, with host and likely causes, are not sent again, and are counted."""
    spool, destination = Spool(["main"]), Destination()
    delivery = Delivery("main", destination.send, spool)
    destination.mood = lambda count: Outcome(accepted=count - 4, rejected=4)
    for number in range(3):
        fill(spool, number)
        assert delivery.drain()
    (message,) = logged()
    assert message.startswith("main refused 4 of 10 values of host 'web-01'; they are lost. Zabbix does not say why; ")
    for cause in ("host of exactly this name", "'TCP states by Zabbix trapper'", "enabled", "proxy", "'No encryption'"):
        assert cause in message
    assert destination.taken == [clock for clock in range(3) for _ in range(10)]
    assert spool.rejected == 12
    destination.mood = lambda count: Outcome(accepted=count)
    fill(spool, 3)
    delivery.drain()
    assert logged() == ["main accepts every value of host 'web-01' again; 12 were refused"]
    destination.mood = lambda count: Outcome(accepted=count - 1, rejected=1)
    fill(spool, 4)
    delivery.drain()
    destination.mood = lambda count: Outcome(rejected=count)
    fill(spool, 5)
    delivery.drain()
    some, every = logged()
    assert some.startswith("main refused 1 of 10 values of host 'web-01'; they are lost. ")
    assert every.startswith("main refused all 10 values of host 'web-01'; they are lost. ")


def test_it_waits_between_attempts_longer_each_time() -> None:
    """Pauses double up to a minute, with jitter; `stop` ends them."""
    spool, destination = Spool(["main"]), Destination()
    destination.mood = down
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0)
            if len(pauses) == 9:
                self.set()
            return self.is_set()

    fill(spool, 1)
    Delivery("main", destination.send, spool, jitter=lambda: 1.0).run(Stop())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pauses.clear()
    Delivery("main", destination.send, spool, jitter=lambda: 0.0).run(Stop())
    assert pauses[:3] == [0.5, 1, 2]


def test_progress_is_a_reason_to_try_again_soon() -> None:
    """A destination that takes one request and fails at the next is not left alone for ever longer."""
    spool, destination = Spool(["main"]), Destination()
    moods = iter([down, down, down, *[lambda count: Outcome(accepted=count), down] * 3])

    def mood(count: int) -> Outcome:
        return next(moods)(count)

    destination.mood = mood
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0)
            if len(pauses) == 6:
                self.set()
            return self.is_set()

    fill(spool, *range(1000))
    Delivery("main", destination.send, spool, jitter=lambda: 1.0).run(Stop())
    assert pauses == [1, 2, 4, 1, 1, 1]


def test_it_delivers_when_woken_and_once_more_when_stopped() -> None:
    """Between samples it sleeps; a wake makes it deliver; a stop makes it deliver what came last."""
    spool, destination, stop = Spool(["main"]), Destination(), threading.Event()
    delivery = Delivery("main", destination.send, spool)
    thread = threading.Thread(target=delivery.run, args=(stop,))
    thread.start()
    fill(spool, 1)
    delivery.wake()
    destination.wait_for_calls(1)
    fill(spool, 2)
    stop.set()
    delivery.wake()
    thread.join(20)
    assert not thread.is_alive()
    assert destination.taken == [1] * 10 + [2] * 10


def test_a_stop_does_not_wait_for_a_dead_destination() -> None:
    """When the destination was failing, stopping makes no further attempt."""
    spool, destination, stop = Spool(["main"]), Destination(), threading.Event()
    destination.mood = down
    fill(spool, 1)
    thread = threading.Thread(target=Delivery("main", destination.send, spool).run, args=(stop,))
    thread.start()
    destination.wait_for_calls(1)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert spool.waiting("main") == 10
