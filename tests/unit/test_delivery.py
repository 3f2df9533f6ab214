"""Delivery policy: order, backing off, and a log that speaks when something changes and is silent otherwise."""

from __future__ import annotations

import itertools
import logging
import threading
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from sender.delivery.delivery import Delivery
from sender.delivery.outage import Outage
from sender.errors import DeliveryError, SpoolError
from sender.model import Item, Outcome
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.model import Chunk


class Hasty(threading.Event):
    """An interrupt that nobody waits for; `pauses` are what was asked for. At the last of `limit`, it calls `at_last`."""

    def __init__(self, limit: int = 1_000) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self.at_last: Callable[[], None] = self.set
        self._limit = limit

    def wait(self, timeout: float | None = None) -> bool:
        """As Event.wait, at once."""
        self.pauses.append(timeout or 0)
        if len(self.pauses) == self._limit:
            self.at_last()
        return self.is_set()


def run_until_stopped(delivery: Delivery, interrupt: Hasty) -> list[float]:
    """Run `delivery`, which is stopped in the last pause that `interrupt` allows; return the pauses."""
    interrupt.at_last = delivery.stop
    delivery.run()
    return interrupt.pauses


class Destination:
    """Takes what it is sent, in the mood that the test puts it into."""

    def __init__(self) -> None:
        self.mood: Callable[[int], Outcome] = accepting
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
    """Return the mood of a destination that is away."""
    raise DeliveryError("zbx:10051: connection refused")


def accepting(count: int) -> Outcome:
    """Return the mood of a destination that takes everything."""
    return Outcome(accepted=count)


def in_turn(*moods: Callable[[int], Outcome]) -> Callable[[int], Outcome]:
    """One mood for each request."""
    left = iter(moods)

    def mood(count: int) -> Outcome:
        return next(left)(count)

    return mood


def hung(_count: int) -> Outcome:
    """Return the mood of a destination that says nothing."""
    raise DeliveryError("zbx:10051: no answer")


@pytest.fixture
def spool() -> Iterator[Spool]:
    """Yield an empty spool for main."""
    spool = Spool(":memory:", ["main"], Limits(max_age_s=1e9, max_bytes=2**28), now=lambda: 100.0)
    yield spool
    spool.close()


def fill(spool: Spool, *clocks: int) -> None:
    """One sample of ten values for each clock."""
    for clock in clocks:
        spool.append([Item(host="web-01", key=f"k{n}", value="1", clock=clock, ns=1) for n in range(10)])


def test_everything_that_waits_is_delivered_in_order(spool: Spool) -> None:
    """A drain sends all that waits, oldest first, in requests of at most a thousand values."""
    destination = Destination()
    fill(spool, *range(250))
    assert Delivery("main", destination.send, spool).drain()
    assert destination.taken == [clock for clock in range(250) for _ in range(10)]
    assert destination.calls == 3
    assert spool.backlog == 0


def test_between_an_answer_and_its_place_in_the_spool_nothing_waits(spool: Spool) -> None:
    """A kill just then makes a request come twice: while all is well the spool, which may be writing, is asked nothing."""
    asked, queued = list[str](), spool.queued

    def asking(destination: str) -> int:
        asked.append(destination)
        return queued(destination)

    spool.queued = asking  # type: ignore[method-assign]
    fill(spool, *range(250))
    assert Delivery("main", Destination().send, spool).drain()
    assert (asked, queued("main")) == ([], 0)


def test_a_failure_ends_the_drain_and_loses_nothing(spool: Spool) -> None:
    """Where the destination does not answer, the drain ends at once and everything is still there."""
    destination = Destination()
    destination.mood = down
    fill(spool, *range(250))
    assert not Delivery("main", destination.send, spool).drain()
    assert destination.calls == 1
    assert spool.queued("main") == 2500


