"""One delivery and one thread for each destination's name, started, re-aimed and ended as the settings say.

Knows no protocol: `connect` makes what sends to a destination. A name has one thread at most, so it never has two requests
at once. Where a destination is removed while its request is on the way, its place in the queue is kept until that ends:
brought back before, it goes on as if it had never been away, or, with other nodes, begins anew with what is queued.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sender.delivery.delivery import Delivery
from sender.items import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.model import Item, Outcome
    from sender.settings.schema import Destination, Settings
    from sender.spool.sample import Limits
    from sender.spool.spool import Spool

    Send = Callable[[Sequence[Item]], Outcome]

_LOG = logging.getLogger(__name__)
_AGAIN_S = 10.0
_MAX_OFFSET_S = 30.0


@dataclass(slots=True)
class _Worker:
    """The thread of one name: where it delivers to, or did last, and what it runs, now or when that has ended."""

    destination: Destination
    delivery: Delivery
    thread: threading.Thread
    is_wanted: bool = True  # False: the destination was removed, and its request in flight has not ended


class Deliveries:
    """Delivers what is queued in `spool` to each destination; `on_unknown` is told which may not know the host.

    `wake`, `wants_discovery` and `active` may be used by any thread, `apply` and `close` from one.
    """

    def __init__(
        self,
        spool: Spool,
        limits: Limits,
        *,
        connect: Callable[[Destination], Send],
        on_unknown: Callable[[str], object] = lambda _: None,
        delivery: Callable[..., Delivery] = Delivery,
    ) -> None:
        self._spool = spool
        self._limits = limits
        self._connect = connect
        self._on_unknown = on_unknown
        self._new = delivery
        self._lock = threading.Lock()  # over what follows, but `_active`
        self._workers: dict[str, _Worker] = {}
        self._is_closed = False
        self._active: dict[str, Delivery] = {}  # those of wanted destinations; replaced whole

    @property
    def wants_discovery(self) -> bool:
        """Return whether a destination that can be reached needs discovery anew: another would want it in vain, sample by sample."""
        return any(delivery.wants_discovery and not delivery.cause for delivery in self._active.values())

    @property
    def active(self) -> dict[str, Delivery]:
        """Return the delivery to each configured destination."""
        return self._active

    def wake(self) -> None:
        """Tell every delivery that something new is queued."""
        for delivery in self._active.values():
            delivery.wake()

    def apply(self, settings: Settings, limits: Limits) -> None:
        """Deliver as `settings` say: begin new deliveries, re-aim changed ones, end removed ones; the others go on."""
        wanted = {destination.name: destination for destination in settings.destinations}
        with self._lock:
            for name, worker in self._workers.items():
                if name not in wanted:
                    worker.is_wanted = False
                    worker.delivery.retire()
            self._limits = limits
            renewed = {name for name, destination in wanted.items() if self._is_another(name, destination)}
            if renewed:
                self._serve(name for name in self._workers if name not in renewed)
            self._serve([*wanted, *self._workers])
            for name, destination in wanted.items():
                self._deliver_to(destination, is_renewed=name in renewed)
                delivery = self._workers[name].delivery
                delivery.offset_s = offset_s(settings, name)
                delivery.unknown_host.host, delivery.unknown_host.keep_s = settings.host, settings.spool.keep_rejected
                delivery.unknown_host.retry_now()  # a reload may be what somebody does who has mended the host
            self._active = {name: self._workers[name].delivery for name in wanted}
        self.wake()  # they may have missed a sample that is on its way

    def _is_another(self, name: str, destination: Destination) -> bool:
        """Return whether a removed destination, whose request is on the way, comes back with another server."""
        worker = self._workers.get(name)
        return worker is not None and not worker.is_wanted and worker.destination.nodes != destination.nodes

    def _serve(self, names: Iterable[str]) -> None:
        """Keep a place in the queue for these destinations, and for no other."""
        self._spool.serve(list(dict.fromkeys(names)), self._limits)

    def _deliver_to(self, destination: Destination, *, is_renewed: bool) -> None:
        name = destination.name
        worker = self._workers.get(name)
        if worker is None:
            thread = threading.Thread(target=self._work, args=[name], name=f"delivery to {name}", daemon=True)
            self._workers[name] = _Worker(destination, self._delivery(destination), thread)
            thread.start()
            return
        if is_renewed:
            worker.delivery = self._delivery(destination)
        elif not worker.is_wanted or worker.destination != destination:
            worker.delivery.use(self._connect(destination))
        worker.destination, worker.is_wanted = destination, True

    def _delivery(self, destination: Destination) -> Delivery:
        delivery = self._new(destination.name, self._connect(destination), self._spool)
        delivery.on_unknown = partial(self._on_unknown, destination.name)
        return delivery

    def _work(self, name: str) -> None:
        """Run what the thread of `name` is to run, until there is nothing more."""
        while delivery := self._next(name):
            keep_going(delivery)

    def _next(self, name: str) -> Delivery | None:
        """Return what the thread of `name` is to run now; None where it is to end, and then free the destination's place."""
        with self._lock:
            worker = self._workers[name]
            if self._is_closed:
                return None
            if worker.is_wanted:
                # One that ran before for another server may have left there what it had learned of its ports.
                self._spool.learn(name, worker.delivery.new_ports.created)
                return worker.delivery
            del self._workers[name]
            self._serve(self._workers)
            return None

    def close(self, within_s: float) -> None:
        """Stop every delivery after a last attempt, and log what is left."""
        deadline = time.monotonic() + within_s
        with self._lock:
            self._is_closed = True
        for delivery in self._active.values():
            delivery.stop()
        for name, delivery in self._active.items():
            self._workers[name].thread.join(max(0, deadline - time.monotonic()))
            self._log_backlog(name)
            if held := delivery.new_ports.ports:
                _LOG.info("%s: dropped the values held for new %s, as this daemon stops", name, named(held))

    def _log_backlog(self, name: str) -> None:
        queued, path = self._spool.queued(name), self._spool.path
        if queued and (self._spool.in_memory or path == ":memory:"):
            _LOG.error("%s: stopped with %d values queued; those in memory are lost", name, queued)
        elif queued:
            _LOG.info("%s: stopped with %d values queued in %s for the next start", name, queued, path)


def offset_s(settings: Settings, name: str) -> float:
    """Return how long after a sample it is sent: the same for this host each time, and another for most others."""
    share = zlib.crc32(f"{settings.host} {name}".encode()) / 2**32
    return share * min(settings.interval / 2, _MAX_OFFSET_S)


def keep_going(delivery: Delivery) -> None:
    """Run `delivery` until it is told to end, whatever happens in it."""
    while True:
        try:
            delivery.run()
        except Exception:  # noqa: BLE001  a defect of ours in one delivery must end neither it nor anything else
            _LOG.exception("%s: unexpected error in the delivery, retrying in %.0f s", delivery.name, _AGAIN_S)
            delivery.pause(_AGAIN_S)
            if delivery.is_ending:
                return
        else:
            return
