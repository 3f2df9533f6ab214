"""Which values of a sample are left out, and that a rate made of what is sent is that of every sample."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sender.model import Item
from sender.sampling.rare import AGAIN_S, RareValues
from sender.spool.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STEADY, VERSION, DROPS, OVERFLOWS = (
    "tcp.status[TOTAL]",
    "tcp.sender.version",
    "tcp.listen.drops[443]",
    "tcp.counter[ListenOverflows]",
)
INTERVAL_S = 30
BEGIN = 1_700_000_000


class Host:
    """Takes samples, one after the other, and remembers what is sent of each."""

    def __init__(self, interval_s: int = INTERVAL_S) -> None:
        self.values = RareValues()
        self.interval_s = interval_s
        self.clock = BEGIN
        self.name = "web-01"
        self.sent: list[Item] = []

    def sample(self, **rare: int) -> list[tuple[str, str, int]]:
        """Take a sample of these values; return key, value and age in intervals of each rare value that is sent."""
        keys = {"version": VERSION, "drops": DROPS, "overflows": OVERFLOWS}
        return self.take({keys[name]: value for name, value in rare.items()})

    def take(self, rare: Mapping[str, int]) -> list[tuple[str, str, int]]:
        """Take the sample of one value that is steady, last as discovery may be, and these."""
        items = [
            Item(host=self.name, key=key, value=str(value), clock=self.clock, ns=5)
            for key, value in {**rare, STEADY: 1}.items()
        ]
        due = self.values.due(items, self.clock - BEGIN)
        assert due[-1] == items[-1], "the moment of the whole is that of its last value"
        self.sent += due
        found = [
            (each.key, each.value, (self.clock - each.clock) // self.interval_s) for each in due if each.key != STEADY
        ]
        self.clock += self.interval_s
        return found


def test_the_first_sample_has_everything() -> None:
    """Zabbix knows each value from the start."""
    assert Host().sample(version=1, drops=0, overflows=7) == [(VERSION, "1", 0), (DROPS, "0", 0), (OVERFLOWS, "7", 0)]


def test_what_does_not_change_is_left_out() -> None:
    """A quiet host sends its steady values alone."""
    host = Host()
    host.sample(version=1, drops=0)
    assert host.sample(version=1, drops=0) == [(VERSION, "1", 0), (DROPS, "0", 0)]  # a rate has a value from here on
    assert [host.sample(version=1, drops=0) for _ in range(10)] == [[]] * 10


def test_a_change_comes_with_the_value_before_it_and_its_moment() -> None:
    """So that a rate is that of the last interval, not of the hour: the value before, the new one, and one sample after."""
    host = Host()
    host.sample(drops=0)
    host.sample(drops=0)
    host.sample(drops=0)
    assert host.sample(drops=60) == [(DROPS, "0", 1), (DROPS, "60", 0)]
    assert host.sample(drops=60) == [(DROPS, "60", 0)]
    assert host.sample(drops=60) == []


def test_no_value_is_sent_twice() -> None:
    """The value before a change is left out where it was sent itself: at the start, and while it goes on changing."""
    host = Host()
    host.sample(drops=0)
    assert host.sample(drops=1) == [(DROPS, "1", 0)]
    assert host.sample(drops=2) == [(DROPS, "2", 0)]
    assert host.sample(drops=2) == [(DROPS, "2", 0)]
    assert host.sample(drops=3) == [(DROPS, "3", 0)]


def test_other_keys_stay_out() -> None:
    """A change of one is none of another."""
    host = Host()
    host.sample(version=1, drops=0, overflows=0)
    host.sample(version=1, drops=0, overflows=0)
    assert {key for key, _, _ in host.sample(version=1, drops=1, overflows=0)} == {DROPS}


def test_each_is_sent_once_an_hour() -> None:
    """A value that never changes is there every hour, so that Zabbix's storage and its functions of time have it."""
    host = Host()
    found = [bool(host.sample(version=1)) for _ in range(1 + 3 * 120)]
    assert [place for place, is_sent in enumerate(found) if is_sent] == [0, 1, 121, 122, 242, 243]
    assert AGAIN_S == 120 * INTERVAL_S


def test_an_hour_goes_by_from_the_last_time_it_was_sent() -> None:
    """A value that has changed since is not due before."""
    host = Host()
    found = [bool(host.sample(drops=int(number >= 100))) for number in range(230)]
    assert [place for place, is_sent in enumerate(found) if is_sent] == [0, 1, 100, 101, 221, 222]