def test_what_changes_is_logged_once(spool: Spool, logged: Callable[[], list[str]]) -> None:
    """Working, failing, another cause and working again: one line each, with numbers; nothing in between."""
    now = [100.0]
    destination = Destination()
    delivery = Delivery("main", destination.send, spool, monotonic=lambda: now[0])
    for number in range(3):
        fill(spool, number)
        delivery.drain()
    assert logged() == ["main: Zabbix accepts all values of host 'web-01'"]
    destination.mood = down
    for number in range(3):
        fill(spool, number)
        delivery.drain()
    assert logged() == ["main: delivery failed (10 values queued): zbx:10051: connection refused"]
    for mood in (hung, down, hung, down):  # two causes that take turns are not worth a line each time
        destination.mood = mood
        delivery.drain()
    assert logged() == ["main: delivery failed (30 values queued): zbx:10051: no answer"]
    assert delivery.cause == "zbx:10051: connection refused"
    now[0] = 160.0
    delivery.drain()
    delivery.drain()
    assert logged() == ["main: delivery failed for 1 min 0 s (30 values queued): zbx:10051: connection refused"]
    now[0] += 86_460
    delivery.drain()
    delivery.drain()
    assert logged() == ["main: delivery failed for 1 d 0 h (30 values queued): zbx:10051: connection refused"]
    now[0] += 95.0
    destination.mood = accepting
    delivery.drain()
    assert logged() == [
        "main: delivery works again after 1 d 0 h (30 values queued)",
        "main: backlog delivered (30 values)",
    ]
    assert delivery.cause is None
    assert delivery.state == "all values accepted"


def test_refused_values_are_not_sent_again(spool: Spool, logged: Callable[[], list[str]]) -> None:
    """What Zabbix refuses is counted and done with; the next sample goes out value by value, each value once."""
    destination = Destination()
    delivery = Delivery("main", destination.send, spool, interrupt=Hasty())
    destination.mood = lambda count: Outcome(accepted=count - 1, rejected=1) if count > 1 else Outcome(accepted=1)
    for number in range(3):
        fill(spool, number)
        assert delivery.drain()
    assert destination.taken == [clock for clock in range(3) for _ in range(10)]
    assert destination.calls == 1 + 10 + 1
    assert spool.rejected == 2
    assert len(logged()) == 3


@pytest.mark.parametrize(
    ("refused", "state"),
    [
        (0, "all values accepted"),
        (3, "Zabbix rejects values of host 'web-01': the log will say which"),
        (
            10,
            "Zabbix rejects all values of host 'web-01' (see the log); "  # noqa: ISC004
            "10 values queued, one sample is offered again and again",
        ),
    ],
)
def test_its_state_says_what_is_refused(spool: Spool, refused: int, state: str) -> None:
    """Whoever asks how the destination is hears of refusals too, not only of failures."""
    destination = Destination()
    destination.mood = lambda count: Outcome(accepted=count - refused, rejected=refused)
    delivery = Delivery("main", destination.send, spool)
    assert delivery.state == "nothing sent yet"
    fill(spool, 1)
    assert delivery.drain()
    assert delivery.state == state
    destination.mood = down
    fill(spool, 2)
    delivery.unknown_host.retry_now()
    assert not delivery.drain()
    assert delivery.state == f"delivery fails, {delivery.queued} values queued: zbx:10051: connection refused"


def test_a_destination_that_fails_in_a_probe_is_probed_on(spool: Spool, logged: Callable[[], list[str]]) -> None:
    """Where the connection breaks in the middle of the values of a sample, those that were answered for are not sent again."""
    destination = Destination()
    delivery = Delivery("main", destination.send, spool, interrupt=Hasty())
    destination.mood = lambda count: Outcome(accepted=count - 1, rejected=1)
    fill(spool, 1)
    assert delivery.drain()
    destination.mood = in_turn(*[accepting] * 4, down, *[lambda count: Outcome(rejected=count)] * 6)
    fill(spool, 2)
    assert not delivery.drain()
    assert delivery.drain()
    assert destination.taken == [1] * 10 + [2] * 10
    assert spool.rejected == 1 + 6
    assert (
        "main: Zabbix rejects these keys of host 'web-01': k4, k5, k6, k7, k8, k9. Zabbix does not give a reason"
        in logged()[-3]
    )


def test_a_spool_that_cannot_be_read_is_tried_again(logged: Callable[[], list[str]]) -> None:
    """An error of the disk is a failure like any other: said once, and followed by another attempt."""

    class Unreadable:
        def read(self, _name: str, *, max_values: int) -> Chunk | None:
            raise SpoolError(f"spool.db: disk I/O error, reading {max_values}")

        def queued(self, _name: str) -> int:
            return 7

        def failing_s(self, _name: str) -> None:
            return None

        def known(self, _name: str) -> list[str]:
            return []

    delivery = Delivery("main", Destination().send, cast("Spool", Unreadable()))
    assert not delivery.drain()
    assert not delivery.drain()
    assert logged() == ["main: delivery failed (7 values queued): spool.db: disk I/O error, reading 1000"]


