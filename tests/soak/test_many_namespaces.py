"""A daemon beside 200 network namespaces that come and go, for five minutes. Not part of `make test`: `make soak-namespaces`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from lab.command import COMMAND, unit_environment, until
from lab.many_namespaces import links, many
from lab.namespace import Namespace
from lab.trapper import Trapper
from lab.watched_daemon import Daemon, wait_until

MINUTES = float(os.environ.get("MINUTES", "5"))
MANY = 200
HELPER = "/run/tcp-status-sender-namespaces.sock"  # where the daemon looks for it
PLACE = 'mount -t tmpfs tmpfs /run && exec "$@"'  # a /run of its own
STAY_S = 12.0  # longer than from one look of the helper to the next
LATE_S = 0.5


def open_files(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def peak_kb(pid: int) -> int:
    """Return the most memory that a process has had resident, in KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


def test_the_daemon_beside_namespaces_that_come_and_go(tmp_path: Path) -> None:
    """No sample is late, each namespace ends with its container, and neither process keeps a descriptor of one."""
    config = tmp_path / "config.yaml"
    place = ["unshare", "--mount", "sh", "-ec", PLACE, "sh"]
    with Trapper() as trapper, Namespace() as outer, ExitStack() as stack:
        helper = subprocess.Popen(
            [*place, COMMAND, "namespaces", "--listen", HELPER], stderr=subprocess.PIPE, text=True
        )
        stack.callback(helper.communicate)
        stack.callback(helper.kill)
        until(helper, "network namespaces can be had")
        settings = {
            "interval": "1s",
            "destinations": [{"name": "main", "nodes": [trapper.node]}],
            "namespaces": {"report": True, "limit": 1000, "new_per_day": 1000},
            "spool": {"path": str(tmp_path / "spool.db")},
        }
        config.write_text(json.dumps(settings))
        environment = [f"{name}={value}" for name, value in unit_environment().items()]
        inside = ["nsenter", f"--mount=/proc/{helper.pid}/ns/mnt", "--", "env", *environment]
        daemon = Daemon([*inside, COMMAND, "run", "--config", str(config)])
        stack.callback(daemon.kill)
        trapper.wait_for(5)
        before, began = [open_files(helper.pid), open_files(daemon.process.pid)], time.monotonic()
        rounds, most = 0, 0
        while time.monotonic() - began < MINUTES * 60:
            with many(outer, MANY):
                end = time.monotonic() + STAY_S
                while time.monotonic() < end:
                    most = max(most, open_files(daemon.process.pid))
                    time.sleep(0.2)
            wait_until(lambda: links(outer) == 0, "every namespace has ended")
            rounds += 1
        wait_until(
            lambda: [open_files(helper.pid), open_files(daemon.process.pid)] == before, "their descriptors are closed"
        )
        peaks = {"helper": peak_kb(helper.pid), "daemon": peak_kb(daemon.process.pid)}
    taken = sorted({(value["clock"], value["ns"]) for value in trapper.values if value["key"] == "tcp.status[TOTAL]"})
    times = [clock + ns / 1e9 for clock, ns in taken]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    namespaces = Counter(value["key"] for value in trapper.values if value["key"].startswith("tcp.netns.status[EST"))
    sys.stdout.write(
        f"{rounds} rounds of {MANY} namespaces, {len(times)} samples, longest from one to the next {max(gaps):.2f} s; "
        f"{most} descriptors at most; VmHWM in KiB {peaks}; namespaces with values: {dict(namespaces)}\n"
    )
    assert rounds >= 2
    assert most > MANY
    assert max(gaps) < 1 + LATE_S
    assert len(times) >= times[-1] - times[0]
    assert namespaces
