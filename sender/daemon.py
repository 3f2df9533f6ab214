"""The daemon's life: start, run, stop, close. The only importer of APScheduler and of signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from sender import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.config import Settings
    from sender.delivery import Delivery

_LOG = logging.getLogger(__name__)
_STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_STOP_S = 4.0  # for a last attempt to deliver
_AGAIN_S = 10.0


def run(settings: Settings, tick: Callable[[], None], deliveries: Sequence[Delivery]) -> None:
    """Call `tick` at every whole multiple of the interval and keep `deliveries` going, until SIGTERM, SIGINT or SIGHUP."""
    # Blocked before there is any thread: every thread inherits it, and only sigwait below gets the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    stop = threading.Event()
    threads = [threading.Thread(target=keep_going, args=(delivery, stop), daemon=True) for delivery in deliveries]
    idle = threading.Lock()

    def job() -> None:
        with idle:
            if not stop.is_set():
                tick()

    scheduler = scheduler_for(settings.interval, job)

    for thread in threads:
        thread.start()
    scheduler.start()
    _LOG.info(
        "tcp-status-sender %s: host %r, a sample every %d s from %s, to %s",
        *(__version__, settings.host, settings.interval, scheduler.get_jobs()[0].next_run_time),
        ", ".join(map(str, settings.destinations)) if deliveries else "standard output (dry run)",
    )

    received = signal.sigwait(_STOP)

    _LOG.info("stopping on %s", signal.Signals(received).name)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)  # a second signal ends it at once
    deadline = time.monotonic() + _STOP_S
    scheduler.shutdown(wait=False)
    sampled = idle.acquire(timeout=_STOP_S)
    stop.set()
    if sampled:
        idle.release()  # for a tick that was due just now: it finds that it is too late, and ends
    for delivery in deliveries:
        delivery.wake()
    for thread, delivery in zip(threads, deliveries, strict=True):
        thread.join(max(0, deadline - time.monotonic()))
        if delivery.waiting:
            _LOG.error("stopped with %d values undelivered to %s: they are lost", delivery.waiting, delivery.name)
    if not sampled:
        _LOG.error("stopped in the middle of a sample that did not end within %.0f s", _STOP_S)
        logging.shutdown()
        os._exit(1)  # Python would wait for the thread that takes it


def stop() -> None:
    """End `run`, from any thread, as SIGTERM would."""
    os.kill(os.getpid(), signal.SIGTERM)


def scheduler_for(interval_s: int, tick: Callable[[], None]) -> BackgroundScheduler:
    """A scheduler that calls `tick` at every whole multiple of the interval, in one thread, never twice at once."""
    # UTC throughout: no hour is missing or double, and an unset TZ does not matter. Late ticks still count.
    epoch = datetime.fromtimestamp(0, timezone.utc)
    aligned = IntervalTrigger(seconds=interval_s, start_date=epoch, timezone=timezone.utc)
    scheduler = BackgroundScheduler(timezone=timezone.utc, executors={"default": ThreadPoolExecutor(1)})
    scheduler.add_job(tick, aligned, name="sample", misfire_grace_time=interval_s, coalesce=True, max_instances=1)
    return scheduler


def keep_going(delivery: Delivery, stop: threading.Event) -> None:
    """Run `delivery` until `stop`, whatever happens in it."""
    while not stop.is_set():
        try:
            delivery.run(stop)
        except Exception:  # noqa: BLE001  a defect of ours in one delivery must end neither it nor anything else
            _LOG.exception("delivery to %s met with an unexpected error and goes on in %.0f s", delivery.name, _AGAIN_S)
            stop.wait(_AGAIN_S)
