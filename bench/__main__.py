"""`python -m bench`: builds each crowd in a network namespace of its own, runs the race there, prints the report.

It fails when a count was wrong or a target was missed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import re
import shutil
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from bench import libraries
from bench.contenders import EXPORTER, SENDER, in_process, parts, peers, who
from bench.crowd import DESTINATIONS, EACH, LISTENING, PROXY
from bench.living import daemon_mb
from bench.report import NOTES, Crowd, table
from bench.samplers import TRACKED
from bench.targets import Races, verdicts
from lab.namespace import Namespace

PACKAGES = {"ss": "iproute2", "netstat": "net-tools", "awk": "mawk", "zabbix_agentd": "zabbix-agent"}
MANY_PORTS = 30_000  # as the sockets bound to one port stand in one list
HALF = 10_000  # sockets in each of ESTABLISHED and TIME_WAIT
WHO_MOST = 200_000  # sockets: ss -p compares each with each, and takes more than ten minutes for a million


def missing() -> str | None:
    """Say in one sentence what keeps the benchmark from running, if anything does."""
    wanted = {**PACKAGES, EXPORTER: EXPORTER}
    if packages := sorted(package for program, package in wanted.items() if not shutil.which(program)):
        return f"The benchmark needs programs from Debian's packages {' '.join(packages)}: apt-get install them."
    if not SENDER.exists():
        return f"The benchmark needs {SENDER}: install the project beside the Python that runs the benchmark."
    return None if os.geteuid() == 0 else "The benchmark needs root, for network namespaces and TCP_REPAIR."


def machine() -> str:
    """Name kernel, processor and Python on one line."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = model[1] if model else platform.machine()
    return f"Linux {platform.release()}, {processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def enter(pid: int) -> None:
    """Move this thread, with every process that it starts from now on, to the network namespace of `pid`."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def most_of(sockets: int, ports: int) -> int:
    """Return how many local ports a proxy's crowd uses towards the destination that has most: one of IPv4."""
    clients = (number for number in range(sockets) if number % 8 >= 4 and number % 4)  # noqa: PLR2004
    return max(Counter(number // ports for number in clients).values())


def race(established: int, time_wait: int, rounds: int, *, ports: int = MANY_PORTS, clients: int = 0) -> Crowd:
    """Race everybody over a crowd that is all ESTABLISHED, on many ports; the floor and ours only over others."""
    expected = {"ESTABLISHED": established} | ({"TIME_WAIT": time_wait} if time_wait else {})
    title = " and ".join(f"{count:,} {state}" for state, count in expected.items()) + ", one in four IPv6"
    title += f", all of them on {ports} tracked ports" if ports == TRACKED else ""
    if clients:
        is_proxy = clients == PROXY
        title += f", half towards {DESTINATIONS} destinations" if is_proxy else ", towards a destination each"
        title += ", everything on"
        expected["used"] = most_of(established, ports) if is_proxy else 1
    is_for_all = not (time_wait or clients or ports == TRACKED)
    listening = LISTENING if is_for_all or clients else 0
    holder = [sys.executable, "-m", "bench.crowd", *map(str, (established, time_wait, ports, listening, clients))]
    with Namespace(holder) as namespace, ExitStack() as stack:
        enter(namespace.report["pid"])
        rows = in_process(stack, expected, "everything" if clients else "ports" if ports == TRACKED else "ours")
        rows += [who(established)] if clients == PROXY and established <= WHO_MOST else []
        beside = parts(stack) if is_for_all else []
        if is_for_all:
            rows += peers(stack, established)
        for number in range(rounds):
            for row in (*rows, *beside):
                seconds, cpu_s, right = row.take() if number % row.every == 0 else (None, None, True)
                row.seconds.append(seconds)
                row.cpu_s.append(cpu_s)
                row.right &= right
        for row in (*rows, *beside):
            row.peak_mb = row.peak()
        return Crowd(title=title, size=established + time_wait, rows=rows, daemon_mb=daemon_mb(), parts=beside)


def sizes(text: str) -> list[int]:
    """Read a list of sizes; smallest first."""
    return sorted(int(size) for size in text.split(","))


def main() -> int:
    """Run the whole benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--sockets", type=sizes, default="1000,10000,100000", help="crowds (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=33, help="default: %(default)s; commands run in every third only")
    parser.add_argument("--markdown", action="store_true", help="headings and lists for the README")
    arguments = parser.parse_args()
    if problem := missing():
        print(problem, file=sys.stderr)
        return 2
    heading, bullet = ("\n#### {}\n", "- {}") if arguments.markdown else ("\n{}", "{}")
    print(machine(), flush=True)
    crowds = []
    most = max(arguments.sockets)
    races = [(size, 0, MANY_PORTS, 0) for size in arguments.sockets]
    races += [(HALF, HALF, MANY_PORTS, 0), (most, 0, TRACKED, 0)]
    races += [(most, 0, max(2 * most // DESTINATIONS, 1), PROXY), (most, 0, MANY_PORTS, EACH)]
    for established, time_wait, ports, clients in races:
        crowds.append(race(established, time_wait, arguments.rounds, ports=ports, clients=clients))
        print(heading.format(crowds[-1].title), table(crowds[-1]), sep="\n", flush=True)
    print(heading.format("What was timed"), *map(bullet.format, NOTES), sep="\n")
    print(heading.format("What the libraries cost"), libraries.table(), sep="\n", flush=True)
    *alike, mixed, ported, owned, scattered = crowds
    found = verdicts(Races(crowds=alike, mixed=mixed, ported=ported, owned=owned, scattered=scattered))
    print(heading.format("Targets and figures"), *(bullet.format(line) for _, line in found), sep="\n")
    is_right = all(row.right for crowd in crowds for row in (*crowd.rows, *crowd.parts))
    return 0 if is_right and all(is_met for is_met, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
