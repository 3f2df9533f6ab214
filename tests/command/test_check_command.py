"""`check` as a command: its exit codes, its output, beside a daemon, and how it ends early."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import tcp_status_sender
from lab.findings import checks, elsewhere, one, results
from lab.keys import FIRST, FIRST_KEYS, STEADY
from lab.trapper import MUTE, Trapper

if TYPE_CHECKING:
    from collections.abc import Callable


def test_all_is_well(config: Callable[..., Path]) -> None:
    """Exit code 0; every check has a line; the destination got one sample, with each key once and the host's own values."""
    with Trapper() as trapper:
        path = config(trapper.port)
        done = tcp_status_sender("check", "--config", path)
        values = trapper.values
        found = json.loads(tcp_status_sender("check", "--json", "--config", path).stdout)
    assert found["ok"]
    assert done.stdout.count("\nok ") >= len(elsewhere(found["checks"])) == 8
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines, empty, last = done.stdout.splitlines()
    assert head.split() == ["RESULT", "CHECK", "WHERE", "FOUND"]
    assert [line.split()[:2] for line in lines if not line.startswith(" ") and "namespace" not in line] == [
        ["ok", check] for check in ("config", "kernel", "ports", "spool", "connection", "protocol", "host", "keys")
    ]
    assert (empty, last.startswith(f"{len(found['checks'])} checks: ")) == ("", True)
    text = " ".join(done.stdout.split())
    assert f"{path}; host 'web-01'" in text
    assert re.search(r"kernel here [0-9,]+ sockets, IPv4 and IPv6 in one walk, every 1 s \([0-9.]+ ms\)", text)
    assert f"connection d0 127.0.0.1:{trapper.port} 127.0.0.1 (" in text
    assert f"each of {FIRST} keys is accepted" in text
    assert [value["key"] for value in values] == FIRST_KEYS
    assert abs(values[0]["clock"] - time.time()) < 60


def test_a_bad_configuration(tmp_path: Path) -> None:
    """Each of its problems is a failed check; the kernel is looked at all the same."""
    path = tmp_path / "config.yaml"
    path.write_text("intervall: 3\nlog_level: loud\n")
    assert tcp_status_sender("check", "--config", path).returncode == 1
    config, other, kernel, spool, destinations = checks(path, 1)
    assert config["found"] == f"{path}: log_level: is 'loud'; expected 'debug', 'info', 'warning' or 'error'"
    assert other["found"] == f"{path}: intervall: unknown key; did you mean 'interval'?"
    assert [each["result"] for each in (config, other, kernel, spool, destinations)] == [
        *("fail", "fail", "ok", "skip", "skip")
    ]


def test_where_the_kernel_refuses(config: Callable[..., Path]) -> None:
    """The kernel's refusal is a failed check; destinations are looked at all the same, though there is nothing to send."""
    with Trapper() as trapper:
        program = (
            "import errno, socket, sys\n"
            "from lab.seccomp import refuse_family\n"
            "from sender.cli import main\n"
            "refuse_family(socket.AF_NETLINK, errno.EAFNOSUPPORT)\n"
            f"sys.exit(main(['check', '--json', '--config', {str(config(trapper.port))!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
        assert not [request for request in trapper.requests if request.get("data")]
    findings = json.loads(done.stdout)["checks"]
    assert (done.returncode, done.stderr) == (1, "")
    assert results(findings) == {
        "config": "ok",
        "kernel": "fail",
        "spool": "ok",
        "connection": "ok",
        "protocol": "ok",
        "host": "skip",
        "keys": "skip",
    }
    assert "add it to RestrictAddressFamilies= of the unit" in one(findings, "fail")["advice"]


def test_a_daemon_that_runs(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]) -> None:
    """It keeps its spool, undisturbed; what the sample says of it is true: its uptime, and what waits."""
    with Trapper() as alive, Trapper(lambda _: b"") as dead:
        path = config(alive.port, dead.port)
        process = start("run", "--config", path)
        alive.wait_for(4)
        asked = len(alive.requests)
        findings = checks(path, 1)
        sample = next(request["data"] for request in alive.requests[asked:] if len(request.get("data", [])) == FIRST)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    values = {value["key"]: int(value["value"]) for value in sample if value["key"].startswith("tcp.sender.u")}
    backlog = next(int(value["value"]) for value in sample if value["key"] == "tcp.sender.backlog")
    (spool,) = [each for each in findings if each["check"] == "spool"]
    assert (spool["result"], spool["found"]) == (
        *("ok", f"{path.parent}/spool.db is in use by the daemon, process {process.pid}"),
    )
    assert 2 <= values["tcp.sender.uptime"] <= 60
    assert backlog >= 2 * len(STEADY)


def test_a_full_disk_under_the_output(config: Callable[..., Path]) -> None:
    """Output that cannot be written is an error in one line, exit code 1."""
    with Trapper() as trapper, Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "sender", "check", "--config", str(config(trapper.port))]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (
        *(1, "tcp-status-sender: cannot write the output: No space left on device\n"),
    )


def test_an_interrupted_check_leaves_no_traceback(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Ctrl-C while a destination says nothing ends it with exit code 130."""
    with Trapper(lambda _: MUTE) as mute:
        process = start("check", "--config", config(destinations=[{"nodes": [f"127.0.0.1:{mute.port}"], "timeout": 3}]))
        mute.wait_for(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr
        assert process.stderr.read() == ""
