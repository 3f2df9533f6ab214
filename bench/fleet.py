"""`python -m bench.fleet`: 2,000 hosts report to one real Zabbix server for ten minutes, as root.

Each is the daemon's own code (see fleet_hosts.py); a real daemon runs beside them, for comparison. Afterwards each value
of each sample must be in the server's database once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from bench.__main__ import machine
from bench.contenders import SENDER
from bench.drain import missing
from bench.fleet_hosts import SHARE, resident_mb
from bench.fleet_report import Run, report
from bench.fleet_server import SETTINGS, Watch
from lab.command import unit_environment
from lab.namespace import Namespace, entered
from lab.relay import Relay
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Sequence

CALM = 0.9  # of an interval after which what was sampled at its beginning has been delivered; half is the latest
REAL = "fleet-real"
NEW_S = 1_800  # for Zabbix to make the items of the ports
STORED_S = 120
LOGIN = {"ZABBIX_USER": "Admin", "ZABBIX_PASSWORD": "zabbix"}
# Of each item of each host: its rows, and how many different moments are in them.
ROWS = """
select host, key_, count(clock), count(distinct (clock, ns)) filter (where clock is not null)
from hosts join items using (hostid) left join
  (select itemid, clock, ns from history union all select itemid, clock, ns from history_uint
   union all select itemid, clock, ns from history_str union all select itemid, clock, ns from history_text) as stored using (itemid)
where host ~ '^fleet-[0-9]' and items.flags in (0, 4) group by host, key_
"""
ONCE_A_DAY = "tcp.sender.version"  # the template drops what has not changed
SIZES = """
select relname, reltuples::bigint, pg_table_size(oid), pg_indexes_size(oid) from pg_class
where relname in ('history', 'history_uint') and reltuples > 0 order by 1
"""


class Worker:
    """A process with some of the hosts."""

    def __init__(self, stack: ExitStack, given: dict[str, Any]) -> None:
        """Start it; it ends with the stack."""
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.fleet_hosts", json.dumps(given)]
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        self._questions, self._answers = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)

    def ask(self, question: str) -> None:
        """Send the request; its answer is read later."""
        print(question, file=self._questions, flush=True)

    def answer(self) -> dict[str, Any]:
        """Return the next one."""
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer


def ask(workers: Sequence[Worker], question: str) -> list[dict[str, Any]]:
    """All of them at once."""
    for worker in workers:
        worker.ask(question)
    return [worker.answer() for worker in workers]


def provision(zabbix: ZabbixStack, directory: Path, names: Sequence[str]) -> float:
    """Make the hosts, as an admin would; the seconds that it took."""
    began = time.monotonic()
    (directory / "hosts").write_text("".join(f"{name}\n" for name in names))
    command = [str(SENDER), "provision", "--url", zabbix.web_url, "--hosts", str(directory / "hosts")]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env={**os.environ, **LOGIN})
    if done.returncode:
        raise RuntimeError(f"the hosts could not be made: {done.stdout[-2000:]}")
    return time.monotonic() - began


def start_real(stack: ExitStack, directory: Path, namespace: int, settings: dict[str, Any]) -> int:
    """Return the command itself, in the network namespace that all of them sample; its process."""
    config = directory / "real.yaml"
    config.write_text(json.dumps({**settings, "host": REAL, "spool": {"path": str(directory / "real.db")}}))
    command = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/{namespace}/ns/net"]
    log = stack.enter_context((directory / "real.log").open("w"))
    environment = {**os.environ, **unit_environment()}
    process = subprocess.Popen([*command, str(SENDER), "run", "--config", str(config)], stderr=log, env=environment)
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return process.pid


def cpu_s(pid: int) -> float:
    """Return what a process has used, to the nanosecond: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def loopback_bytes(pid: int) -> int:
    """Return what has passed over the loopback of a process's network namespace, all headers included."""
    found = re.search(r"lo:\s*(\d+)", Path(f"/proc/{pid}/net/dev").read_text())
    return int(found[1]) if found else 0


def wait_for_calm(interval_s: int) -> None:
    """Until what was sampled last is delivered, and the next sample is still to come."""
    now = time.time() / interval_s
    time.sleep((int(now) + CALM + (now % 1 > CALM) - now) * interval_s)


