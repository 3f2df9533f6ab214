"""What `python -m bench.fleet` prints: tables of a run's figures. A run in, lines out."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from bench.fleet_hosts import SHARE
from bench.fleet_server import CHANGED, DEFAULTS
from bench.report import draw

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from bench.fleet_server import Watch

DAY_S = 86_400
NOTES = (
    "Values: each sample must have a row for each item in the server's database, and no row may be there twice; of the",
    "version, which does not change, Zabbix keeps one a day.",
    "Delay: each host sends at a moment of its own within half an interval after its sample, the same each time.",
    f"Fleet: the daemon's code, {SHARE} hosts to a process. Real daemon: the command, on the same sockets, in the same minutes.",
    "Memory: what the processes have, shared out among their hosts. Of the real daemon it is mostly Python and its libraries.",
    "Server: busy % and free % are the server's own figures (zabbix.stats); the worst is of one moment.",
    "Hosts, server and database share the machine; the database writes without fsync.",
)


@dataclass(kw_only=True)
class Run:
    """What was measured. Lists of dictionaries have an answer of each process (see fleet_hosts.Fleet.look)."""

    options: argparse.Namespace
    provision_s: float = 0
    settle_s: float = 0
    before: list[dict[str, Any]] = field(default_factory=list)
    after: list[dict[str, Any]] = field(default_factory=list)
    end: list[dict[str, Any]] = field(default_factory=list)
    window_s: float = 0
    cpu_s: dict[str, float] = field(default_factory=dict)
    daemon_samples: int = 0
    daemon_mb: float = 0
    wire_bytes: int = 0
    exchanges: list[tuple[int, int]] = field(default_factory=list)  # of the daemon: bytes of a request, of its answer
    watch: Watch | None = None
    sent: dict[str, dict[str, int]] = field(default_factory=dict)  # values, by host and key
    items: list[int] = field(default_factory=list)  # each number of items that a host has in Zabbix
    rows: int = 0
    lost: int = 0
    double: int = 0
    sizes: list[tuple[str, int, int, int]] = field(default_factory=list)  # table, rows, bytes, bytes of its indexes

    def total(self, name: str) -> float:
        """Over all processes, at the end."""
        return float(sum(answer[name] for answer in self.end))

    def grown(self, name: str) -> float:
        """Over all processes, in the time that is measured."""
        return float(sum(a[name] - b[name] for a, b in zip(self.after, self.before, strict=True)))

    def every(self, name: str) -> list[float]:
        """Of all processes, in the time that is measured."""
        return [number for answer in self.after for number in answer[name]]

    @property
    def is_right(self) -> bool:
        """Whether nothing was lost, refused or stored twice, and no sample is missing."""
        due = self.options.hosts * self.daemon_samples
        return (self.lost, self.double, self.total("rejected"), self.grown("samples")) == (0, 0, 0, due)


def report(run: Run) -> Iterator[str]:
    """All of it."""
    options, values = run.options, run.grown("values") / run.window_s
    rate = options.hosts / options.interval
    yield f"{options.hosts:,} hosts, a sample every {options.interval} s ({rate:,.1f} requests/s), {run.window_s / 60:.1f} minutes"
    items = " or ".join(map(str, run.items))
    yield f"each with {options.sockets:,} sockets and {options.ports} listening ports: {items} items in Zabbix"
    yield f"zabbix_server with {_settings(CHANGED)}; as it comes: {_settings(DEFAULTS)}"
    yield f"provisioned in {run.provision_s:.0f} s; {run.settle_s:.0f} s more until Zabbix had made the items of all ports"
    yield from section("Values", ("from the first sample to the last", "count"), kept(run))
    yield from section("Delay", ("ms", "median", "p99", "worst"), delays(run))
    yield from section("A host's cost", ("", "fleet", "real daemon", "fleet / real"), cost(run))
    if run.watch:
        yield from section(f"The server, every 5 s: {values:,.0f} values/s", ("", "mean", "worst"), run.watch.rows())
    yield from section("Processor time", ("", "cores", "s per million values"), processors(run))
    yield from section("Bytes", ("", "bytes"), sizes(run))
    yield from ("", *NOTES, "")
    yield "everything was right" if run.is_right else "WRONG: see the table of values"


def _settings(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def section(title: str, headings: Sequence[str], cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a title, and a table."""
    yield from ("", title, "", draw(headings, cells, words=1))


