"""Values of ports that Zabbix has no items for yet: held, offered, and delivered whole, in order, once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.delivery.new_ports import NewPorts
from sender.errors import DeliveryError
from sender.items import port_of
from sender.model import Item, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PORT_KEYS = ("tcp.status[ESTABLISHED,{}]", "tcp.listen.queue[{}]")


class Clock:
    """Stands still until it is told otherwise."""

    now = 1000.0

    def __call__(self) -> float:
        """As time.monotonic."""
        return self.now


class Zabbix:
    """Has items of the host, and of those ports that it is given. `breaks_at` numbers the requests that fail."""

    def __init__(self, breaks_at: frozenset[int] = frozenset()) -> None:
        self.ports: set[str] = set()
        self.taken: list[Item] = []
        self.requests = 0
        self._breaks_at = breaks_at

    def send(self, items: Sequence[Item]) -> Outcome:
        """As Uplink.send."""
        self.requests += 1
        if self.requests in self._breaks_at:
            raise DeliveryError("the connection broke")
        taken = [item for item in items if any(item.key.endswith((f",{p}]", f"[{p}]")) for p in self.ports)]
        self.taken += taken
        return Outcome(accepted=len(taken), rejected=len(items) - len(taken))


def sample(clock: int, *ports: str) -> list[Item]:
    """One value of the host, two of each port."""
    keys = ["tcp.status[TOTAL]", *(key.format(port) for port in ports for key in PORT_KEYS)]
    return [Item(host="web-01", key=key, value=str(clock), clock=clock, ns=1, port=port_of(key)) for key in keys]


def test_what_is_known_passes() -> None:
    """The host's own values, and those of ports that the destination has, are sent at once; others are held."""
    subject = NewPorts("main", ["443"])
    items = sample(1, "443", "80")
    assert [item.key for item in subject.ready(items)] == [items[0].key, items[1].key, items[2].key]
    subject.hold(items)
    assert subject.ports == ["80"]


def test_a_remote_port_is_not_the_local_one() -> None:
    """The items of one say nothing of those of the other."""
    subject = NewPorts("main", ["443"])
    remote = Item(host="h", key="tcp.remote.status[ESTABLISHED,443]", value="1", clock=1, ns=1, port="remote 443")
    assert subject.ready([remote]) == []
    subject.hold([remote])
    assert subject.ports == ["remote 443"]


def test_what_is_refused_counts_for_nothing_and_is_offered_later() -> None:
    """Soon, and then after half of the time that it has waited, at the latest every ten minutes."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    subject.hold(sample(1, "80"))
    waits = []
    for _ in range(30):
        subject.offer(zabbix.send)
        assert subject.due_s is not None
        waits.append(subject.due_s)
        clock.now += subject.due_s
    assert waits[:4] == [5.0, 5.0, 5.0, 7.5]
    assert waits == sorted(waits)
    assert waits[-1] == 600.0
    assert subject.rejected == 0


def test_what_is_expected_is_tried_soon() -> None:
    """After discovery, or when a host becomes known, a port that has waited for long does not wait ten minutes more."""
    clock = Clock()
    subject = NewPorts("main", monotonic=clock)
    subject.hold(sample(1, "80"))
    clock.now += 10_000
    subject.offer(Zabbix().send)
    assert subject.due_s == 600.0
    subject.retry_now()
    assert subject.due_s == 0.0
    subject.offer(Zabbix().send)
    assert subject.due_s == 5.0


def test_nothing_is_sent_before_it_is_due() -> None:
    """Between two offers, none is made."""
    zabbix = Zabbix()
    subject = NewPorts("main", monotonic=Clock())
    subject.hold(sample(1, "80"))
    subject.offer(zabbix.send)
    subject.offer(zabbix.send)
    assert zabbix.requests == 1


def test_without_newcomers_nothing_is_due() -> None:
    """So nobody wakes up for it."""
    assert NewPorts("main").due_s is None


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_port_that_leaves_has_to_be_welcomed_again(*, is_restarted: bool) -> None:
    """An hour later, over a restart too: Zabbix may have deleted its items meanwhile."""
    clock = Clock()
    subject = NewPorts("main", ["443", "80"], clock)
    subject.hold(sample(1, "443", "80"))
    if is_restarted:
        subject = NewPorts("main", subject.created, clock)
    for created in ({"443", "80"}, {"443"}):
        clock.now += 1800
        subject.hold(sample(2, "443"))
        assert subject.created == created
    assert len(subject.ready(sample(3, "443", "80"))) == 3


def test_a_port_that_is_missing_for_a_moment_is_not_new() -> None:
    """As a namespace whose turn it was not: Zabbix keeps its items, and one request has the values of all."""
    subject = NewPorts("main", ["443", "80"], Clock())
    for number in range(10):
        items = sample(number, "443" if number % 2 else "80")
        assert subject.ready(items) == items
        subject.hold(items)
    assert subject.ports == []


def test_a_port_that_leaves_within_a_request_is_not_sent_twice() -> None:
    """In a backlog of several samples, those values of it that were sent are done with."""
    subject = NewPorts("main", ["443"], clock := Clock())
    clock.now += 7200
    items = [*sample(1, "443"), *sample(2)]
    assert subject.ready(items) == items
    subject.hold(items)
    assert (subject.ports, subject.created) == ([], {"443"})


def test_a_port_in_doubt_is_held() -> None:
    """After a refusal of all its values, the next ones wait."""
    subject = NewPorts("main", ["443"])
    subject.mark_unknown(["443"])
    assert len(subject.ready(sample(1, "443"))) == 1


def test_memory_is_bounded() -> None:
    """Of each port, the newest 480 samples are held: of graphs that begin, the very beginning is lost, and no more."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    for number in range(1000):
        subject.hold(sample(number, "80"))
    zabbix.ports.add("80")
    subject.offer(zabbix.send)
    assert [item.clock for item in zabbix.taken] == [number for number in range(520, 1000) for _ in PORT_KEYS]


