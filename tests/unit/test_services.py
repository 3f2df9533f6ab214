"""Names of services come from a table that may be slow, or hang: no sample waits for it."""

from __future__ import annotations

import json
import threading
import time

from sender.items import LOCAL
from sender.model import Item, Snapshot, TcpState, Vitals
from sender.sampling.reporting import Reporting
from sender.sampling.sampler import Sampler
from sender.sampling.services import ServiceNames
from sender.settings import section
from sender.settings.schema import Settings

LOOKS_LIKE_NEVER_S = 20.0


class Table:
    """Answers when it is told to, as a directory server that is away; `asked` are the ports that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.is_back = threading.Event()

    def __call__(self, port: int) -> str:
        """As service_of."""
        self.asked.append(port)
        assert self.is_back.wait(20)
        return f"service-{port}"


def settled() -> None:
    """Wait until nothing is looked up any more."""
    for thread in threading.enumerate():
        if thread.name == "names of services":
            thread.join(20)
            assert not thread.is_alive()


def test_the_first_discovery_has_the_names() -> None:
    """A table that answers at once is waited for: whoever takes one sample alone gets names."""
    names = ServiceNames(lambda port: f"service-{port}", patience_s=LOOKS_LIKE_NEVER_S)
    assert [names(port) for port in range(500)] == [f"service-{port}" for port in range(500)]


def test_each_name_is_looked_up_once() -> None:
    """Discovery names every port in every sample."""
    table = Table()
    table.is_back.set()
    names = ServiceNames(table, patience_s=LOOKS_LIKE_NEVER_S)
    assert [names(443) for _ in range(10)] == ["service-443"] * 10
    assert table.asked == [443]


def test_a_table_that_hangs_delays_no_sample() -> None:
    """All ports of all samples together wait for the patience at most; the names come with the first sample that has them."""
    table, published = Table(), list[tuple[Item, ...]]()
    settings = section.read(Settings, {"host": "h", "ports": {"listening": False, "local": list(range(1, 51))}})
    snapshot = Snapshot(clock=1, ns=1, duration_s=0, states=dict.fromkeys(TcpState, 0))
    sampler = Sampler(
        settings,
        sample=lambda _: snapshot,
        vitals=lambda _: Vitals(),
        publish=lambda items: published.append(tuple(items)),
        reporting=Reporting(settings, service=ServiceNames(table, patience_s=0.05)),
    )
    began = time.monotonic()
    for _ in range(10):
        sampler.once()
    assert time.monotonic() - began < 1
    table.is_back.set()
    settled()
    sampler.once()
    found = [
        {port["{#SERVICE}"] for port in json.loads(item.value)}
        for items in published
        for item in items
        if item.key == LOCAL
    ]
    assert found == [{""}, {f"service-{port}" for port in range(1, 51)}]
