"""What the log says of refusals: once when something changes, with the names of the keys and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sender.delivery.rejections import Rejections
from sender.model import Item, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def chunk(*clocks: int, values: int = 10) -> list[Item]:
    """One sample for each clock."""
    return [Item(host="web-01", key=f"k{n}", value="1", clock=clock, ns=1) for clock in clocks for n in range(values)]


class Clock:
    """Stands still until it is told otherwise."""

    now = 1000.0

    def __call__(self) -> float:
        """As time.monotonic."""
        return self.now


def probe(subject: Rejections, refused: set[str], *, values: int = 10) -> Outcome:
    """Probe one sample at a destination that refuses these keys."""

    def send(items: Sequence[Item]) -> Outcome:
        (item,) = items
        return Outcome(rejected=1) if item.key in refused else Outcome(accepted=1)

    return subject.probe(chunk(2, values=values), send, lambda _: None)


def test_that_all_is_well_is_said_once(logged: Callable[[], list[str]]) -> None:
    """The first answer is worth a line, the next ones are not."""
    subject = Rejections("main")
    for clock in range(3):
        subject.record(chunk(clock), Outcome(accepted=10))
    assert logged() == ["main: Zabbix accepts all values of host 'web-01'"]
    assert not subject.wants_probe


def test_all_refused_is_advice_about_the_host(logged: Callable[[], list[str]]) -> None:
    """Where every value is refused the cause is the host, its template or the destination: no key is asked for."""
    subject = Rejections("main")
    for clock in range(3):
        subject.record(chunk(clock), Outcome(rejected=10))
    subject.count(20)  # those that did not stay queued
    (message,) = logged()
    assert message.startswith("main: Zabbix rejects all 10 values of host 'web-01'. Zabbix does not give a reason; ")
    for cause in ("exactly this name", "'TCP states by Zabbix trapper'", "Enable the host", "proxy", "tab Encryption"):
        assert cause in message
    assert not subject.wants_probe
    subject.record(chunk(4), Outcome(accepted=10))
    assert logged() == ["main: Zabbix accepts all values of host 'web-01' again (20 values were rejected)"]


def test_another_host_is_another_story(logged: Callable[[], list[str]]) -> None:
    """When the host's name was changed and its values are refused too, that is said, and its keys are looked for."""
    subject = Rejections("main", Clock())
    renamed = [replace(item, host="web-02") for item in chunk(3)]
    subject.record(chunk(1), Outcome(rejected=10))
    subject.record(renamed, Outcome(rejected=10))
    first, second = logged()
    assert first.startswith("main: Zabbix rejects all 10 values of host 'web-01'. ")
    assert second.startswith("main: Zabbix rejects all 10 values of host 'web-02'. ")
    subject.record(chunk(4), Outcome(accepted=9, rejected=1))
    probe(subject, {"k1"})
    subject.record(renamed, Outcome(accepted=9, rejected=1))
    assert subject.wants_probe


def test_some_refused_are_named(logged: Callable[[], list[str]]) -> None:
    """After a refusal of some, one sample is sent value by value, and the log names the keys and what to look at."""
    subject = Rejections("main", Clock())
    subject.record(chunk(1), Outcome(accepted=8, rejected=2))
    assert subject.wants_probe
    assert probe(subject, {"k3", "k7"}) == Outcome(accepted=8, rejected=2)
    assert not subject.wants_probe
    for clock in range(3, 6):
        subject.record(chunk(clock, clock + 10), Outcome(accepted=16, rejected=4))
    first, second = logged()
    assert first == (
        "main: Zabbix rejected 2 of 10 values of host 'web-01'. The next sample is sent key by key to find out which"
    )
    assert second.startswith(
        "main: Zabbix rejects these keys of host 'web-01': k3, k7. Zabbix does not give a reason. Check these items"
    )
    subject.record(chunk(7), Outcome(accepted=10))
    assert logged() == ["main: Zabbix accepts all values of host 'web-01' again (16 values were rejected)"]


def test_other_keys_are_asked_for_again_but_not_often(logged: Callable[[], list[str]]) -> None:
    """When another number of keys is refused than was named, they are looked for again, at most every ten minutes."""
    clock = Clock()
    subject = Rejections("main", clock)
    subject.record(chunk(1), Outcome(accepted=9, rejected=1))
    probe(subject, {"k1"})
    subject.record(chunk(3), Outcome(accepted=7, rejected=3))
    assert not subject.wants_probe
    clock.now += 600
    subject.record(chunk(4), Outcome(accepted=9, rejected=1))
    assert not subject.wants_probe
    subject.record(chunk(5), Outcome(accepted=7, rejected=3))
    assert subject.wants_probe
    probe(subject, {"k1", "k2", "k3"})
    assert [message for message in logged() if "these keys" in message][1].startswith(
        "main: Zabbix rejects these keys of host 'web-01': k1, k2, k3. "
    )


def test_refusals_that_come_and_go_do_not_fill_the_log(logged: Callable[[], list[str]]) -> None:
    """Six changes are logged, then none for ten minutes; the summary is always the last one's."""
    clock = Clock()
    subject = Rejections("main", clock)
    for number in range(50):
        subject.record(chunk(number), Outcome(rejected=10) if number % 2 else Outcome(accepted=10))
    assert len(logged()) == 6
    assert subject.summary.startswith("Zabbix rejects all values of host 'web-01'")
    clock.now += 600
    subject.record(chunk(51), Outcome(accepted=10))
    (message,) = logged()
    assert message == "main: Zabbix accepts all values of host 'web-01' again"
    assert subject.summary == ""


def test_a_probe_that_finds_nothing(logged: Callable[[], list[str]]) -> None:
    """If meanwhile all is accepted, or nothing, that is what is said."""
    for refused, words in (
        (set(), "accepts all values of host 'web-01' again"),
        ({"k0", "k1"}, "rejects all 2 values"),
    ):
        subject = Rejections("main")
        subject.record(chunk(1, values=2), Outcome(accepted=1, rejected=1))
        probe(subject, refused, values=2)
        assert words in logged()[-1]


def test_a_line_stays_readable(logged: Callable[[], list[str]]) -> None:
    """With hundreds of refused keys, twenty are named and the others counted."""
    subject = Rejections("main")
    subject.record(chunk(1, values=300), Outcome(accepted=1, rejected=299))
    probe(subject, {f"k{n}" for n in range(1, 300)}, values=300)
    assert "k19, k20 and 279 more. " in logged()[-1]