def test_it_waits_between_attempts_longer_each_time(spool: Spool) -> None:
    """Pauses double up to a minute, with jitter; `stop` ends them."""
    destination = Destination()
    destination.mood = down
    fill(spool, 1)
    for jitter, pauses in ((1.0, [1, 2, 4, 8, 16, 32, 60, 60, 60]), (0.0, [0.5, 1, 2])):
        interrupt = Hasty(len(pauses))
        delivery = Delivery("main", destination.send, spool, interrupt=interrupt, jitter=partial(float, jitter))
        delivery.use(destination.send)  # which cuts short one pause, not all that follow
        assert run_until_stopped(delivery, interrupt) == pauses


def test_progress_is_a_reason_to_try_again_soon(spool: Spool) -> None:
    """A destination that takes one request and fails at the next is not left alone for ever longer."""
    destination = Destination()
    destination.mood = in_turn(down, down, down, *[accepting, down] * 3, down)
    fill(spool, *range(1000))
    interrupt = Hasty(6)
    delivery = Delivery("main", destination.send, spool, interrupt=interrupt, jitter=lambda: 1.0)
    assert run_until_stopped(delivery, interrupt) == [1, 2, 4, 1, 1, 1]


@pytest.fixture
def started() -> Iterator[Callable[[Delivery], threading.Thread]]:
    """Yield what runs a delivery in a thread of its own, which the end of the test stops."""
    running: list[tuple[Delivery, threading.Thread]] = []

    def started(delivery: Delivery) -> threading.Thread:
        thread = threading.Thread(target=delivery.run)
        running.append((delivery, thread))
        thread.start()
        return thread

    yield started
    for delivery, thread in running:
        delivery.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_it_delivers_when_woken_and_once_more_when_stopped(
    spool: Spool,
    started: Callable[[Delivery], threading.Thread],
) -> None:
    """Between samples it sleeps; a wake makes it deliver; a stop makes it deliver what came last."""
    destination = Destination()
    delivery = Delivery("main", destination.send, spool)
    thread = started(delivery)
    fill(spool, 1)
    delivery.wake()
    destination.wait_for_calls(1)
    fill(spool, 2)
    delivery.stop()
    thread.join(20)
    assert destination.taken == [1] * 10 + [2] * 10


def test_it_sends_some_time_after_the_sample_but_stops_at_once(
    spool: Spool,
    started: Callable[[Delivery], threading.Thread],
) -> None:
    """The offset is waited for before each delivery, and cut short by a stop, which delivers what waits."""
    destination = Destination()
    delivery = Delivery("main", destination.send, spool)
    delivery.offset_s = 3600.0
    thread = started(delivery)
    fill(spool, 1)
    delivery.wake()
    fill(spool, 2)
    delivery.stop()
    thread.join(20)
    assert destination.taken == [1] * 10 + [2] * 10
    interrupt = Hasty(1)
    delivery = Delivery("main", destination.send, spool, interrupt=interrupt)
    delivery.offset_s = 12.5
    delivery.wake()
    assert run_until_stopped(delivery, interrupt) == [12.5]


def test_a_stop_makes_a_last_attempt(spool: Spool, started: Callable[[Delivery], threading.Thread]) -> None:
    """When the destination was failing, a stop does not wait for the next attempt, but makes one: it may be back."""
    destination = Destination()
    destination.mood = down
    fill(spool, 1)
    delivery = Delivery("main", destination.send, spool, jitter=lambda: 3600.0)
    thread = started(delivery)
    destination.wait_for_calls(1)
    destination.mood = accepting
    delivery.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert spool.queued("main") == 0


def test_who_is_re_aimed_does_not_wait_for_the_next_attempt(
    spool: Spool, started: Callable[[Delivery], threading.Thread]
) -> None:
    """Given another address in the pause after a failure, it tries that one at once, and the silent one never again."""
    silent, other = Destination(), Destination()
    silent.mood = hung
    delivery = Delivery("main", silent.send, spool, jitter=lambda: 3600.0)
    fill(spool, 1)
    started(delivery)
    silent.wait_for_calls(1)
    delivery.use(other.send)
    other.wait_for_calls(1)
    delivery.stop()
    assert silent.calls == 1


def test_a_request_on_its_way_is_not_given_up_for_another_address(
    spool: Spool, started: Callable[[Delivery], threading.Thread]
) -> None:
    """Re-aimed in the middle of a request, it waits for the answer; the next request goes to the other address."""
    first, other, free = Destination(), Destination(), threading.Event()

    def late(count: int) -> Outcome:
        assert free.wait(20)
        return Outcome(accepted=count)

    first.mood = late
    fill(spool, *range(250))
    delivery = Delivery("main", first.send, spool)
    started(delivery)
    first.wait_for_calls(1)
    delivery.use(other.send)
    free.set()
    other.wait_for_calls(2)
    assert first.taken == [clock for clock in range(100) for _ in range(10)]
    assert other.taken[0] == 100


