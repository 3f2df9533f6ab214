"""Who drains a backlog into Zabbix in `python -m bench.drain`, how each is timed, and how the outcome is checked."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

from bench.contenders import SENDER, peak_mb
from lab.command import unit_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from bench.backlog import Backlog
    from lab.zabbix_stack import ZabbixStack

STORED_WITHIN_S = 300
IDLE_S = 6
ROWS = """
select count(*), count(distinct (itemid, clock, ns))
from (select itemid, clock, ns from history
      union all select itemid, clock, ns from history_uint
      union all select itemid, clock, ns from history_str) as stored
join items using (itemid) join hosts using (hostid)
where host = '{host}' and clock <= {newest}
"""
TICKS = """
select clock, ns from history_uint join items using (itemid) join hosts using (hostid)
where host = '{host}' and key_ = 'tcp.status[TOTAL]' and clock > {newest} order by clock
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One drain of the backlog: what it took, and how late the samples taken meanwhile and afterwards were."""

    start_s: float = 0
    drain_s: float
    cpu_s: float
    peak_mb: float
    right: bool
    busy_ms: Sequence[float] = ()
    idle_ms: Sequence[float] = ()
    missing: int = 0  # samples


@dataclass(frozen=True, slots=True)
class Row:
    """A contender: its name, how it drains, and what came of it in each round."""

    name: str
    drain: Callable[[ZabbixStack, Path, Backlog], Drain]
    rounds: list[Drain] = field(default_factory=list)

    def rate(self, backlog: int) -> float:
        """Values per second, of the median round."""
        return backlog / median(each.drain_s for each in self.rounds)

    def ratio(self, other: Row, *, with_start: bool = False) -> float:
        """How many times the rate of `other`; the median of the rounds."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return median(theirs.drain_s / (ours.drain_s + with_start * ours.start_s) for ours, theirs in pairs)


def zabbix_sender(zabbix: ZabbixStack, directory: Path, backlog: Backlog) -> Drain:
    """Let `zabbix_sender -i` send the backlog from a file."""
    file = directory / "values"
    backlog.write_lines(file)
    before, highest, begin = resource.getrusage(resource.RUSAGE_CHILDREN), 0.0, time.perf_counter()
    command = ["zabbix_sender", "-z", "127.0.0.1", "-p", str(zabbix.trapper_port), "-T", "-N", "-i", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        highest = max(highest, peak_mb(process.pid))
        time.sleep(0.01)
    drain_s, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    right = process.returncode == 0 and is_stored(zabbix, backlog)
    return Drain(drain_s=drain_s, cpu_s=cpu_s, peak_mb=highest, right=right)


def daemon(zabbix: ZabbixStack, directory: Path, backlog: Backlog, *, compression: bool) -> Drain:
    """Start the daemon on a spool that holds the backlog; stop it when it has been idle for a while."""
    config, spool = directory / "config.yaml", directory / "spool.db"
    backlog.write_spool(spool)
    backlog.write_config(config, zabbix.trapper_port, spool, compression=compression)
    begin = time.perf_counter()
    command = ["setpriv", "--pdeathsig", "KILL", str(SENDER), "run", "--config", str(config), "--log-level", "debug"]
    environment = {**os.environ, **unit_environment()}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process, ExitStack() as stack:
        stack.callback(process.kill)
        log = cast("IO[str]", process.stderr)
        wait_for(log, r"tcp-status-sender \S+ (started)", 1)
        started, started_at, cpu_s = time.perf_counter(), time.time(), -cpu_seconds(process.pid)
        wait_for(log, r"accepted (\d+) values and refused 0$", len(backlog))
        ended, ended_at, cpu_s = time.perf_counter(), time.time(), cpu_s + cpu_seconds(process.pid)
        highest = peak_mb(process.pid)
        right = is_stored(zabbix, backlog)
        idle_at = time.time()
        time.sleep(IDLE_S)
        process.terminate()
        log.read()
    zabbix.wait_until(lambda: max(ticks(zabbix, backlog)) >= idle_at + IDLE_S - 1, "it has stored every sample", 30)
    late_ms = ticks(zabbix, backlog)
    return Drain(
        start_s=started - begin,
        drain_s=ended - started,
        cpu_s=cpu_s,
        peak_mb=highest,
        right=right,
        busy_ms=[ms for clock, ms in late_ms.items() if started_at <= clock <= ended_at],
        idle_ms=[ms for clock, ms in late_ms.items() if clock >= idle_at],
        missing=max(late_ms) - min(late_ms) + 1 - len(late_ms),
    )


def wait_for(log: IO[str], pattern: str, count: int) -> None:
    """Read on until the numbers that `pattern` finds add up to `count`; what is no number counts 1."""
    for line in log:
        if found := re.search(pattern, line):
            count -= int(found[1]) if found[1].isdecimal() else 1
            if count <= 0:
                return
        elif not re.search(r" (DEBUG|INFO) ", line):
            print(line, end="", file=sys.stderr)
    raise RuntimeError(f"the daemon ended before its log said {pattern}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_stored(zabbix: ZabbixStack, backlog: Backlog) -> bool:
    """Wait until the database holds as many rows as there are values; whether they are that many different ones."""
    rows: list[int] = []

    def are_there() -> bool:
        time.sleep(0.5)  # the question costs the server time
        ((count, different),) = zabbix.query(ROWS.format(host=backlog.host, newest=backlog.newest))
        rows[:] = int(count), int(different)
        return rows[0] >= len(backlog)

    zabbix.wait_until(are_there, f"it has stored the {len(backlog)} values of {backlog.host}", STORED_WITHIN_S)
    return rows == [len(backlog), len(backlog)]


def ticks(zabbix: ZabbixStack, backlog: Backlog) -> dict[int, float]:
    """How many ms after its whole second each live sample was taken, by that second."""
    rows = zabbix.query(TICKS.format(host=backlog.host, newest=backlog.newest))
    return {int(clock): int(ns) / 1e6 for clock, ns in rows}
