"""When samples are taken, and what a defect in one part does to the rest. The whole daemon is tested in test_run."""

from __future__ import annotations

import logging
import signal
import struct
import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from sender.daemon import daemon, deliveries

if TYPE_CHECKING:
    from sender.delivery.delivery import Delivery

# The year 2100, or 2038 where a time_t of 32 bits has no later one.
LATE = 4_102_444_800 if struct.calcsize("l") > 4 else 2_147_472_000


@pytest.mark.parametrize("interval_s", [1, 7, 30, 60, 90, 3600])
@pytest.mark.parametrize("now_s", [0.0, 0.001, 29.999, 1_700_000_000.5, 1_795_400_000.0, LATE - 0.1])
def test_ticks_fall_on_whole_multiples_of_the_interval(interval_s: int, now_s: float) -> None:
    """Whenever the daemon starts, its ticks are those of every other host: clock is divisible by the interval."""
    (job,) = daemon.scheduler_for(interval_s, lambda: None).get_jobs()
    now = datetime.fromtimestamp(now_s, timezone.utc)
    first = job.trigger.get_next_fire_time(None, now)
    second = job.trigger.get_next_fire_time(first, first)
    assert first.timestamp() % interval_s == 0
    assert timedelta(0) < first - now <= timedelta(seconds=interval_s)
    assert second - first == timedelta(seconds=interval_s)


def test_how_late_a_tick_may_be_follows_the_interval() -> None:
    """After a reload from a second to an hour, a tick that is two seconds late is not left out for an hour."""
    scheduler = daemon.scheduler_for(1, lambda: None)
    assert scheduler.get_jobs()[0].misfire_grace_time == 1
    daemon.set_interval(scheduler, 3600)
    assert scheduler.get_jobs()[0].misfire_grace_time == 1800


def test_a_clock_that_jumps_by_years_costs_nothing() -> None:
    """However many ticks a jump of the clock leaves out, the next one is the one after now, found in one step."""
    (job,) = daemon.scheduler_for(1, lambda: None).get_jobs()
    then = datetime.fromtimestamp(0, timezone.utc)
    now = datetime.fromtimestamp(LATE + 0.5, timezone.utc)
    assert job.trigger.get_next_fire_time(then, now).timestamp() == LATE + 1


class Idle:
    """What has nothing to do, and is asked to stop as soon as signals come through."""

    settings = SimpleNamespace(host="web-01", interval=3600)
    sampling = SimpleNamespace(ended=0.0)
    wants_looks = False
    closed = False

    def start(self) -> None:
        """Begin nothing."""

    def describe_destinations(self) -> str:
        """Return what the log is to say."""
        return "nowhere"

    def status(self) -> str:
        """Return what systemd is to know; ask to stop, unless signals are blocked."""
        if signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            signal.raise_signal(signal.SIGTERM)
        return "idle"

    def close(self, within_s: float) -> None:
        """Note that it was closed, with some time left."""
        self.closed = within_s > 0


def test_a_second_signal_while_the_first_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two signals may come as close together as they like, from a terminal and a supervisor say: it stops in order."""

    class Interrupted(threading.Timer):
        is_second_sent = False

        def start(self) -> None:
            if not self.is_second_sent:
                self.is_second_sent = True
                signal.raise_signal(signal.SIGINT)
            super().start()

    monkeypatch.setattr(threading, "Timer", Interrupted)
    idle = Idle()
    daemon.run(cast("daemon.Service", idle))
    assert idle.closed


def test_a_stop_where_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of a unit's or a container's tasks it stops in order, too, without the thread that would end it at last."""

    class Denied(threading.Timer):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "Timer", Denied)
    idle = Idle()
    daemon.run(cast("daemon.Service", idle))
    assert idle.closed


def test_a_defect_in_a_delivery_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged with its traceback, and the delivery is taken up again after a pause."""

    class Defective:
        name = "main"
        is_ending = False
        runs = 0

        def run(self) -> None:
            self.runs += 1
            if self.runs < 3:
                raise RuntimeError("a defect")

        def pause(self, seconds: float) -> None:
            pauses.append(seconds)

    pauses: list[float] = []
    defective = Defective()
    caplog.set_level(logging.INFO)
    deliveries.keep_going(cast("Delivery", defective))
    assert (defective.runs, pauses) == (3, [10, 10])
    assert caplog.text.count("RuntimeError: a defect") == 2
    assert "main: unexpected error in the delivery, retrying in 10 s" in caplog.text
