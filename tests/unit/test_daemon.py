"""When samples are taken, and what a defect in one part does to the rest. The whole daemon is tested in test_cli."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, cast

import pytest

from sender import daemon

if TYPE_CHECKING:
    from sender.delivery import Delivery


@pytest.mark.parametrize("interval_s", [1, 7, 30, 60, 90, 3600])
@pytest.mark.parametrize("now_s", [0.0, 0.001, 29.999, 1_700_000_000.5, 1_795_400_000.0, 4_102_444_799.9])
def test_ticks_fall_on_whole_multiples_of_the_interval(interval_s: int, now_s: float) -> None:
    """Whenever the daemon starts, its ticks are those of every other host: clock is divisible by the interval."""
    (job,) = daemon.scheduler_for(interval_s, lambda: None).get_jobs()
    now = datetime.fromtimestamp(now_s, timezone.utc)
    first = job.trigger.get_next_fire_time(None, now)
    second = job.trigger.get_next_fire_time(first, first)
    assert first.timestamp() % interval_s == 0
    assert timedelta(0) <= first - now < timedelta(seconds=interval_s)
    assert second - first == timedelta(seconds=interval_s)


def test_a_failing_tick_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    """A defect in a tick leaves its traceback in the log and does not end the ticks."""
    ticks: list[int] = []
    twice = threading.Event()

    def tick() -> None:
        ticks.append(1)
        if len(ticks) > 1:
            twice.set()
        raise RuntimeError("a defect")

    scheduler = daemon.scheduler_for(1, tick)
    scheduler.start()
    assert twice.wait(20)
    scheduler.shutdown()
    assert "RuntimeError: a defect" in caplog.text


def test_a_defect_in_a_delivery_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged with its traceback, and the delivery is taken up again after a pause."""

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0)
            return False

    class Defective:
        name = "main"
        runs = 0

        def run(self, stop: threading.Event) -> None:
            self.runs += 1
            if self.runs == 3:
                stop.set()
                return
            raise RuntimeError("a defect")

    pauses: list[float] = []
    defective = Defective()
    caplog.set_level(logging.INFO)
    daemon.keep_going(cast("Delivery", defective), Stop())
    assert (defective.runs, pauses) == (3, [10, 10])
    assert caplog.text.count("RuntimeError: a defect") == 2
    assert "delivery to main met with an unexpected error and goes on in 10 s" in caplog.text
