"""Whatever Zabbix takes, refuses or lets break, and whenever: no value is lost unseen, doubled or out of order."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.delivery.delivery import Delivery
from sender.errors import DeliveryError
from sender.items import LOCAL, port_of
from sender.model import Item, Outcome
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = Limits(max_age_s=1e10, max_bytes=2**28)
HOST = ("tcp.status[TOTAL]", LOCAL)
OF_PORT = ("tcp.status[ESTABLISHED,{}]", "tcp.status[TIME_WAIT,{}]", "tcp.listen.queue[{}]")
PORTS = ("22", "80", "443")
KEYS = [*HOST, *(key.format(port) for port in PORTS for key in OF_PORT)]


@dataclass(kw_only=True)
class Zabbix:
    """A trapper without the items in `missing`; the requests numbered in `breaks` break before it has read them."""

    breaks: frozenset[int]
    missing: frozenset[str] = frozenset()
    requests: int = 0
    taken: list[Item] = field(default_factory=list)

    def send(self, items: Sequence[Item]) -> Outcome:
        """As Uplink.send."""
        self.requests += 1
        if self.requests in self.breaks:
            raise DeliveryError("the connection broke")
        taken = [item for item in items if item.key not in self.missing]
        self.taken += taken
        return Outcome(accepted=len(taken), rejected=len(items) - len(taken))


class Unhurried(threading.Event):
    """Never set, and never waited for."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """No time passes."""
        return False


@dataclass(frozen=True, kw_only=True)
class Step:
    """So many samples with these ports come; Zabbix lacks these items; then deliveries are tried, and time passes."""

    samples: int
    ports: tuple[str, ...]
    missing: frozenset[str]
    drains: int
    passes_s: float


missing = (
    st.just(frozenset[str]())
    | st.just(frozenset(KEYS))
    | st.frozensets(st.sampled_from(KEYS), max_size=4)
    | (st.sampled_from(PORTS).map(lambda port: frozenset(key.format(port) for key in OF_PORT)))
)
steps = st.builds(
    Step,
    samples=st.integers(0, 3),
    ports=st.sampled_from([(), ("22",), ("22", "443"), ("80", "443"), PORTS]),
    missing=missing,
    drains=st.integers(0, 3),
    passes_s=st.sampled_from([1.0, 30.0, 90.0]),
)


@pytest.mark.heavy
@given(script=st.lists(steps, max_size=12), breaks=st.frozensets(st.integers(1, 60), max_size=10))
def test_every_value_is_accounted_for(script: list[Step], breaks: frozenset[int]) -> None:
    """Those that came were taken or counted as refused, in the end; each key's in order.

    All of it happens within an hour, after which a port that is not reported any more is given up (test_newcomers.py).
    """
    zabbix, now, clock = Zabbix(breaks=breaks), 1000.0, 0
    spool, came = Spool(":memory:", ["main"], LIMITS), 0
    delivery = Delivery("main", zabbix.send, spool, interrupt=Unhurried(), monotonic=lambda: now)
    for step in [*script, Step(samples=1, ports=PORTS, missing=frozenset(), drains=90, passes_s=700.0)]:
        zabbix.missing = step.missing
        for _ in range(step.samples):
            clock += 1
            keys = [*HOST, *(key.format(port) for port in step.ports for key in OF_PORT)]
            spool.append([Item(host="web-01", key=key, value="1", clock=clock, ns=1) for key in keys])
            came += len(keys)
        for _ in range(step.drains):
            delivery.drain()
            now += step.passes_s
    backlog, rejected = spool.backlog, spool.rejected
    spool.close()
    assert (backlog, delivery.new_ports.ports) == (0, [])
    assert came == len(zabbix.taken) + rejected
    clocks = defaultdict(list)
    for item in zabbix.taken:
        clocks[item.key].append(item.clock)
    for key, found in clocks.items():
        assert found == sorted(set(found)), key
    assert {port_of(key) for key in clocks} == {"", *PORTS}
