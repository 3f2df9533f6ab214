"""`python -m bench.drain`: how fast a backlog of 200,000 values gets into a real Zabbix server, as root.

The daemon with that backlog in its spool against `zabbix_sender -i` with the same values in a file, by turns, each time
for a host of its own; afterwards every value must be in the server's database once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.__main__ import machine
from bench.backlog import STEP_S, Backlog
from bench.contenders import SENDER
from bench.drainers import Row, daemon, zabbix_sender
from bench.report import draw
from lab.zabbix_stack import ZabbixStack
from sender.items import KEYS, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PROGRAMS = {"zabbix_sender": "zabbix-agent", "zabbix_server": "zabbix-server-pgsql", "php": "php-cli"}
MAX_MB = 100
HEADINGS = ("contender", "drain s", "values/s", "x zabbix_sender", "start s", "CPU s", "peak MB", "rows", "rounds")
NOTES = (
    "drain s: of the daemon from the line in its log that says it has started, as delivery begins then, to the line that",
    "says the last of the backlog was accepted, which comes after the spool has noted it on the disk; of zabbix_sender all.",
    "start s: what came before: Python, the libraries, and the check of the whole spool.",
    "CPU s: of the drain, user and system, without the server's. Server and database share the machine.",
    "rows: after each round, every value of the backlog was in the server's database, once.",
    "Medians, peak MB the highest; ratios are medians of those within a round. Each time a new host and an idle server.",
)


def table(rows: Sequence[Row], backlog: int) -> str:
    """Draw it."""
    cells = [
        (
            row.name,
            f"{median(each.drain_s for each in row.rounds):,.2f}",
            f"{row.rate(backlog):,.0f}",
            f"{row.ratio(rows[0]):,.2f}",
            f"{median(each.start_s for each in row.rounds):,.2f}",
            f"{median(each.cpu_s for each in row.rounds):,.2f}",
            f"{max(each.peak_mb for each in row.rounds):,.1f}",
            "ok" if all(each.right for each in row.rounds) else "WRONG",
            str(len(row.rounds)),
        )
        for row in rows
    ]
    return draw(HEADINGS, cells, words=1)


def targets(rows: Sequence[Row]) -> Iterator[str]:
    """Each target, and what was measured."""
    theirs, *ours = rows
    drains = [each for row in ours for each in row.rounds]
    fast = ", ".join(
        f"{row.ratio(theirs):.2f} ({row.ratio(theirs, with_start=True):.2f} with its start)" for row in ours
    )
    small = ", ".join(f"{max(each.peak_mb for each in row.rounds):.1f}" for row in ours)
    yield f"ours >= 1/3 of zabbix_sender's rate: {fast}: {verdict(min(row.ratio(theirs) for row in ours) >= 1 / 3)}"
    yield f"ours <= {MAX_MB} MB: {small}: {verdict(max(each.peak_mb for each in drains) <= MAX_MB)}"
    busy, idle = late(each.busy_ms for each in drains), late(each.idle_ms for each in drains)
    gaps = sum(each.missing for each in drains)
    yield f"ms from the second to its sample: {busy} while draining, {idle} idle; {gaps} samples missing"


def verdict(reached: bool) -> str:  # noqa: FBT001
    """In a word."""
    return "reached" if reached else "MISSED"


def late(drains: Iterable[Sequence[float]]) -> str:
    """Return the worst and the usual."""
    every = [ms for drain in drains for ms in drain]
    return f"at most {max(every):.1f}, median {median(every):.1f} of {len(every)}" if every else "not measured"


def race(zabbix: ZabbixStack, directory: Path, rows: Sequence[Row], samples: int, rounds: int) -> None:
    """Let everybody drain in each round, in an order that changes from round to round."""
    hosts = [[f"drain-{place}-{number}" for place in range(len(rows))] for number in range(rounds)]
    for host in chain.from_iterable(hosts):
        zabbix.create_host(host, [TEMPLATE])
    zabbix.wait_for_items(host)
    for number in range(rounds):
        turns = list(zip(rows, hosts[number], strict=True))
        first, step = number % len(rows), 1 if number % 2 else -1
        for row, host in [*turns[first:], *turns[:first]][::step]:
            own = directory / host
            own.mkdir()
            backlog = Backlog(host=host, samples=samples, newest=int(time.time()) - STEP_S)
            row.rounds.append(row.drain(zabbix, own, backlog))
            shutil.rmtree(own)
            print(f"round {number + 1}: {row.name}: {row.rounds[-1].drain_s:.2f} s", file=sys.stderr, flush=True)


def missing() -> str | None:
    """Say in one sentence what keeps the benchmark from running, if anything does."""
    if packages := sorted(package for program, package in PROGRAMS.items() if not shutil.which(program)):
        return f"The benchmark needs programs from Debian's packages {' '.join(packages)}: `make bench-drain` installs them."
    if not SENDER.exists():
        return f"The benchmark needs {SENDER}: install the project beside the Python that runs the benchmark."
    return None if os.geteuid() == 0 else "The benchmark needs root, for PostgreSQL and Zabbix."


def main() -> int:
    """Run the whole benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.drain", description=__doc__)
    parser.add_argument("--values", type=int, default=200_000, help="in the backlog, at least (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="default: %(default)s")
    arguments = parser.parse_args()
    if problem := missing():
        print(problem, file=sys.stderr)
        return 2
    samples = -(-arguments.values // len(KEYS))
    print(machine(), f"{samples * len(KEYS):,} values in {samples:,} samples", sep="\n", flush=True)
    rows = [
        Row("zabbix_sender -i", zabbix_sender),
        Row("ours: run", partial(daemon, compression=True)),
        Row("ours: run, plain", partial(daemon, compression=False)),
    ]
    template = subprocess.run([SENDER, "template"], check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as name, ZabbixStack(Path(name)) as zabbix:
        zabbix.import_template(template)
        race(zabbix, Path(name), rows, samples, arguments.rounds)
    print("", table(rows, samples * len(KEYS)), "", *NOTES, "", *targets(rows), sep="\n")
    return 0 if all(each.right for row in rows for each in row.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
