"""What delivery makes of a sample that has a value of the sample before."""

from __future__ import annotations

from sender.delivery.new_ports import NewPorts
from sender.delivery.probe import parts
from sender.items import port_of
from sender.model import Item, Outcome
from sender.sampling.rare import RareValues

TOTAL, QUEUE, DROPS, OVERFLOWS = (
    *("tcp.status[TOTAL]", "tcp.listen.queue[443]", "tcp.listen.drops[443]"),
    "tcp.counter[ListenOverflows]",
)


def values(clock: int, drops: int) -> list[Item]:
    """Return a sample of which two values are rare, both `drops`."""
    return [
        Item(host="web-01", key=key, value=value, clock=clock, ns=1, port=port_of(key))
        for key, value in ((TOTAL, "9"), (OVERFLOWS, str(drops)), (QUEUE, "0"), (DROPS, str(drops)))
    ]


def changed() -> tuple[Item, ...]:
    """Return the last of four samples, in which both rare values have changed."""
    rare = RareValues()
    rare.due(values(0, 0), 0)
    rare.due(values(1, 0), 1)
    assert [item.key for item in rare.due(values(2, 0), 2)] == [TOTAL, QUEUE]
    return rare.due(values(3, 5), 3)


def test_the_value_before_a_change_stands_before_it() -> None:
    """Both moments of a rare value are sent, the older one first, and the sample's own moment is its last."""
    sent = changed()
    assert [(item.key, item.clock) for item in sent if item.key in (OVERFLOWS, DROPS)] == [
        *((OVERFLOWS, 2), (OVERFLOWS, 3)),
        *((DROPS, 2), (DROPS, 3)),
    ]
    assert sent[-1].clock == 3


def test_a_part_of_a_probe_is_a_whole_port() -> None:
    """A port lacks its items when all of its values are rejected: one value of the sample before is not all of it."""
    assert [{item.key for item in part} for part in parts(changed())] == [{TOTAL}, {OVERFLOWS}, {QUEUE, DROPS}]


def test_a_held_port_does_not_wait_for_a_value_that_has_no_item() -> None:
    """A new port is offered by a whole sample: one that has all items but that of a rare value gets all the others."""
    new, taken = NewPorts("main"), list[Item]()

    def send(items: list[Item]) -> Outcome:
        accepted = [item for item in items if item.key != DROPS]
        taken.extend(accepted)
        return Outcome(accepted=len(accepted), rejected=len(items) - len(accepted))

    new.ready(changed())
    new.hold(changed())
    new.offer(send)  # type: ignore[arg-type]
    assert [(item.key, item.clock) for item in taken] == [(QUEUE, 3)]
    assert not new.ports
