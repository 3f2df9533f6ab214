"""The command `run`: the daemon, a dry run, or one sample. Knows how the parts of each are put together."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from sender.items import named, to_request
from sender.kernel.sock_diag import Listeners, SockDiag
from sender.model import Vitals
from sender.sampling.reporting import Reporting
from sender.sampling.sampler import Sampler
from sender.sampling.services import ServiceNames
from sender.sampling.watch import ListenerWatch
from sender.settings.schema import load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sender.model import Item
    from sender.settings.schema import Settings

_LOG = logging.getLogger(__name__)

# What only the living daemon needs is imported where it is needed: it would double the time to the first dry-run sample.


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says, and return the exit code. Raises ConfigError, KernelError, TakenError."""
    read = _loader(arguments.config, arguments.log_level)
    if arguments.once:
        return dry_once(read()) if arguments.dry_run else once(read())
    return dry(read(), read) if arguments.dry_run else live(read(), read)


def _loader(path: Path | None, log_level: str | None) -> Callable[[], Settings]:
    """Return what reads the configuration, now and at each reload, and logs which warnings about it are new."""
    logged: set[str] = set()

    def read() -> Settings:
        settings = load(path)
        logging.getLogger().setLevel((log_level or settings.log_level).upper())
        for warning in settings.warnings:
            if warning not in logged:
                _LOG.warning("%s", warning)
        logged.update(settings.warnings)
        return settings

    return read


def live(settings: Settings, reload: Callable[[], Settings]) -> int:
    """Sample and deliver until stopped; `reload` reads the configuration anew. Raises TakenError."""
    from sender.daemon import daemon
    from sender.daemon.pipeline import Pipeline
    from sender.daemon.surroundings import warn

    warn(settings)
    daemon.run(Pipeline(settings, load=reload))
    return 0


def once(settings: Settings) -> int:
    """Deliver one sample, and where some of it is rejected a second one, to see which. Return the exit code.

    The sample is queued in memory: the daemon, which has the spool, may be running. Raises KernelError.
    """
    from sender.delivery.delivery import Delivery
    from sender.delivery.probe import Verdict
    from sender.delivery.registration import registration
    from sender.spool.sample import Limits
    from sender.spool.spool import Spool
    from sender.zabbix.uplink import Uplink

    names = [destination.name for destination in settings.destinations]
    spool = Spool(":memory:", names, Limits(max_age_s=settings.spool.max_age, max_bytes=settings.spool.max_size))
    deliveries = [Delivery(each.name, Uplink(each).send, spool) for each in settings.destinations]
    for delivery in deliveries:
        delivery.unknown_host.keep_s = 0  # nobody would offer it again

    def sample() -> None:  # with discovery each time, as the first of its Sampler
        _sampler(settings, vitals=lambda _: Vitals(rejected=spool.rejected), publish=spool.append).once()

    for destination in settings.destinations:
        if registrar := registration(settings, destination):
            registrar.register()
    sample()
    done = [delivery.drain() for delivery in deliveries]
    if any(delivery.wants_probe for delivery in deliveries):
        sample()
        done += [delivery.drain() for delivery in deliveries]
    for delivery in deliveries:
        if (ports := delivery.new_ports.ports) and delivery.verdict is not Verdict.ALL:
            _LOG.info(
                "%s: new: %s. Zabbix creates their items within about a minute. Their values were not sent (the daemon "
                "would hold them)",
                *(delivery.name, named(ports)),
            )
    if not all(done):
        _LOG.error("values that were not delivered are dropped: `run --once` does not use the spool")
    return 0 if all(done) and not spool.rejected else 1


def dry(settings: Settings, reload: Callable[[], Settings]) -> int:
    """Print samples and send nothing, until stopped. Return the exit code."""
    from sender.daemon import daemon

    service = _DryRun(settings, reload, daemon.stop)
    daemon.run(service)
    if service.failure:
        raise service.failure
    return 0


def dry_once(settings: Settings) -> int:
    """Print one sample, and return the exit code. Raises KernelError."""
    _sampler(settings, vitals=_no_vitals, publish=_print).once()
    return 0


class _DryRun:
    """The daemon's service without spool and destinations; `failure` is what ended it, if its output did."""

    def __init__(self, settings: Settings, load: Callable[[], Settings], stop: Callable[[], None]) -> None:
        self.settings = settings
        self.failure: OSError | None = None
        self._load, self._stop = load, stop
        self.sampling = _sampler(settings, vitals=_no_vitals, publish=self._publish)

    def start(self) -> None:
        """Begin: there is nothing to do."""

    def tick(self) -> None:
        self.sampling.tick()

    @property
    def wants_looks(self) -> bool:
        return False  # a dry run shows what a sample alone sees

    def look(self) -> None:
        """Do nothing: nobody asks for it."""

    def reload(self) -> None:
        self.settings = self._load()
        self.sampling.apply(self.settings)

    def describe_destinations(self) -> str:
        return "standard output (dry run)"

    def status(self) -> str:
        return "a dry run"

    def close(self, within_s: float) -> None:
        """End: nothing is open."""

    def _publish(self, items: Sequence[Item]) -> None:
        try:
            _print(items)
        except OSError as error:  # nobody reads any more, or the disk is full
            self.failure = error
            self._stop()


def _sampler(
    settings: Settings, *, vitals: Callable[[int], Vitals], publish: Callable[[Sequence[Item]], None]
) -> Sampler:
    """Return a sampler that knows nothing of ports reported before."""
    reporting = Reporting(settings, service=ServiceNames())
    watch = ListenerWatch(SockDiag().sample, Listeners().look, has_peaks=settings.ports.peaks)
    return Sampler(settings, sample=watch.sample, vitals=vitals, publish=publish, reporting=reporting)


def _no_vitals(uptime_s: int) -> Vitals:
    return Vitals(uptime_s=uptime_s)


def _print(items: Sequence[Item]) -> None:
    print(json.dumps(to_request(items)), flush=True)
