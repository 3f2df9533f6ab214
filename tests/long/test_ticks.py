"""The daemon's ticks by the clock, each a second from the last, and what a defect or a signal does to them."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import time
from contextlib import suppress
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers

from sender.clock import boottime
from sender.daemon import daemon
from sender.errors import ConfigError
from sender.settings import section
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo
    from pathlib import Path

    from sender.sampling.sampler import Sampler


class Service:
    """A service whose ticks do what the test wants."""

    def __init__(self, tick: Callable[[], None] = lambda: None, **settings: Any) -> None:
        self.settings = section.read(Settings, {"interval": 1, **settings})
        self.sampling = cast("Sampler", SimpleNamespace(ended=time.monotonic()))
        self.tick = tick
        self.reload: Callable[[], None] = lambda: None
        self.closed: list[float] = []
        self.looks = 0

    def start(self) -> None:
        """As Service.start."""

    wants_looks = False

    def look(self) -> None:
        """As Service.look; counted."""
        self.looks += 1

    def describe_destinations(self) -> str:
        """As Service.describe_destinations."""
        return "nowhere"

    def status(self) -> str:
        """As Service.status."""
        return "all is well"

    def close(self, within_s: float) -> None:
        """As Service.close."""
        self.closed.append(within_s)


def test_looks_come_while_they_are_wanted() -> None:
    """Not one before a reload that wants them, though ticks come; then one a second, and none after a reload that does not."""
    looks: list[int] = []

    def tick() -> None:
        looks.append(service.looks)
        if len(looks) in (2, 5):
            os.kill(os.getpid(), signal.SIGHUP)
        if len(looks) == 8:
            daemon.stop()

    def reload() -> None:
        service.wants_looks = not service.wants_looks

    service = Service(tick)
    service.reload = reload
    daemon.run(service)
    assert looks[:2] == [0, 0]
    assert looks[4] >= 1
    assert looks[7] == looks[6] <= looks[5] + 1


def test_a_failing_tick_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    """A defect in a tick leaves its traceback in the log and does not end the ticks."""
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 2:
            daemon.stop()
        raise RuntimeError("a defect")

    service = Service(tick)
    daemon.run(service)
    assert len(ticks) == 2
    assert caplog.text.count("RuntimeError: a defect") == 2
    assert "a sample failed unexpectedly; the next one is taken when it is due" in caplog.text
    assert len(service.closed) == 1


@pytest.mark.parametrize("step_s", [-3600, -86400 * 365, 3600, 86400 * 365 * 20])
def test_a_clock_that_is_set_does_not_stop_the_ticks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step_s: int
) -> None:
    """Set by hours or years, back or forth, the next ticks come within two intervals, by the new time, and it is said."""
    real_time, real_now, offset_s = time.time, datetime.now, [0]

    class Datetime(datetime):
        """The wall clock as APScheduler and the daemon read it."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Datetime:
            return cast("Datetime", real_now(tz) + timedelta(seconds=offset_s[0]))

    monkeypatch.setattr(time, "time", lambda: real_time() + offset_s[0])
    for module in (daemon, schedulers, executors):
        monkeypatch.setattr(module, "datetime", Datetime)
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(boottime())
        if len(ticks) == 2:
            offset_s[0] = step_s
        if len(ticks) == 5:
            daemon.stop()

    daemon.run(Service(tick))
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    assert len(ticks) == 5
    assert max(gaps) < 2.5
    assert f"the wall clock was set by {step_s:+d} s; sampling goes on by the new time" in caplog.text


def test_the_watchdog_does_not_count_a_suspend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd's watchdog stands still in a suspend: after a long one it is fed as before, the next tick far away or not."""
    suspended_s = 0.0
    real_time = time.time
    monkeypatch.setattr(daemon, "boottime", lambda: boottime() + suspended_s)
    monkeypatch.setattr(time, "time", lambda: real_time() + suspended_s)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    fed = 0
    service = Service(interval=3600)

    def status() -> str:
        nonlocal fed, suspended_s
        with suppress(BlockingIOError):
            while True:
                fed += b"WATCHDOG=1" in systemd.recv(4096)
        suspended_s = 1e6
        if fed >= 3 or time.monotonic() > until:
            daemon.stop()
        return "all is well"

    service.status = status  # type: ignore[method-assign]
    until = time.monotonic() + 10
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        daemon.run(service)
    assert fed >= 3


def test_a_reload_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """SIGHUP with a bad configuration is reported with all its problems, and the ticks go on as before."""

    def reload() -> None:
        raise ConfigError(["config.yaml: host: is empty", "config.yaml: interval: is loud"])

    def tick() -> None:
        if ticks:
            daemon.stop()
        ticks.append(1)
        os.kill(os.getpid(), signal.SIGHUP)

    ticks: list[int] = []
    service = Service(tick)
    service.reload = reload
    daemon.run(service)
    assert (
        "reload failed, the old configuration stays active: config.yaml: host: is empty\nconfig.yaml: inter"
        in caplog.text
    )


def test_a_stop_does_not_wait_for_many_reloads() -> None:
    """Hangups that come while the configuration is being read are one reload more; SIGTERM goes before it."""
    reloads: list[int] = []

    def reload() -> None:
        reloads.append(1)
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGHUP)
        if len(reloads) == 3:
            daemon.stop()

    service = Service(interval=3600)
    service.reload = reload
    service.start = lambda: os.kill(os.getpid(), signal.SIGHUP)  # type: ignore[method-assign]  # signals are blocked then
    daemon.run(service)
    assert len(reloads) == 3


def test_a_hangup_does_not_end_a_stop() -> None:
    """A reload that is asked for during the last attempt to deliver comes too late, and does no harm."""

    def close(within_s: float) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        service.closed.append(within_s)

    service = Service(interval=3600)
    service.start = daemon.stop  # type: ignore[method-assign]  # signals are blocked then
    service.close = close  # type: ignore[method-assign]
    daemon.run(service)
    assert len(service.closed) == 1


def test_a_reload_with_another_interval(caplog: pytest.LogCaptureFixture) -> None:
    """The ticks follow the interval of the configuration that was read last."""
    caplog.set_level(logging.INFO)
    service = Service(interval=3600)

    def reload() -> None:
        service.settings = section.read(Settings, {"interval": 1, "host": "web-02"})

    service.reload = reload
    service.tick = daemon.stop
    service.start = lambda: os.kill(os.getpid(), signal.SIGHUP)  # type: ignore[method-assign]  # signals are blocked then
    daemon.run(service)
    assert "reloaded: host 'web-02', a sample every 1 s from " in caplog.text
