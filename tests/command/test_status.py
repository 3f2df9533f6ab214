"""`status`: what an admin learns of the spool while the daemon runs, when it does not, and when there is none."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from lab.command import tcp_status_sender, until
from lab.keys import FIRST
from lab.trapper import Trapper, counts
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


def test_while_the_daemon_runs(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]) -> None:
    """Destination by destination: what is queued, since when, last success, and why one fails; nothing is disturbed."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        path = config(dead.port, alive.port)
        process = start("run", "--config", path)
        until(process, "d0: delivery failed")
        alive.wait_for(2)
        done = tcp_status_sender("status", "--config", path)
        found = json.loads(tcp_status_sender("status", "--json", "--config", path).stdout)
        assert process.poll() is None
    assert (done.returncode, done.stderr) == (0, "")
    head, empty, titles, d0, d1, again, failing = done.stdout.splitlines()
    assert head.startswith(f"spool {path.parent}/spool.db, ")
    assert head.endswith(f"; the daemon runs, process {process.pid}")
    assert titles.split() == ["DESTINATION", "QUEUED", "SINCE", "LAST", "SUCCESS", "DROPPED", "REJECTED"]
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}"
    assert re.fullmatch(rf"d0 +\d+  {moment}  - +0 +0", d0)
    assert re.fullmatch(rf"d1 +\d+  (-  |{moment}) +{moment} +0 +0", d1)
    assert (empty, again) == ("", "")
    assert re.match(
        rf"d0: delivery fails since {moment}: 127\.0\.0\.1:{dead.port}: it closed the connection without", failing
    )
    first, second = found["destinations"]
    assert found["daemon_pid"] == process.pid
    assert first["nodes"] == [f"127.0.0.1:{dead.port}"]
    assert first["queued"] >= FIRST
    assert abs(first["queued_since"] - first["failing_since"]) <= 2
    assert first["last_success"] is None
    assert second["last_success"] >= first["queued_since"]
    assert second["last_error"] is None
    assert (first["dropped"], second["rejected"]) == (0, 0)


def test_when_no_daemon_runs(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]) -> None:
    """After the daemon has ended, what is queued is still to be seen; a destination that is new has nothing yet."""
    with Trapper(lambda _: b"") as dead:
        process = start("run", "--config", config(dead.port))
        until(process, "d0: delivery failed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        path = config(dead.port, 9)
    for _ in range(2):
        found = json.loads(tcp_status_sender("status", "--json", "--config", path).stdout)
        assert found["daemon_pid"] is None
        assert found["destinations"][0]["queued"] >= 18
        assert found["destinations"][1]["queued"] == 0
    assert "; no daemon runs" in tcp_status_sender("status", "--config", path).stdout


@pytest.mark.parametrize("keep", ["1h", "0s"])
def test_what_is_rejected(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], keep: str) -> None:
    """A destination that rejects everything does not look healthy: it has accepted nothing, and the reason has a line.

    Its samples are queued for an hour, or rejected at once where that is the setting.
    """
    with Trapper(lambda request: counts(0, len(request["data"]))) as trapper:
        path = config(trapper.port)
        settings = json.loads(path.read_text())
        path = config(trapper.port, spool={**settings["spool"], "keep_rejected": keep})
        process = start("run", "--config", path)
        until(process, f"d0: Zabbix rejects all {FIRST} values")
        trapper.wait_for(2)
        done = tcp_status_sender("status", "--config", path)
        found = json.loads(tcp_status_sender("status", "--json", "--config", path).stdout)["destinations"][0]
    assert done.stdout.endswith("\n\nd0: Zabbix rejects all values of host 'web-01' (see the log)\n")
    assert found["last_success"] is None
    assert found["failing_since"] is None
    where, other = ("queued", "rejected") if keep == "1h" else ("rejected", "queued")
    assert found[where] >= FIRST
    assert found[other] <= FIRST  # one that is just on its way


def test_a_name_that_the_terminal_cannot_show(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a C locale a destination's name is shown as far as it can be, without a traceback."""
    destination = {"name": "z\u00fcrich", "nodes": ["127.0.0.1:1"], "timeout": 1}
    path = config(destinations=[destination])
    until(start("run", "--config", path), "delivery failed")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert "z\\xfcrich" in tcp_status_sender("status", "--config", path).stdout


def test_where_there_is_nothing_to_see(config: Callable[..., Path], tmp_path: Path) -> None:
    """No spool yet, one in memory, one that is none: a sentence and exit code 1."""
    done = tcp_status_sender("status", "--config", config(9))
    assert done.returncode == 1
    assert "there is no spool" in done.stderr
    assert "Run the daemon with this configuration." in done.stderr
    assert not (tmp_path / "spool.db").exists()
    done = tcp_status_sender("status", "--config", config(9, spool={"path": ":memory:"}))
    assert (done.returncode, "only the daemon itself can read" in done.stderr) == (1, True)
    (tmp_path / "spool.db").write_bytes(b"noise" * 1000)
    done = tcp_status_sender("status", "--config", config(9))
    assert (
        done.returncode,
        "is damaged (file is not a database). The daemon renames it when it starts" in done.stderr,
    ) == (1, True)


def test_a_spool_that_cannot_be_read(config: Callable[..., Path], tmp_path: Path) -> None:
    """SQLite's reason is quoted; nobody is told to be root who is."""
    Spool(str(tmp_path / "spool.db"), ["d0"], Limits(max_age_s=60, max_bytes=2**20)).close()
    (tmp_path / "spool.db-wal").mkdir()
    done = tcp_status_sender("status", "--config", config(9))
    assert done.returncode == 1
    assert f"the spool cannot be read: {tmp_path}/spool.db: " in done.stderr
    assert ("as root" in done.stderr) == (os.geteuid() != 0)


def test_a_spool_below_a_file(config: Callable[..., Path]) -> None:
    """A path that cannot be is an error of that path, with what to do; the output is not to blame."""
    done = tcp_status_sender("status", "--config", config(9, spool={"path": "/etc/hostname/spool.db"}))
    assert (done.returncode, done.stdout) == (1, "")
    assert "/etc/hostname/spool.db cannot be read: Not a directory. Correct spool.path" in done.stderr
