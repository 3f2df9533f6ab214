"""Some of the hosts of `python -m bench.fleet`, in one process: `python -m bench.fleet_hosts SETTINGS`, which are JSON.

Each host is the daemon's own Pipeline: sampling, items, a spool on the disk, a thread that delivers. They share the
process, and one of the daemon's clocks, whose tick samples host after host, in the network namespace of `namespace`.
A line on standard input is a question, answered with a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.namespace import entered
from sender.daemon import pipeline
from sender.daemon.daemon import scheduler_for
from sender.errors import DeliveryError
from sender.settings import section
from sender.settings.schema import Settings
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.model import Item, Outcome

SHARE = 250  # hosts to a process at most, each with a thread
FILES = 8  # open at a time, at most, for each host: the spool's four, a connection, a dump
LAST_S = 120.0  # for the last values to be delivered


class Answers:
    """What the destination said, since the last `clear`; filled from many threads, which list.append is safe for."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget it."""
        self.request_ms: list[float] = []
        self.delay_ms: list[float] = []  # from a sample's beginning to its acknowledgement


ANSWERS = Answers()
ACCEPTED: list[int] = []  # values
REJECTED: list[int] = []  # those of new ports among them, which are offered again
UNANSWERED: list[str] = []


class TimedUplink(Uplink):
    """The uplink, with a watch in hand."""

    def send(self, items: Sequence[Item]) -> Outcome:
        """As Uplink does."""
        began = time.monotonic()
        try:
            outcome = super().send(items)
        except DeliveryError as error:
            UNANSWERED.append(str(error))
            raise
        now = time.time()
        ANSWERS.request_ms.append((time.monotonic() - began) * 1e3)
        ANSWERS.delay_ms.extend((now - clock - ns / 1e9) * 1e3 for clock, ns in {(i.clock, i.ns) for i in items})
        ACCEPTED.append(outcome.accepted)
        REJECTED.append(outcome.rejected)
        return outcome


class Host(pipeline.Pipeline):
    """The daemon's pipeline, which also counts what it takes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, load=lambda: settings)
        self.samples = self.values = 0
        self.sent: Counter[str] = Counter()  # values by key: not every sample has each of them
        self.late_ms = 0.0  # the last sample, after the moment at which it was due

    def _publish(self, items: Sequence[Item]) -> None:
        self.samples += 1
        self.values += len(items)
        self.sent.update(item.key for item in items)
        self.late_ms = (items[0].clock % self.settings.interval + items[0].ns / 1e9) * 1e3
        super()._publish(items)

    @property
    def is_new(self) -> bool:
        """Whether values are held until Zabbix has their items, or nothing was delivered yet."""
        return not self.samples or any(delivery.new_ports.ports for delivery in self._deliveries.active.values())

    @property
    def rejected(self) -> int:
        """Values that were refused for good: what `tcp.sender.rejected` says."""
        return self._spool.rejected

    @property
    def waiting(self) -> int:
        """Values that are not settled."""
        return sum(delivery.queued for delivery in self._deliveries.active.values())


class Fleet:
    """These hosts, and their clock."""

    def __init__(self, hosts: Sequence[Host], interval_s: int, namespace: int) -> None:
        self._hosts = hosts
        self._namespace = namespace
        self._idle = threading.Lock()
        self._late_ms: list[float] = []
        self._scheduler = scheduler_for(interval_s, self._tick)

    def _tick(self) -> None:
        with self._idle, entered(self._namespace):
            for host in self._hosts:
                host.tick()
            self._late_ms += [host.late_ms for host in self._hosts]

    def start(self) -> dict[str, Any]:
        """Deliver, and sample from the next whole multiple of the interval on."""
        self._scheduler.start()
        return {}

    def begin(self) -> dict[str, Any]:
        """Measure from now on."""
        ANSWERS.clear()
        self._late_ms.clear()
        return self.look()

    def look(self) -> dict[str, Any]:
        """How it stands."""
        return {
            "cpu_s": time.process_time(),
            "samples": sum(host.samples for host in self._hosts),
            "values": sum(host.values for host in self._hosts),
            "accepted": sum(ACCEPTED),
            "rejected": sum(host.rejected for host in self._hosts),
            "declined": sum(REJECTED),
            "unanswered": len(UNANSWERED),
            "new": sum(host.is_new for host in self._hosts),
            "mb": resident_mb(os.getpid()),
            "late_ms": self._late_ms,
            "delay_ms": ANSWERS.delay_ms,
            "request_ms": ANSWERS.request_ms,
        }

    def stop(self) -> dict[str, Any]:
        """Take no more samples, and deliver what waits; how many values of each key each host took."""
        self._scheduler.shutdown(wait=False)
        with self._idle:
            deadline = time.monotonic() + LAST_S
        while any(host.waiting or host.is_new for host in self._hosts) and time.monotonic() < deadline:
            time.sleep(0.5)
        figures = self.look()
        for host in self._hosts:
            host.close(within_s=5)
        return {**figures, "hosts": {host.settings.host: host.sent for host in self._hosts}}


def resident_mb(pid: int) -> float:
    """Return what a process has in memory, in 10^6 bytes (proc_pid_statm(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    """Live until standard input closes."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("sender.delivery.new_ports").setLevel(
        logging.ERROR
    )  # how long the items of new ports take is measured
    given = json.loads(sys.argv[1])
    files = 100 + FILES * len(given["hosts"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    pipeline.Uplink = TimedUplink  # type: ignore[attr-defined]  # by which each host delivers
    hosts = []
    for name in given["hosts"]:
        spool = {"path": f"{given['directory']}/{name}.db"}
        hosts.append(Host(section.read(Settings, {**given["settings"], "host": name, "spool": spool})))
        hosts[-1].start()
    fleet = Fleet(hosts, given["settings"]["interval"], given["namespace"])
    print(json.dumps(fleet.look()), flush=True)
    for line in sys.stdin:
        answer = {"start": fleet.start, "begin": fleet.begin, "look": fleet.look, "stop": fleet.stop}[line.strip()]()
        print(json.dumps(answer), flush=True)
    os._exit(0)  # nothing is left to do, and whoever asked may have been killed


if __name__ == "__main__":
    main()