def test_a_port_that_goes_is_forgotten() -> None:
    """What comes back is another: it is sent like the first time, and nothing of before comes with it."""
    host = Host()
    for _ in range(3):
        host.sample(drops=7, version=1)
    assert host.sample(version=1) == []
    assert host.sample(drops=0, version=1) == [(DROPS, "0", 0)]
    assert host.sample(drops=0, version=1) == [(DROPS, "0", 0)]
    assert host.sample(drops=0, version=1) == []


def test_a_counter_that_begins_anew_is_a_change() -> None:
    """A service that restarts has a counter of 0, at the moment at which it has it."""
    host = Host()
    for _ in range(3):
        host.sample(drops=7)
    assert host.sample(drops=0) == [(DROPS, "7", 1), (DROPS, "0", 0)]


def test_after_a_reset_everything_is_sent() -> None:
    """A destination that needs all values gets them with the next sample, once; a change just then has the value before it."""
    host = Host()
    for _ in range(3):
        host.sample(version=1, drops=0)
    host.values.reset()
    assert host.sample(version=1, drops=5) == [(VERSION, "1", 0), (DROPS, "0", 1), (DROPS, "5", 0)]
    assert host.sample(version=1, drops=5) == [(DROPS, "5", 0)]
    assert host.sample(version=1, drops=5) == []


def test_a_reset_during_a_sample_counts_for_the_next() -> None:
    """A reload comes at any moment, from another thread."""
    host = Host()
    for _ in range(3):
        host.sample(version=1)

    def items() -> Iterator[Item]:
        yield Item(host=host.name, key=VERSION, value="1", clock=host.clock, ns=5)
        host.values.reset()

    assert host.values.due(items(), host.clock - BEGIN) == ()
    assert host.sample(version=1) == [(VERSION, "1", 0)]


def test_another_host_begins_anew() -> None:
    """A sample has values of one host alone, whatever changes."""
    host = Host()
    host.sample(drops=0)
    host.sample(drops=0)
    host.name = "web-02"
    assert host.sample(drops=9) == [(DROPS, "9", 0)]
    assert host.sample(drops=9) == [(DROPS, "9", 0)]
    assert host.sample(drops=9) == []


SAMPLES = st.lists(
    st.tuples(
        st.booleans(),  # the values are to be sent anew
        st.fixed_dictionaries({}, optional={DROPS: st.integers(0, 3), OVERFLOWS: st.integers(0, 2**64 - 1)}),
    ),
    min_size=1,
    max_size=60,
)


@given(samples=SAMPLES, interval_s=st.sampled_from([1, 30, 600, 3600]))
def test_every_rate_can_be_made_of_what_is_sent(
    samples: Sequence[tuple[bool, Mapping[str, int]]], interval_s: int
) -> None:
    """Between two values sent, one after the other, either nothing changed in any sample or there is no sample.

    So what Zabbix makes of the two, change per second, is the rate in each interval between them; and a value that stands
    until the next one is that of every sample.
    """
    host = Host(interval_s)
    taken: dict[str, dict[int, int]] = {DROPS: {}, OVERFLOWS: {}}
    for is_reset, values in samples:
        for key, value in values.items():
            taken[key][host.clock] = value
        if is_reset:
            host.values.reset()
        host.take(values)
    for key, by_clock in taken.items():
        sent = {item.clock: int(item.value) for item in host.sent if item.key == key}
        assert len(sent) == sum(item.key == key for item in host.sent), "a value is sent twice"
        assert list(sent) == sorted(sent), "values are out of order"
        assert sent.items() <= by_clock.items()
        assert list(sent)[:1] == list(by_clock)[:1]
        for before, after in pairwise(by_clock):
            if after - before > interval_s:
                assert after in sent, "what was gone in between is sent when it is back"
                continue
            at = max(clock for clock in sent if clock <= before)
            following = [clock for clock in sent if clock >= after][:1]
            assert sent[at] == by_clock[before]
            if by_clock[after] != by_clock[before]:
                assert (at, following) == (before, [after])


@given(samples=SAMPLES)
def test_the_spool_keeps_each_moment(samples: Sequence[tuple[bool, Mapping[str, int]]]) -> None:
    """A sample that has values of the one before comes back from the queue as it went in."""
    host = Host()
    for is_reset, values in samples:
        if is_reset:
            host.values.reset()
        first = len(host.sent)
        host.take(values)
        sent = host.sent[first:]
        sample = Sample.of(sent, last=7)
        assert (sample.last, sample.host, sample.clock, sample.ns) == (7, "web-01", host.clock - INTERVAL_S, 5)
        assert [(item.key, item.value, item.clock, item.ns) for item in sample.items()] == [
            (item.key, item.value, item.clock, item.ns) for item in sent
        ]
