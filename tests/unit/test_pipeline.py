"""When what is sent: each host at its own moment, always the same."""

from __future__ import annotations

from collections import Counter

import pytest

from sender.daemon.deliveries import offset_s
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
