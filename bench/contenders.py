"""Who takes part, how each is timed, and how its count is checked. Runs in the namespace of the crowd."""

from __future__ import annotations

import http.client
import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from bench.crowd import LISTENING
from sender.items import TCP_COUNTERS, TCP_EXT_COUNTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    Taken = tuple[float, float, bool]  # seconds, those of the processor, and whether the count was right

TITLES = {"ours": "ours: sample()", "ports": "ours: sample(), 50 ports", "everything": "ours: sample(), all of it"}
SENDER = Path(sys.executable).with_name("tcp-status-sender")
EXPORTER = "prometheus-node-exporter"
EXPORTER_PORT = 9100
EXPORTER_FLAGS = "--collector.disable-defaults --collector.tcpstat --web.disable-exporter-metrics"
SS = "ss -tan | awk '{c[$1]++} END {for (s in c) print s, c[s]}'"
NETSTAT = "netstat -an | awk '/^tcp/ {c[$NF]++} END {for (s in c) print s, c[s]}' | grep -w STATE | cut -d ' ' -f 2"
SS_OWNERS = "ss -Htanp state established | grep -c pid="
NETSTATS = [NETSTAT.replace("STATE", state) for state in ("ESTABLISHED", "LISTEN", "TIME_WAIT")]


@dataclass
class Contender:
    """One way to count: how to do it once and to learn its peak memory, and, after the race, what came of it."""

    name: str
    timed: str
    take: Callable[[], Taken]
    peak: Callable[[], float]
    every: int = 1  # takes part in each n-th round
    seconds: list[float | None] = field(default_factory=list)  # by round, None where it sat out
    cpu_s: list[float | None] = field(default_factory=list)  # likewise
    right: bool = True
    peak_mb: float = 0


def peak_mb(pid: int) -> float:
    """Find the peak memory so far of the largest among process `pid` and its descendants.

    From VmHWM, which begins anew with exec; ru_maxrss goes on from the parent's.
    """
    try:
        own = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0  # it has ended
    return max([int(own[1]) * 1024 / 1e6 if own else 0, *(peak_mb(int(child)) for child in children)])


def ended_cpu_s() -> float:
    """Return what all child processes that have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Sampler:
    """A process of bench.samplers."""

    def __init__(self, stack: ExitStack, expected: Mapping[str, int], *names: str) -> None:
        """Start it; it ends with the stack."""
        self._expected = expected
        command = [sys.executable, "-m", "bench.samplers", *names]
        self._process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        self._names = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)

    def take(self, name: str) -> Taken:
        """Take one sample; the floor, which cannot count, must have drained enough bytes."""
        print(name, file=self._names, flush=True)
        seconds, cpu_s, counts = json.loads(self._answers.readline())
        enough = counts.pop("at most", 0) >= sum(self._expected.values())
        return seconds, cpu_s, enough or all(counts.get(state) == count for state, count in self._expected.items())

    def peak(self, name: str = "") -> float:
        """Tell its peak memory, after ten more samples if a name is given."""
        for _ in range(10 if name else 0):
            self.take(name)
        return peak_mb(self._process.pid)


def in_process(stack: ExitStack, expected: Mapping[str, int], name: str = "ours") -> list[Contender]:
    """Enter the floor and ours, by turns in one process, and each in a process of its own for its memory."""
    both, floor, ours = (Sampler(stack, expected, *names) for names in (("floor", name), ("floor",), (name,)))

    def take_floor() -> Taken:
        both.take("floor")  # the caches are those of whoever came before; both are timed with their own
        return both.take("floor")

    return [
        Contender("floor: drain only", "sample", take_floor, lambda: floor.peak("floor")),
        Contender(TITLES[name], "sample", lambda: both.take(name), lambda: ours.peak(name)),
    ]


def parts(stack: ExitStack) -> list[Contender]:
    """Enter what the daemon does beside the dump: a look at the listeners, the kernel's counters, another network namespace."""
    look = Sampler(stack, {"LISTEN": LISTENING}, "look")
    other = Sampler(stack, {"namespaces": 1}, "namespace")
    counters = Sampler(stack, {"counters": len(TCP_COUNTERS) + len(TCP_EXT_COUNTERS), "usage": 2}, "counters")
    return [
        Contender("ours: a look at the listeners", "look", lambda: look.take("look"), lambda: look.peak("look")),
        Contender("ours: the counters", "read", lambda: counters.take("counters"), lambda: counters.peak("counters")),
        Contender("ours: another namespace", "dump", lambda: other.take("namespace"), lambda: other.peak("namespace")),
    ]