def say(text: str) -> None:
    """On standard error, for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(options: argparse.Namespace, zabbix: ZabbixStack, directory: Path, run: Run) -> None:
    """Run the whole life of the fleet."""
    names = [f"fleet-{number:04}" for number in range(1, options.hosts + 1)]
    run.provision_s = provision(zabbix, directory, [*names, REAL])
    zabbix.wait_for_items(REAL)
    say(f"{options.hosts} hosts were provisioned in {run.provision_s:.0f} s")
    crowd = [sys.executable, "-m", "bench.crowd", str(options.sockets), "0", "1000", str(options.ports)]
    with ExitStack() as stack:
        pid = stack.enter_context(Namespace(crowd)).report["pid"]
        with entered(pid):
            relay = Relay(zabbix.trapper_port)
        stack.enter_context(relay)
        ports = {"exclude": [relay.port], "ephemeral_after": "0s"}  # the crowd's ports are of that range
        settings = {"interval": options.interval, "ports": ports, "destinations": [nodes(zabbix.trapper_port)]}
        given = {"settings": settings, "namespace": pid, "directory": str(directory)}
        shares = [names[first : first + SHARE] for first in range(0, len(names), SHARE)]
        workers = [Worker(stack, {**given, "hosts": share}) for share in shares]
        for worker in workers:
            worker.answer()
        with ExitStack() as real:
            real_pid = start_real(real, directory, pid, {**settings, "destinations": [nodes(relay.port)]})
            ask(workers, "start")
            say(f"{len(workers)} processes with {SHARE} hosts at most each sample every {options.interval} s")
            settle(workers, relay, options, run)
            window(options, zabbix, workers, (real_pid, pid), run)
        answers = ask(workers, "stop")
        run.end = answers
        run.sent = dict(chain.from_iterable(answer["hosts"].items() for answer in answers))
        run.exchanges = [(len(exchange.request), len(exchange.answer)) for exchange in relay.answered]
    say("every sample is delivered; counting what is in the database")
    count(zabbix, run)


def nodes(port: int) -> dict[str, Any]:
    """Return a destination."""
    return {"name": "main", "nodes": [f"127.0.0.1:{port}"]}


def settle(workers: Sequence[Worker], relay: Relay, options: argparse.Namespace, run: Run) -> None:
    """Until no host waits for Zabbix to make the items of its ports, the real daemon neither."""
    began = time.monotonic()
    while True:
        wait_for_calm(options.interval)
        new = sum(answer["new"] for answer in ask(workers, "look"))
        last = [value["key"] for value in relay.answered[-1].values] if relay.answered else []
        new += sum(key.startswith("tcp.listen.queue[") for key in last) < options.ports
        run.settle_s = time.monotonic() - began
        if not new:
            return
        say(f"{new} hosts have nothing delivered yet, or ports whose items Zabbix has still to make")
        if run.settle_s > NEW_S:
            raise RuntimeError(f"Zabbix did not make the items of {new} hosts within {NEW_S} s")
        time.sleep(options.interval * 0.2)


def window(
    options: argparse.Namespace, zabbix: ZabbixStack, workers: Sequence[Worker], pids: tuple[int, int], run: Run
) -> None:
    """Wait for the minutes that are measured, from calm to calm."""
    watch = Watch(zabbix.trapper_port)
    real, namespace = pids
    say(f"measuring for {options.minutes:g} minutes")
    run.before = ask(workers, "begin")
    began, run.cpu_s = time.monotonic(), {**zabbix.cpu_s, "daemon": cpu_s(real)}
    run.wire_bytes = -loopback_bytes(namespace)
    watch.begin()
    intervals = round(options.minutes * 60 / options.interval)
    time.sleep(intervals * options.interval - 1)
    wait_for_calm(options.interval)
    watch.end()
    run.after = ask(workers, "look")
    run.window_s = time.monotonic() - began
    run.cpu_s = {name: now - run.cpu_s[name] for name, now in {**zabbix.cpu_s, "daemon": cpu_s(real)}.items()}
    run.wire_bytes += loopback_bytes(namespace)
    run.daemon_samples = intervals
    run.daemon_mb = resident_mb(real)
    run.watch = watch


def count(zabbix: ZabbixStack, run: Run) -> None:
    """Every row, when all that is to come has come."""
    deadline = time.monotonic() + STORED_S
    while True:
        run.lost = run.double = run.rows = 0
        items: dict[str, int] = {}
        for host, key, rows, moments in zabbix.query(ROWS):
            expected = 1 if key == ONCE_A_DAY else run.sent[host].get(key, 0)  # none of what Zabbix makes itself
            run.rows += int(rows)
            run.lost += max(0, expected - int(moments))
            run.double += int(rows) - int(moments)
            items[host] = items.get(host, 0) + 1
        run.items = sorted(set(items.values()))
        if not run.lost or time.monotonic() > deadline:
            break
        time.sleep(5)
    zabbix.query("analyze history")
    zabbix.query("analyze history_uint")
    run.sizes = [(table, int(rows), int(heap), int(index)) for table, rows, heap, index in zabbix.query(SIZES)]


def main() -> int:
    """Run the whole benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, default=2_000, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--interval", type=int, default=30, help="s between samples (default: %(default)s)")
    parser.add_argument("--sockets", type=int, default=1_000, help="on each host (default: %(default)s)")
    parser.add_argument("--ports", type=int, default=3, help="that each host listens on (default: %(default)s)")
    options = parser.parse_args()
    if problem := missing():
        print(problem, file=sys.stderr)
        return 2
    print(machine(), flush=True)
    run = Run(options=options)
    with tempfile.TemporaryDirectory() as name, ZabbixStack(Path(name), SETTINGS) as zabbix:
        measure(options, zabbix, Path(name), run)
    print(*report(run), sep="\n")
    return 0 if run.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