def test_who_is_retired_sends_nothing_more(spool: Spool, started: Callable[[Delivery], threading.Thread]) -> None:
    """Neither a last attempt, nor the rest of a sample that goes out key by key; brought back, it goes on with that."""
    destination = Destination()
    delivery = Delivery("main", destination.send, spool, interrupt=Hasty())
    destination.mood = lambda count: Outcome(accepted=count - 1, rejected=1)
    fill(spool, 1)
    assert delivery.drain()

    def retiring(count: int) -> Outcome:
        delivery.retire()
        return Outcome(accepted=count)

    destination.mood = in_turn(accepting, retiring)
    fill(spool, 2)
    delivery.run()
    assert destination.calls == 1 + 2
    assert delivery.cause is None
    destination.mood = accepting
    delivery.use(destination.send)
    started(delivery)
    destination.wait_for_calls(1 + 10)
    delivery.stop()
    assert destination.taken[10:20] == [2] * 10


def test_who_may_not_know_the_host(spool: Spool) -> None:
    """`on_unknown` is called when all of a host is rejected, and when delivery works again; not for some, nor for a port."""
    destination, calls = Destination(), []
    delivery = Delivery("main", destination.send, spool, interrupt=Hasty(), monotonic=lambda: 0.0)
    delivery.on_unknown = lambda: calls.append(len(calls))
    expected = [
        (accepting, 0),
        (lambda count: Outcome(accepted=1, rejected=count - 1), 0),
        (accepting, 0),  # the probe
        (lambda count: Outcome(rejected=count), 2),  # it is offered again at once
        (down, 2),
        (accepting, 3),
        (accepting, 3),
    ]
    for clock, (mood, count) in enumerate(expected):
        destination.mood = mood
        fill(spool, clock)
        delivery.unknown_host.retry_now()
        delivery.drain()
        assert len(calls) == count, clock


def test_an_outage_is_as_long_as_it_is(spool: Spool, logged: Callable[[], list[str]]) -> None:
    """Where the destination failed already before a restart, the time of the outage counts from its beginning."""
    fill(spool, 1)
    chunk = spool.read("main", max_values=100)
    assert chunk is not None
    spool.settle("main", chunk, Outcome(kept=10), "connection refused")
    now = [1000.0]
    delivery = Delivery("main", Destination().send, spool, monotonic=lambda: now[0])
    now[0] += 90.0
    assert delivery.drain()
    assert logged()[0] == "main: delivery works again after 1 min 30 s (10 values queued)"


def test_a_destination_of_many_words_is_not_logged_for_ever(spool: Spool, logged: Callable[[], list[str]]) -> None:
    """Where the cause is another one each time, as what a strange server answers may be, the log stays short."""
    destination, number = Destination(), itertools.count()

    def babbling(_count: int) -> Outcome:
        raise DeliveryError(f"zbx:10051 does not answer like a Zabbix trapper, but {next(number)}")

    destination.mood = babbling
    fill(spool, 1)
    delivery = Delivery("main", destination.send, spool, monotonic=lambda: 100.0)
    for _ in range(100):
        delivery.drain()
    assert len(logged()) == 10


def test_two_causes_that_alternate_take_no_memory() -> None:
    """An outage of hours in which one of them is logged every minute is remembered as one of a minute."""
    now = [0.0]
    outage = Outage("main", None, queued=lambda: 0, monotonic=lambda: now[0])
    logging.disable(logging.CRITICAL)  # what pytest keeps of the log is not meant
    try:
        tracemalloc.start()
        for _ in range(500):
            for cause in ("one", "another"):
                outage.fail(DeliveryError(cause))
                now[0] += 60
        assert tracemalloc.get_traced_memory()[0] < 5_000
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)


def test_a_stop_ends_a_long_drain(spool: Spool) -> None:
    """With a large backlog, a stop lets the request on the wire end, goes on for a moment, and leaves the rest."""
    now = [0.0]
    destination = Destination()
    delivery = Delivery("main", destination.send, spool, monotonic=lambda: now[0])

    def mood(count: int) -> Outcome:
        now[0] += 1.0
        delivery.stop()
        return Outcome(accepted=count)

    destination.mood = mood
    fill(spool, *range(2000))
    delivery.run()
    assert destination.calls == 1 + 3
    assert spool.queued("main") == 20_000 - 4 * 1_000
