"""When what is sent: each host at its own moment, always the same; and what a reload may not lose."""

from __future__ import annotations

from collections import Counter

import pytest

from sender.daemon.deliveries import offset_s
from sender.daemon.pipeline import Pipeline
from sender.delivery.delivery import Delivery
from sender.delivery.registration import Registrations
from sender.items import KEYS, LOCAL, REMOTE, is_rare
from sender.model import Outcome
from sender.settings import section
from sender.settings.schema import Settings


@pytest.mark.parametrize(("interval_s", "spread_s"), [(1, 0.5), (10, 5), (30, 15), (60, 30), (3600, 30)])
def test_a_fleet_does_not_send_in_the_same_second(interval_s: int, spread_s: float) -> None:
    """Offsets are steady, at most half an interval and 30 s, differ by destination, and spread a fleet evenly."""
    fleet = [section.read(Settings, {"host": f"web-{n}.example.com", "interval": interval_s}) for n in range(1000)]
    offsets = [offset_s(settings, "main") for settings in fleet]
    assert offsets == [offset_s(settings, "main") for settings in fleet]
    assert all(0 <= offset < spread_s for offset in offsets)
    assert offsets[0] != offset_s(fleet[0], "other")
    tenths = Counter(int(offset / spread_s * 10) for offset in offsets)
    assert min(tenths.values()) > 60
    assert max(tenths.values()) < 140


def test_a_new_destination_gets_every_rare_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that is taken in the middle of a reload uses up nothing that the new destination needs."""

    def settings(*names: str) -> Settings:
        destinations = [{"name": name, "nodes": ["192.0.2.1"]} for name in names]
        return section.read(Settings, {"host": "web-01", "destinations": destinations, "spool": {"path": ":memory:"}})

    def sampled(*_: object) -> None:
        pipeline.tick()
        chunk = spool.read("a", max_values=10**6)
        assert chunk
        spool.settle("a", chunk, Outcome(accepted=len(chunk.items)))

    monkeypatch.setattr(Delivery, "run", lambda _: None)  # nothing is sent but by `sampled`
    pipeline = Pipeline(settings("a"), load=lambda: settings("a", "b"))
    spool = pipeline._spool  # noqa: SLF001  what waits for each
    pipeline.start()
    for _ in range(3):
        sampled()
    monkeypatch.setattr(Registrations, "apply", sampled)
    pipeline.reload()
    pipeline.tick()
    chunk = spool.read("b", max_values=10**6)
    assert chunk
    sent = {item.key for item in chunk.items}
    assert sent >= {key for key in KEYS if is_rare(key) and not key.startswith("tcp.counter")}
    assert sent >= {LOCAL, REMOTE}
    pipeline.close(1)
