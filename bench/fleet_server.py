"""What the server is doing while a fleet reports to it: its own statistics, and the queue in front of its trappers."""

from __future__ import annotations

import threading
from statistics import mean
from typing import Any

from sender.errors import SenderError
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

EVERY_S = 5.0
# Of the parameters that a Zabbix for 2,000 hosts would need to have changed, all; the others are Zabbix 6.0's defaults.
CHANGED = {"CacheSize": "512M", "ValueCacheSize": "256M", "TrendCacheSize": "64M"}
DEFAULTS = {
    "StartTrappers": "5",
    "StartDBSyncers": "4",
    "StartPreprocessors": "3",
    "StartLLDProcessors": "2",
    "HistoryCacheSize": "16M",
    "HistoryIndexCacheSize": "4M",
    "CacheUpdateFrequency": "60",
}
SETTINGS = "".join(f"{name}={value}\n" for name, value in (CHANGED | DEFAULTS).items())
BUSY = ("trapper", "history syncer", "preprocessing manager", "preprocessing worker", "configuration syncer")
CACHES = (
    ("history cache", ("wcache", "history", "pfree")),
    ("history index cache", ("wcache", "index", "pfree")),
    ("trend cache", ("wcache", "trend", "pfree")),
    ("value cache", ("vcache", "buffer", "pfree")),
    ("configuration cache", ("rcache", "pfree")),
)


class Watch:
    """Asks the server on this port every few seconds, from `begin` to `end`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._uplink = Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{port}"]}))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.found: list[dict[str, Any]] = []
        self.queued: list[int] = []  # connections that wait for a trapper
        self.limit = 0

    def begin(self) -> None:
        """Watch."""
        self._thread.start()

    def end(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        sock_diag = SockDiag()
        while not self._stop.wait(EVERY_S):
            listener = sock_diag.sample(CountedPorts(listening=True)).listeners[self._port]
            self.queued.append(listener.waiting)
            self.limit = listener.limit
            try:
                data = self._uplink.ask({"request": "zabbix.stats"})["data"]
                queue = self._uplink.ask({"request": "zabbix.stats", "type": "queue", "params": {}})["queue"]
                self.found.append({**data, "queue": queue})
            except SenderError as error:
                print(f"the server did not say how it is: {error}", flush=True)

    def series(self, *path: str) -> list[float]:
        """One of its figures, over time."""
        return [float(_at(data, path)) for data in self.found]

    def rows(self) -> list[tuple[str, str, str]]:
        """Figure, mean, worst."""
        rows = [("values per second, as the server counts them", f"{self.rate():,.0f}", "")]
        for process in BUSY:
            busy = self.series("process", process, "busy", "avg")
            count = int(self.series("process", process, "count")[-1])
            rows.append((f"{process} ({count}), busy %", f"{mean(busy):.1f}", f"{max(busy):.1f}"))
        for name, path in CACHES:
            free = self.series(*path)
            rows.append((f"{name}, free %", f"{mean(free):.1f}", f"{min(free):.1f}"))
        waiting = self.series("preprocessing_queue")
        rows.append(("preprocessing queue, values", f"{mean(waiting):.1f}", f"{max(waiting):,.0f}"))
        delayed = self.series("queue")
        rows.append(
            ("queue of delayed items (trappers are never in it)", f"{mean(delayed):.1f}", f"{max(delayed):,.0f}")
        )
        waits = f"connections that wait for a trapper, of {self.limit:,} at most"
        rows.append((waits, f"{mean(self.queued):.1f}", f"{max(self.queued):,}"))
        return rows

    def rate(self) -> float:
        """Values per second that got into the history cache."""
        values, uptime = self.series("wcache", "values", "all"), self.series("uptime")
        return (values[-1] - values[0]) / max(uptime[-1] - uptime[0], 1)


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        data = data[name]
    return data
