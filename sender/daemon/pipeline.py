"""The living daemon's parts, put together in the order in which the data flows, and again when the settings change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.daemon.deliveries import Deliveries
from sender.delivery.registration import Registrations
from sender.kernel.sock_diag import Listeners, SockDiag
from sender.model import Vitals
from sender.sampling.memory import Memory
from sender.sampling.reporting import Reporting
from sender.sampling.sampler import Sampler
from sender.sampling.services import ServiceNames
from sender.sampling.watch import LOOK_S, ListenerWatch
from sender.spool.sample import Limits
from sender.spool.spool import Spool
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item
    from sender.settings.schema import Settings

_LOG = logging.getLogger(__name__)


class Pipeline:
    """Samples at each `tick`, and delivers in a thread per destination. Raises TakenError when the spool is in use."""

    def __init__(self, settings: Settings, *, load: Callable[[], Settings]) -> None:
        self.settings = settings
        self._load = load
        self._path = settings.spool.path  # as long as this daemon lives
        names, limits = [destination.name for destination in settings.destinations], _limits(settings)
        self._spool = Spool(self._path, names, limits)
        self._registrations = Registrations()
        self._deliveries = Deliveries(
            self._spool,
            limits,
            connect=lambda destination: Uplink(destination).send,
            on_unknown=self._registrations.wake,
        )
        known = {port for name in names for port in self._spool.known(name)}
        self._is_note_read = not self._spool.trouble
        memory = Memory.parse(self._spool.note, known) if self._is_note_read else Memory.lost(known)
        self._watch = ListenerWatch(SockDiag().sample, Listeners().look, has_peaks=settings.ports.peaks)
        self.sampling = Sampler(
            settings,
            sample=self._watch.sample,
            vitals=self._vitals,
            publish=self._publish,
            reporting=Reporting(settings, memory, service=ServiceNames(), now=boottime()),
        )
        if settings.spool.path == ":memory:":
            _LOG.warning("spool.path is :memory:, so queued values are lost when this daemon stops")

    def start(self) -> None:
        """Start delivering."""
        self._apply(self.settings)

    def tick(self) -> None:
        """Take one sample."""
        self.sampling.tick()

    @property
    def wants_looks(self) -> bool:
        """Return whether there is something between two samples to look at."""
        return self.settings.ports.peaks and self.settings.interval > LOOK_S

    def look(self) -> None:
        """Look at the accept queues."""
        self._watch.look()

    def reload(self) -> None:
        """Read the configuration again and apply it, without a gap. Raises ConfigError: the old one stays active."""
        settings = self._load()
        if settings.spool.path != self._path:
            _LOG.warning(
                "spool.path changes at the next start; until then %s stays in use. To keep what is queued in it, stop the "
                "daemon, move it to %s, and start the daemon",
                *(self._path, settings.spool.path),
            )
        self._apply(settings)

    def describe_destinations(self) -> str:
        """Return where samples go, for a line of the log."""
        return ", ".join(map(str, self.settings.destinations))

    def status(self) -> str:
        """Return how things are, on one line."""
        parts = [self.sampling.trouble or f"a sample every {self.settings.interval} s"]
        parts += [f"{name}: {delivery.state}" for name, delivery in self._deliveries.active.items()]
        if self._spool.trouble:
            parts.append(f"cannot write the spool: {self._spool.trouble}")
        return "; ".join(parts)

    def close(self, within_s: float) -> None:
        """Stop delivering, after a last attempt."""
        self._registrations.stop()
        self._deliveries.close(within_s)
        self._spool.close()

    def _apply(self, settings: Settings) -> None:
        self.settings = settings
        self._watch.has_peaks = settings.ports.peaks
        # A new destination has its place in the queue before the sample with discovery and every rare value is taken.
        self._deliveries.apply(settings, _limits(settings))
        self._registrations.apply(settings)
        self.sampling.apply(settings)

    def _publish(self, items: Sequence[Item]) -> None:
        self._spool.append(items, self.sampling.note)
        if not (self._is_note_read or self._spool.trouble):
            self._is_note_read = True  # which it could not be at the start
            self.sampling.recall(Memory.parse(self._spool.note))
        self._deliveries.wake()

    def _vitals(self, uptime_s: int) -> Vitals:
        spool = self._spool
        return Vitals(
            uptime_s=uptime_s,
            backlog=spool.backlog,
            dropped=spool.dropped,
            rejected=spool.rejected,
            wants_discovery=self._deliveries.wants_discovery,
        )


def _limits(settings: Settings) -> Limits:
    return Limits(max_age_s=settings.spool.max_age, max_bytes=settings.spool.max_size)