def test_a_port_that_is_never_taken_is_said_once(logged: Callable[[], list[str]]) -> None:
    """After five minutes, with what to look at; and when its items come after all, that is said too."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    subject.hold(sample(1, "22", "80"))
    for _ in range(40):
        subject.offer(zabbix.send)
        clock.now += 30
    (message,) = logged()
    assert message.startswith(
        "main: Zabbix has not created the items of port 22, 80, 5 minutes after their discovery. The newest 480 samples"
    )
    assert "{$TCP.PORT.NOT_MATCHES}" in message
    zabbix.ports.add("80")
    clock.now += 600
    subject.offer(zabbix.send)
    assert logged() == ["main: Zabbix has created the items of port 80; delivering its held values"]


def test_one_value_of_a_port_that_is_refused_is_counted() -> None:
    """A port of which Zabbix has some items is known; what it refuses of it is refused for good, as of any other."""
    subject = NewPorts("main")
    subject.hold(sample(1, "80"))
    subject.hold(sample(2, "80"))
    subject.offer(lambda items: Outcome(accepted=len(items) // 2, rejected=len(items) // 2))
    assert subject.rejected == 2
    assert (subject.created, subject.ports) == ({"80"}, [])


@pytest.mark.parametrize("port", ["80", "443"])
def test_a_port_that_is_not_reported_any_more_is_given_up(port: str, logged: Callable[[], list[str]]) -> None:
    """An hour after it left the samples, with a line: nobody goes on to offer what Zabbix will never have items for."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    subject.hold(sample(1, "80", "443"))
    subject.hold(sample(2, *{"80", "443"} - {port}))
    for _ in range(6):
        subject.offer(zabbix.send)
        clock.now += 600
    assert set(subject.ports) == {"80", "443"}
    assert len(logged()) == 1  # who is missing
    subject.offer(zabbix.send)
    assert set(subject.ports) == {"80", "443"} - {port}
    assert logged()[-1] == (
        f"main: dropped the values held for port {port}: Zabbix never created its items, and it is not reported any more"
    )


def test_memory_is_bounded_over_weeks() -> None:
    """Of ports that come and go and are never taken, none outlives an hour more."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    for hour in range(24 * 14):
        subject.hold(sample(hour, str(32768 + hour)))
        clock.now += 3600
        subject.offer(zabbix.send)
    assert len(subject.ports) <= 2


def test_a_port_that_is_reported_is_not_given_up() -> None:
    """Not even where samples come every hour, or where none could be taken for a day."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    subject.hold(sample(1, "80"))
    clock.now += 86_400
    subject.offer(zabbix.send)
    zabbix.ports.add("80")
    clock.now += 600
    subject.offer(zabbix.send)
    assert {item.clock for item in zabbix.taken} == {1}


