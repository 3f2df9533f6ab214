"""`run --dry-run`: what would be sent, as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import COMMAND, tcp_status_sender, until
from lab.keys import FIRST_KEYS
from sender.items import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_dry_run_is_the_request_as_json() -> None:
    """One line of JSON, the very body that would be sent, with every key, and nothing else on either output."""
    done = tcp_status_sender("run", "--dry-run", "--once")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    request = json.loads(done.stdout)
    assert list(request) == ["request", "data"]
    assert request["request"] == "sender data"
    keys = [value["key"] for value in request["data"]]
    assert [key for key in keys if key in FIRST_KEYS] == FIRST_KEYS
    assert keys[: len(KEYS)] == list(KEYS)
    for value in request["data"]:
        assert list(value) == ["host", "key", "value", "clock", "ns"]
        assert (type(value["value"]), type(value["clock"]), type(value["ns"])) == (str, int, int)
        assert 1 <= value["ns"] <= 999_999_999
    assert len({(value["host"], value["clock"], value["ns"]) for value in request["data"]}) == 1


def test_a_lasting_dry_run_samples_again_and_again(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """One line of JSON after the other, each later than the one before, until SIGTERM, which is exit code 0; a reload counts."""
    process = start("run", "--dry-run", "--config", config(9))
    assert process.stdout
    clocks = [json.loads(process.stdout.readline())["data"][0]["clock"] for _ in range(3)]
    config(9, host="web-02")
    process.send_signal(signal.SIGHUP)
    while json.loads(process.stdout.readline())["data"][0]["host"] != "web-02":
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert clocks == sorted(set(clocks))


def test_a_lasting_dry_run_ends_with_its_reader(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """`run --dry-run | head -1` ends by itself, without a word."""
    process = start("run", "--dry-run", "--config", config(9))
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 0
    assert "Error" not in process.stderr.read()


def test_a_full_disk_under_a_lasting_dry_run(config: Callable[..., Path]) -> None:
    """A dry run that can no longer write ends, with one line, instead of failing at every interval."""
    with Path("/dev/full").open("w") as full:
        command = [COMMAND, "run", "--dry-run", "--config", str(config(9))]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("tcp-status-sender: cannot write the output: No space left on device\n")


def test_a_signal_ends_a_dry_run_that_nobody_reads(config: Callable[..., Path]) -> None:
    """Where the reader has stopped reading, so that a sample cannot be printed, SIGTERM still ends it within seconds."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    command = [COMMAND, "run", "--dry-run", "--config", str(config(9))]
    process = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True)
    try:
        until(process, "a sample every 1 s")
        blocked = Path(f"/proc/{process.pid}/task")
        deadline = time.monotonic() + 20
        while not any("pipe_write" in (task / "wchan").read_text() for task in blocked.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    finally:
        process.kill()
        os.close(read)
        os.close(write)
    assert process.returncode == 1
    assert "stopped during a sample" in log