def kept(run: Run) -> list[tuple[str, str]]:
    """Return what became of every value."""
    due = run.options.hosts * run.daemon_samples
    early = run.total("declined") - run.total("rejected")
    return [
        ("samples due in the minutes measured", f"{due:,}"),
        ("samples taken in them", f"{run.grown('samples'):,.0f}"),
        ("samples taken in all", f"{run.total('samples'):,.0f}"),
        ("values taken", f"{run.total('values'):,.0f}"),
        ("values acknowledged", f"{run.total('accepted'):,.0f}"),
        ("values rejected", f"{run.total('rejected'):,.0f}"),
        ("values offered before Zabbix had the items of new ports, and again", f"{early:,.0f}"),
        ("requests without an answer, sent again", f"{run.total('unanswered'):,.0f}"),
        ("rows in the database", f"{run.rows:,}"),
        ("rows missing", f"{run.lost:,}"),
        ("rows double", f"{run.double:,}"),
    ]


def delays(run: Run) -> list[tuple[str, ...]]:
    """How long things took."""
    rows = (
        ("from the due moment to the sample: the hosts share a machine", run.every("late_ms")),
        ("from the sample to its acknowledgement, with the daemon's offset", run.every("delay_ms")),
        ("of that, the request: connection, values, answer", run.every("request_ms")),
    )
    return [
        (name, f"{median(found):,.1f}", f"{quantiles(found, n=100)[-1]:,.1f}", f"{max(found):,.1f}")
        for name, found in rows
    ]


def cost(run: Run) -> list[tuple[str, ...]]:
    """Of a host in the fleet, and of a daemon in a process of its own."""
    ours = 1e3 * run.grown("cpu_s") / run.grown("samples")
    real = 1e3 * run.cpu_s["daemon"] / run.daemon_samples
    memory = sum(answer["mb"] for answer in run.after) / run.options.hosts
    of_a_core = 0.1 / run.options.interval  # percent, of ms in an interval
    return [
        ("CPU ms per sample, delivery included", f"{ours:.2f}", f"{real:.2f}", f"{ours / real:.2f}"),
        ("% of a core", f"{ours * of_a_core:.3f}", f"{real * of_a_core:.3f}", ""),
        ("MB of memory", f"{memory:.2f}", f"{run.daemon_mb:.1f}", f"{memory / run.daemon_mb:.2f}"),
    ]


def processors(run: Run) -> list[tuple[str, ...]]:
    """Who used how much."""
    used = {"the fleet": run.grown("cpu_s")} | {name: run.cpu_s[name] for name in ("zabbix_server", "PostgreSQL")}
    values = run.grown("values")
    return [(name, f"{each / run.window_s:.2f}", f"{each / values * 1e6:.1f}") for name, each in used.items()]


def sizes(run: Run) -> list[tuple[str, str]]:
    """In the database, and on the wire."""
    rows = []
    for table, count, heap, index in run.sizes:
        each = f"{heap / count:.0f} + {index / count:.0f} = {(heap + index) / count:.0f}"
        rows.append((f"a value in {table}: table and index, of {count:,} rows", each))
    request, answer = (median(sizes) for sizes in zip(*run.exchanges[-run.daemon_samples :], strict=True))
    per_sample = run.wire_bytes / run.daemon_samples
    rows.append(("a sample's request, compressed", f"{request:,.0f}"))
    rows.append(("its answer", f"{answer:,.0f}"))
    rows.append(("a sample on the wire, both ways, with TCP, IP and Ethernet", f"{per_sample:,.0f}"))
    rows.append(("a host's day on the wire", f"{per_sample * DAY_S / run.options.interval:,.0f}"))
    return rows