def test_another_host_begins_anew(logged: Callable[[], list[str]]) -> None:
    """Where `host` is put right, what was held under the wrong name is given up, and stands in nobody's way."""
    zabbix = Zabbix()
    subject = NewPorts("main", ["443"], Clock())
    wrong, right = sample(1, "80", "443"), [replace(item, host="web-02") for item in sample(2, "80", "443")]
    assert len(subject.ready(wrong)) == 3
    subject.hold(wrong)
    subject.offer(zabbix.send)
    assert [item.key for item in subject.ready(right)] == ["tcp.status[TOTAL]"]
    subject.hold(right)
    assert logged() == ["main: host name changed: dropped the values held for new port 80 of host 'web-01'"]
    zabbix.ports |= {"80", "443"}
    subject.offer(zabbix.send)
    assert {(item.host, item.clock) for item in zabbix.taken} == {("web-02", 2)}
    assert (subject.ports, subject.created) == ([], {"80", "443"})


def test_a_line_stays_readable(logged: Callable[[], list[str]]) -> None:
    """A thousand missing ports are not a thousand names."""
    clock, zabbix = Clock(), Zabbix()
    subject = NewPorts("main", monotonic=clock)
    subject.hold(sample(1, *map(str, range(1, 1001))))
    clock.now += 300
    subject.offer(zabbix.send)
    (message,) = logged()
    assert message.startswith("main: Zabbix has not created the items of port 1, 2, 3, 4, ")
    assert " 19, 20 and 980 more, 5 minutes after" in message


def test_what_is_refused_before_a_break_is_counted() -> None:
    """A request that breaks does not take back what was settled before it."""
    answers = iter([Outcome(accepted=1, rejected=1)])

    def send(_: Sequence[Item]) -> Outcome:
        for answer in answers:
            return answer
        raise DeliveryError("the connection broke")

    subject = NewPorts("main", monotonic=Clock())
    subject.hold(sample(1, "80"))
    subject.hold(sample(2, "80"))
    with pytest.raises(DeliveryError):
        subject.offer(send)
    assert subject.rejected == 1


@given(
    samples=st.integers(1, 12),
    ports=st.lists(st.sampled_from(["22", "80", "443"]), unique=True, min_size=1),
    opens_at=st.dictionaries(st.sampled_from(["22", "80", "443"]), st.integers(0, 15)),
    breaks_at=st.frozensets(st.integers(1, 40), max_size=8),
    begins=st.dictionaries(st.sampled_from(["22", "80", "443"]), st.integers(0, 8)),
)
def test_whenever_items_come_every_value_arrives_once_in_order(
    samples: int,
    ports: list[str],
    opens_at: dict[str, int],
    breaks_at: frozenset[int],
    begins: dict[str, int],
) -> None:
    """However the making of items, new ports and broken connections fall together: nothing lost, double or out of order."""
    clock, zabbix = Clock(), Zabbix(breaks_at)
    subject = NewPorts("main", monotonic=clock)
    expected = defaultdict(list)
    for number in range(samples + 20):
        zabbix.ports |= {port for port, moment in opens_at.items() if moment <= number}
        if number < samples:
            items = sample(number, *(port for port in ports if begins.get(port, 0) <= number))
        else:
            items = sample(number)
        if number < samples:
            ready = subject.ready(items)
            zabbix.taken += [item for item in ready if item.key != "tcp.status[TOTAL]"]  # its request did not break
            subject.hold(items)
            for item in items[1:]:
                expected[item.key].append(item.clock)
        clock.now += 600
        try:
            subject.offer(zabbix.send)
        except DeliveryError:
            continue
    for _ in range(50):
        clock.now += 600
        try:
            subject.offer(zabbix.send)
        except DeliveryError:
            continue
    arrived = defaultdict(list)
    for item in zabbix.taken:
        arrived[item.key].append(item.clock)
    opened = {
        key: clocks for key, clocks in expected.items() if key.rpartition(",")[2].strip("]").split("[")[-1] in opens_at
    }
    assert arrived == opened
    assert set(subject.ports) == {port for port in ports if port not in opens_at and begins.get(port, 0) < samples}


@pytest.mark.parametrize("breaks_at", [1, 2, 3])
def test_a_break_loses_nothing_and_doubles_nothing(breaks_at: int) -> None:
    """Whichever request fails, what it carried is sent again, and nothing else."""
    clock, zabbix = Clock(), Zabbix(frozenset({breaks_at}))
    zabbix.ports.add("80")
    subject = NewPorts("main", monotonic=clock)
    for number in range(450):
        subject.hold(sample(number, "80"))
    with pytest.raises(DeliveryError):
        subject.offer(zabbix.send)
    assert len(subject.ready(sample(450, "80"))) == 1  # not ahead of what is held
    subject.hold(sample(450, "80"))
    subject.offer(zabbix.send)
    assert [item.clock for item in zabbix.taken] == [number for number in range(451) for _ in PORT_KEYS]
