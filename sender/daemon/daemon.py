"""The daemon's life: start, run, reload, stop. The only importer of APScheduler and of signals; speaks to systemd."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NoReturn, Protocol

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from sender import __version__
from sender.clock import boottime
from sender.daemon import systemd
from sender.errors import SenderError
from sender.sampling.watch import LOOK_S
from sender.text import moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.sampling.sampler import Sampler
    from sender.settings.schema import Settings

_LOG = logging.getLogger(__name__)
_ENDING = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_ENDING, signal.SIGHUP)
_STOP_S = 4.0  # for what has begun to come to its end
_KILL_S = (
    8  # after which the process ends though it hangs where nothing of ours has a limit: a log that nobody reads, a disk
)
_FIRST = 1  # process of a container, which the kernel spares every signal that has no handler
_POLL_S = 0.5  # between two looks at the clocks
_STEP_S = 1.0  # a smaller step of the wall clock costs less than a sample
_SAMPLE, _LOOK = "sample", "look"


class Service(Protocol):
    """What the daemon keeps alive. `tick` is called from a thread of its own, everything else from the main thread."""

    settings: Settings
    sampling: Sampler

    def start(self) -> None:
        """Begin work; called with every signal blocked, so that threads inherit that."""

    def tick(self) -> None:
        """Take a sample; called at every whole multiple of the interval, never twice at once."""

    @property
    def wants_looks(self) -> bool:
        """Return whether `look` is to be called."""

    def look(self) -> None:
        """Look at what a sample would miss; called every second from another thread, never twice at once."""

    def reload(self) -> None:
        """Read the configuration again. Raises SenderError when it cannot be used."""

    def describe_destinations(self) -> str:
        """Return where samples go."""

    def status(self) -> str:
        """Return how things are, on one line."""

    def close(self, within_s: float) -> None:
        """End work, within `within_s`."""


def run(service: Service) -> None:
    """Keep `service` going until SIGTERM or SIGINT; SIGHUP reloads it."""
    # A thread, and not the kernel's alarm: the first process of a container is spared every signal that has no handler.
    last_resort = threading.Timer(_KILL_S, os._exit, [1])
    last_resort.daemon = True
    try:
        _run(service, last_resort)
    finally:
        last_resort.cancel()


def _run(service: Service, last_resort: threading.Timer) -> None:
    received: SimpleQueue[int] = SimpleQueue()
    first = threading.Lock()  # for the first signal that ends it: a second one may come while that one is handled

    def on_signal(number: int, _: object) -> None:
        if number in _ENDING and first.acquire(blocking=False):
            with suppress(RuntimeError):  # no thread is to be had
                last_resort.start()
        received.put(number)

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the threads inherit it, so that signals reach this one alone
    stopping, sampled, looked = threading.Event(), threading.Lock(), threading.Lock()

    def tick() -> None:
        with sampled:
            if not stopping.is_set():
                _tick(service)

    def look() -> None:
        with looked:
            if not stopping.is_set():
                _look(service)

    scheduler = scheduler_for(service.settings.interval, tick, look)
    _aim_looks(service, scheduler)
    service.start()
    scheduler.start()
    _log_life(service, "started", scheduler)
    systemd.notify("READY=1", f"STATUS={service.status()}")  # in one: whoever waited for the start finds both
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    ending = _watch(service, scheduler, received)

    for number in _ENDING:  # a second one ends it at once, from when the log says that it stops
        signal.signal(number, _end_at_once if os.getpid() == _FIRST else before[number])
    _LOG.info("stopping on %s", ending.name)
    systemd.notify("STOPPING=1", "STATUS=stopping, delivering once more")
    scheduler.shutdown(wait=False)
    deadline = time.monotonic() + _STOP_S
    ended = [lock for lock in (sampled, looked) if lock.acquire(timeout=max(0.0, deadline - time.monotonic()))]
    stopping.set()
    for lock in ended:
        lock.release()  # for what was due just now: it finds that it is too late, and ends
    service.close(max(0, deadline - time.monotonic()))
    if len(ended) < 2:  # noqa: PLR2004  both
        what = "a sample" if sampled not in ended else "a look at the accept queues"
        _LOG.error("stopped during %s that did not end within %.0f s", what, _STOP_S)
        logging.shutdown()
        os._exit(1)  # Python would wait for the thread that is in it
    signal.signal(signal.SIGHUP, before[signal.SIGHUP])


def _end_at_once(number: int, _: object) -> NoReturn:
    os._exit(128 + number)  # as a shell says it


def stop() -> None:
    """End `run`, from any thread, as SIGTERM would."""
    os.kill(os.getpid(), signal.SIGTERM)


def _tick(service: Service) -> None:
    try:
        service.tick()
    except Exception:  # noqa: BLE001  a defect of ours in one sample must not end the next ones
        _LOG.exception("a sample failed unexpectedly; the next one is taken when it is due")


def _aim_looks(service: Service, scheduler: BackgroundScheduler) -> None:
    """Let the next look come within a second, or none where none is wanted: the scheduler would wake for nothing."""
    scheduler.modify_job(_LOOK, next_run_time=_next(LOOK_S) if service.wants_looks else None)


def _look(service: Service) -> None:
    try:
        service.look()
    except Exception:  # noqa: BLE001  a defect of ours in one look must not end the next ones
        _LOG.exception("a look at the accept queues failed unexpectedly; the next one follows in a second")


def _watch(service: Service, scheduler: BackgroundScheduler, received: SimpleQueue[int]) -> signal.Signals:
    """Reload when asked to, correct the scheduler when the clock jumps, report to systemd; return the signal that ends it."""
    # Not sigtimedwait: after a SIGCONT, CPython takes its timeout for a signal, whose number is whatever is in memory.
    ahead_s = time.time() - boottime()
    watchdog = _Watchdog(service)
    while True:
        numbers = _received(received)
        for number in numbers:
            if number in _ENDING:
                return signal.Signals(number)
        if numbers:  # however many came at once, the file is read after the last
            watchdog.trouble = _reload(service, scheduler)
        now_ahead_s = time.time() - boottime()
        if abs(now_ahead_s - ahead_s) >= _STEP_S:
            # APScheduler waits for a moment on the wall clock, which may now be hours away.
            scheduler.modify_job(_SAMPLE, next_run_time=_next(service.settings.interval))
            _aim_looks(service, scheduler)
            _LOG.warning("the wall clock was set by %+.0f s; sampling goes on by the new time", now_ahead_s - ahead_s)
        ahead_s = now_ahead_s
        watchdog.report()


def _received(received: SimpleQueue[int]) -> list[int]:
    """Return the signals that have come; wait a while for the first."""
    numbers: list[int] = []
    with suppress(Empty):
        numbers.append(received.get(timeout=_POLL_S))
        while True:
            numbers.append(received.get_nowait())
    return numbers


def _reload(service: Service, scheduler: BackgroundScheduler) -> str:
    """Reload, whatever the file holds; return what the status line is to say of it from now on."""
    trouble = ""
    systemd.reloading()
    interval_s = service.settings.interval
    try:
        service.reload()
    except SenderError as error:
        _LOG.error("reload failed, the old configuration stays active: %s", error)
        trouble = "the last reload failed, see the log; "
    else:
        if service.settings.interval != interval_s:
            set_interval(scheduler, service.settings.interval)
        _aim_looks(service, scheduler)
        _log_life(service, "reloaded", scheduler)
    systemd.notify("READY=1")
    return trouble


def _log_life(service: Service, what: str, scheduler: BackgroundScheduler) -> None:
    settings = service.settings
    _LOG.info(
        "tcp-status-sender %s %s: host %r, a sample every %d s from %s, to %s",
        *(__version__, what, settings.host, settings.interval),
        *(moment(scheduler.get_job(_SAMPLE).next_run_time.timestamp()), service.describe_destinations()),
    )


class _Watchdog:
    """The reports to systemd: how things are when that changes, and that we are alive only while ticks come to an end."""

    def __init__(self, service: Service) -> None:
        self._service = service
        within_s = systemd.watchdog_s()
        self._every_s = within_s / 3 if within_s else None
        self._fed = 0.0
        self._status = ""
        self.trouble = ""  # what the status line is to begin with

    def report(self) -> None:
        now, interval_s = time.monotonic(), self._service.settings.interval
        is_due = self._every_s and now - self._fed >= self._every_s
        if is_due and now - self._service.sampling.ended <= 2 * interval_s + (self._every_s or 0):
            systemd.notify("WATCHDOG=1")
            self._fed = now
        status = self.trouble + self._service.status()
        if status != self._status:
            self._status = status
            systemd.notify(f"STATUS={status}")


class _Aligned(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """A trigger at whole multiples of the interval since 1970. However many were missed, the next is one after now.

    IntervalTrigger would compute each one that was missed: after a clock's jump by years, for minutes, in gigabytes.
    """

    def __init__(self, interval_s: int) -> None:
        self._interval_s = interval_s

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        ticks = int(now.timestamp() // self._interval_s) + 1
        return datetime.fromtimestamp(ticks * self._interval_s, timezone.utc)


def _next(interval_s: int) -> datetime:
    return _Aligned(interval_s).get_next_fire_time(None, datetime.now(timezone.utc))


def scheduler_for(
    interval_s: int, tick: Callable[[], None], look: Callable[[], None] | None = None
) -> BackgroundScheduler:
    """Return a scheduler that calls `tick` at every whole multiple of the interval and, where there is one, `look` every second.

    Each has a thread of its own, and is never called twice at once.
    """
    # UTC throughout: no hour is missing or double, and an unset TZ does not matter.
    executors = {"default": ThreadPoolExecutor(1), _LOOK: ThreadPoolExecutor(1)}
    scheduler = BackgroundScheduler(timezone=timezone.utc, executors=executors)
    scheduler.add_job(tick, _Aligned(interval_s), id=_SAMPLE, coalesce=True, max_instances=1)
    if look:
        scheduler.add_job(look, _Aligned(LOOK_S), id=_LOOK, executor=_LOOK, coalesce=True, max_instances=1)
    set_interval(scheduler, interval_s)
    return scheduler


def set_interval(scheduler: BackgroundScheduler, interval_s: int) -> None:
    """Let `scheduler` call at this interval from now on."""
    late_s = max(1, interval_s // 2)  # a tick later than that is left out: the next one is near
    scheduler.modify_job(_SAMPLE, misfire_grace_time=late_s)
    scheduler.reschedule_job(_SAMPLE, trigger=_Aligned(interval_s))
