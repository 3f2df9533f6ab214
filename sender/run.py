"""The verb `run`: puts the parts together in the order in which the data flows, and lets them go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sender.items import to_request
from sender.model import Vitals
from sender.sampling import Sampling
from sender.sock_diag import SockDiag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.config import Settings
    from sender.model import Item
    from sender.spool import Spool

# What only the living daemon needs is imported where it is needed: it would double the time to the first dry-run sample.


def dry(settings: Settings, *, once: bool) -> int:
    """Print samples and send nothing; the exit code. Raises KernelError when a single sample fails."""
    if once:
        _sampling(settings, _print).once()
        return 0
    from sender import daemon

    failures: list[OSError] = []

    def publish(items: Sequence[Item]) -> None:
        try:
            _print(items)
        except OSError as error:  # nobody reads any more, or the disk is full
            failures.append(error)
            daemon.stop()

    daemon.run(settings, _sampling(settings, publish).tick, ())
    if failures:
        raise failures[0]
    return 0


def live(settings: Settings, *, once: bool) -> int:
    """Sample and deliver; the exit code. Raises KernelError when a single sample fails."""
    from sender import daemon
    from sender.delivery import Delivery
    from sender.spool import Spool
    from sender.uplink import Uplink

    spool = Spool([destination.name for destination in settings.destinations])
    deliveries = [Delivery(destination.name, Uplink(destination).send, spool) for destination in settings.destinations]

    def publish(items: Sequence[Item]) -> None:
        spool.append(items)
        for delivery in deliveries:
            delivery.wake()

    sampling = _sampling(settings, publish, spool)
    if once:
        sampling.once()
        done = [delivery.drain() for delivery in deliveries]
        return 0 if all(done) and not spool.rejected else 1
    daemon.run(settings, sampling.tick, deliveries)
    return 0


def _sampling(settings: Settings, publish: Callable[[Sequence[Item]], None], spool: Spool | None = None) -> Sampling:
    def vitals(uptime_s: int) -> Vitals:
        if spool is None:
            return Vitals(uptime_s=uptime_s)
        return Vitals(uptime_s=uptime_s, backlog=spool.backlog, dropped=spool.dropped, rejected=spool.rejected)

    return Sampling(settings.host, sample=SockDiag().sample, vitals=vitals, publish=publish)


def _print(items: Sequence[Item]) -> None:
    print(json.dumps(to_request(items)), flush=True)
