"""The living daemon's parts, put together in the order in which the data flows, and again when the settings change."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.delivery.delivery import Delivery
from sender.delivery.registration import Registrations
from sender.items import local_port
from sender.kernel.sock_diag import SockDiag
from sender.model import Vitals
from sender.sampling.sampler import Sampler
from sender.spool.sample import Limits
from sender.spool.spool import Spool
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item
    from sender.settings.schema import Destination, Settings

_LOG = logging.getLogger(__name__)
_AGAIN_S = 10.0
_MAX_OFFSET_S = 30.0


@dataclass(frozen=True, slots=True)
class _Line:
    """A delivery at work."""

    destination: Destination
    delivery: Delivery
    thread: threading.Thread


class Pipeline:
    """Samples at each `tick`, delivers in a thread per destination. Raises TakenError when the spool is in use."""

    def __init__(self, settings: Settings, *, load: Callable[[], Settings]) -> None:
        self.settings = settings
        self._load = load
        self._path = settings.spool.path  # as long as this daemon lives
        self._spool = Spool(self._path, _names(settings), _limits(settings))
        self._lines: dict[str, _Line] = {}
        self._gone: dict[str, _Line] = {}  # not configured any more; a request of theirs may still be on its way
        self._registrations = Registrations()
        known = {port for name in _names(settings) for port in self._spool.known(name)}
        self.sampling = Sampler(
            settings,
            sample=SockDiag().sample,
            vitals=self._vitals,
            publish=self._publish,
            known=filter(None, map(local_port, known)),
        )
        if settings.spool.path == ":memory:":
            _LOG.warning("spool.path is :memory:, so what waits for a destination is lost when this daemon ends")

    def start(self) -> None:
        """Start delivering."""
        self._follow(self.settings)

    def tick(self) -> None:
        """Take one sample."""
        self.sampling.tick()

    def reload(self) -> None:
        """Read the configuration again and go on with it, without a gap. Raises ConfigError: the old one goes on."""
        settings = self._load()
        if settings.spool.path != self._path:
            _LOG.warning(
                "spool.path takes effect at the next start, until then %s is used; to keep what waits in it, stop the "
                "daemon, move it to %s, and start the daemon",
                *(self._path, settings.spool.path),
            )
        self._spool.serve(_names(settings), _limits(settings))
        self._follow(settings)

    def describe_destinations(self) -> str:
        """Where samples go."""
        return ", ".join(map(str, self.settings.destinations))

    def status(self) -> str:
        """How things are, on one line."""
        parts = [self.sampling.trouble or f"a sample every {self.settings.interval} s"]
        parts += [f"{name}: {line.delivery.state}" for name, line in self._lines.items()]
        if self._spool.trouble:
            parts.append(f"cannot write the spool: {self._spool.trouble}")
        return "; ".join(parts)

    def close(self, within_s: float) -> None:
        """Stop delivering, after a last attempt."""
        deadline = time.monotonic() + within_s
        self._registrations.stop()
        for line in self._lines.values():
            line.delivery.stop()
        for name, line in self._lines.items():
            line.thread.join(max(0, deadline - time.monotonic()))
            self._say_what_waits(name)
            if held := line.delivery.new_ports.ports:
                _LOG.info("values held for %s until it has the items of port %s are lost", name, ", ".join(held))
        self._spool.close()

    def _follow(self, settings: Settings) -> None:
        """Let what does not change run on; one that changes, or comes back, begins where its old one has ended."""
        self.settings = settings
        self.sampling.serve(settings)
        self._registrations.follow(settings)
        before, lines = dict(self._lines), dict[str, _Line]()
        for destination in settings.destinations:
            line = before.pop(destination.name, None)
            if line and line.destination != destination:
                line.delivery.stop(last_attempt=False)
            if not line or line.destination != destination:
                line = self._begin(destination, line, self._gone.pop(destination.name, None))
            line.delivery.offset_s = offset_s(settings, destination.name)
            lines[destination.name] = line
        self._lines = lines  # at once: a sample may be on its way to them,
        for line in lines.values():
            line.delivery.wake()  # or have missed those that are new
        for line in before.values():
            line.delivery.stop(last_attempt=False)
        self._gone = {name: line for name, line in (self._gone | before).items() if line.thread.is_alive()}

    def _begin(self, destination: Destination, before: _Line | None, gone: _Line | None) -> _Line:
        """Deliver there, once what else is of this name has ended: `before`, of which it takes over all, or `gone`."""
        send = self._registrations.watching(destination.name, Uplink(destination).send)
        delivery = Delivery(destination.name, send, self._spool)
        if before:
            delivery.new_ports = before.delivery.new_ports
        after = before or gone

        def run() -> None:
            if after:
                after.thread.join()
                delivery.follow(after.delivery)
            keep_going(delivery)

        thread = threading.Thread(target=run, name=f"delivery to {destination.name}", daemon=True)
        thread.start()
        return _Line(destination, delivery, thread)

    def _publish(self, items: Sequence[Item]) -> None:
        self._spool.append(items)
        for line in self._lines.values():
            line.delivery.wake()

    def _vitals(self, uptime_s: int) -> Vitals:
        spool = self._spool
        return Vitals(
            uptime_s=uptime_s,
            backlog=spool.backlog,
            dropped=spool.dropped,
            rejected=spool.rejected,
            wants_discovery=any(line.delivery.wants_discovery for line in self._lines.values()),
        )

    def _say_what_waits(self, name: str) -> None:
        waiting = self._spool.queued(name)
        if waiting and (self._spool.in_memory or self._spool.path == ":memory:"):
            _LOG.error("stopped with %d values undelivered to %s; those in memory are lost", waiting, name)
        elif waiting:
            _LOG.info("stopped with %d values undelivered to %s; they wait in %s", waiting, name, self._spool.path)


def _names(settings: Settings) -> list[str]:
    return [destination.name for destination in settings.destinations]


def _limits(settings: Settings) -> Limits:
    return Limits(max_age_s=settings.spool.max_age, max_bytes=settings.spool.max_size)


def offset_s(settings: Settings, name: str) -> float:
    """How long after a sample it is sent: the same for this host each time, and another for most others."""
    share = zlib.crc32(f"{settings.host} {name}".encode()) / 2**32
    return share * min(settings.interval / 2, _MAX_OFFSET_S)


def keep_going(delivery: Delivery) -> None:
    """Run `delivery` until it is stopped, whatever happens in it."""
    while True:
        try:
            delivery.run()
        except Exception:  # noqa: BLE001  a defect of ours in one delivery must end neither it nor anything else
            _LOG.exception("delivery to %s met with an unexpected error and goes on in %.0f s", delivery.name, _AGAIN_S)
            delivery.pause(_AGAIN_S)
        else:
            return