def command(name: str, timed: str, argv: list[str], pattern: str, expected: int) -> Contender:
    """Enter a whole command; `pattern` finds its number of ESTABLISHED. An extra run is for its memory."""

    def take() -> Taken:
        begin, begin_cpu_s = time.perf_counter(), ended_cpu_s()
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            stdout = cast("IO[str]", process.stdout)
            output = stdout.readline()
            first = time.perf_counter()
            output += stdout.read()
        end = first if timed == "first line" else time.perf_counter()
        is_right = re.findall(pattern, output, re.MULTILINE)[:1] == [str(expected)]
        return end - begin, ended_cpu_s() - begin_cpu_s, is_right

    def peak() -> float:
        highest = 0.0
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                highest = max(highest, peak_mb(process.pid))
        return highest

    return Contender(name, timed, take, peak, every=3)


def exporter(stack: ExitStack, expected: int) -> Contender:
    """Enter node_exporter with nothing but tcpstat, started here; it ends with the stack, or with this process."""
    listen = f"--web.listen-address=127.0.0.1:{EXPORTER_PORT}"
    argv = ["setpriv", "--pdeathsig", "KILL", EXPORTER, *EXPORTER_FLAGS.split(), listen]
    process = stack.enter_context(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
    stack.callback(process.kill)

    def take() -> Taken:
        begin = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", EXPORTER_PORT)
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        text = connection.getresponse().read().decode()
        connection.close()
        seconds = time.perf_counter() - begin
        found = re.findall(r'state="established"\} (\S+)', text)
        is_right = [float(number) for number in found] == [expected + 2]  # with both ends of the scrape itself
        return seconds, seconds, is_right

    while process.poll() is None:
        try:
            take()
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    return Contender("node_exporter: tcpstat", "scrape", take, lambda: peak_mb(process.pid), every=3)


def who(count: int) -> Contender:
    """Enter what says whose sockets are today: it looks at every descriptor of every process, as root."""
    return command("ss -tanp, as root", "command", ["sh", "-c", SS_OWNERS], r"^(\d+)$", count)


def peers(stack: ExitStack, count: int) -> list[Contender]:
    """Enter ours as a command, what a start of Python takes, and what people count with today."""
    run = [str(SENDER), "run", "--dry-run", "--once"]
    agent = ["zabbix_agentd", "-c", "/dev/null", "-t", "net.tcp.socket.count[,,,,established]"]
    library = Sampler(stack, {"ESTABLISHED": count}, "pyroute2")
    yardstick = [sys.executable, "-c", f"import asyncio; print({count})"]
    return [
        command("ours: run --dry-run --once", "first line", run, r'\[ESTABLISHED\]"\W+value"\W+(\d+)', count),
        command("Python: import asyncio", "command", yardstick, r"^(\d+)$", count),
        command("ss, awk", "command", ["sh", "-c", SS], r"^ESTAB (\d+)$", count),
        command("netstat, awk: one item", "command", ["sh", "-c", NETSTATS[0]], r"^(\d+)$", count),
        command("netstat, awk: three items", "command", ["sh", "-c", "; ".join(NETSTATS)], r"^(\d+)$", count),
        command("zabbix_agentd -t", "command", agent, r"\[u\|(\d+)\]", count),
        exporter(stack, count),
        Contender("pyroute2 get_sock_stats()", "sample", lambda: library.take("pyroute2"), library.peak, every=9),
    ]
