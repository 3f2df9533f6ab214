"""The command as a user types it: output, errors and exit codes of the installed script."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sender import __version__
from sender.items import KEYS
from support.trapper import Trapper, counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = Path(sysconfig.get_path("scripts")) / "tcp-status-sender"
REPOSITORY = Path(__file__).parents[2]

Run = subprocess.CompletedProcess[str]


def tcp_status_sender(*arguments: str | Path) -> Run:
    """Run the command to its end; whatever it says, it must not be a traceback."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command and gives the process, which the end of the test kills."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration for host web-01 every second, to the given ports as destinations d0, d1 and so on."""

    def config(*ports: int, **settings: Any) -> Path:
        destinations = [{"name": f"d{n}", "nodes": [f"127.0.0.1:{port}"]} for n, port in enumerate(ports)]
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({"host": "web-01", "interval": 1, "destinations": destinations, **settings}))
        return path

    return config


def until(process: subprocess.Popen[str], words: str) -> str:
    """The log up to and with the first line that holds `words`."""
    assert process.stderr
    log = ""
    for line in process.stderr:
        log += line
        if words in line:
            return log
    raise AssertionError(f"{words!r} never came:\n{log}")


def test_a_dry_run_is_the_request_as_json() -> None:
    """One line of JSON, the very body that would be sent, with every key, and nothing else on either output."""
    done = tcp_status_sender("run", "--dry-run", "--once")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    request = json.loads(done.stdout)
    assert list(request) == ["request", "data"]
    assert request["request"] == "sender data"
    assert [value["key"] for value in request["data"]] == list(KEYS)
    for value in request["data"]:
        assert list(value) == ["host", "key", "value", "clock", "ns"]
        assert (type(value["value"]), type(value["clock"]), type(value["ns"])) == (str, int, int)
        assert 1 <= value["ns"] <= 999_999_999
    assert len({(value["host"], value["clock"], value["ns"]) for value in request["data"]}) == 1


def test_a_lasting_dry_run_samples_again_and_again(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """One line of JSON after the other, each later than the one before, until SIGTERM, which is exit code 0."""
    process = start("run", "--dry-run", "--config", config(9))
    assert process.stdout
    clocks = [json.loads(process.stdout.readline())["data"][0]["clock"] for _ in range(3)]
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


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_daemon_delivers_and_stops(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], ending: signal.Signals
) -> None:
    """Every sample arrives at each destination, once, in order; a signal ends it within seconds, code 0."""
    with Trapper() as one, Trapper() as other:
        process = start("run", "--config", config(one.port, other.port))
        one.wait_for(3)
        other.wait_for(3)
        process.send_signal(ending)
        assert process.wait(5) == 0
        clocks = [value["clock"] for value in one.values if value["key"] == "tcp.status[TOTAL]"]
        assert clocks == sorted(set(clocks))
        assert len(one.values) == len(clocks) * len(KEYS)
        assert one.values == other.values
        assert process.stderr
        log = process.stderr.read()
    assert f"tcp-status-sender {__version__}: host 'web-01', a sample every 1 s from " in log
    assert f", to d0 (127.0.0.1:{one.port}), d1 (127.0.0.1:{other.port})" in log
    assert "lost" not in log
    assert "d0 accepts every value of host 'web-01'" in log
    assert f"stopping on {ending.name}" in log


def test_a_dead_destination_gets_it_all_later(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """While one destination answers nothing, the other gets every sample; when it returns, it gets them all, once."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        process = start("run", "--config", config(dead.port, alive.port))
        until(process, "delivery to d0 failed")
        alive.wait_for(4)
        attempts = len(dead.requests)
        dead.answer = alive.answer  # this request, and all that follow, are accepted
        until(process, "delivery to d0 works again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert [value for request in dead.requests[attempts:] for value in request["data"]] == alive.values
        assert len({value["clock"] for value in alive.values}) * len(KEYS) == len(alive.values)
        backlogs = [value["value"] for value in alive.values if value["key"] == "tcp.sender.backlog"]
        assert backlogs[:3] == ["0", str(len(KEYS)), str(2 * len(KEYS))]


def test_what_is_lost_at_the_end_is_said(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Stopped while a destination is away, the daemon says how many values are lost with it."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        process = start("run", "--config", config(dead.port, alive.port))
        alive.wait_for(2)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        count = len(alive.values)
    assert f"stopped with {count} values undelivered to d0: they are lost" in log
    assert "undelivered to d1" not in log


def test_silent_destinations_do_not_add_up(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """However many destinations hang in the middle of a request, the daemon stops within seconds."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Trapper()) for _ in range(4)]
        for each in silent:
            each.answer = lambda _, each=each: each.closing.wait() and b""  # type: ignore[misc]
        path = config(*(each.port for each in silent))
        path.write_text(path.read_text().replace('"nodes"', '"timeout": "1m", "nodes"'))
        process = start("run", "--config", path)
        for each in silent:
            each.wait_for(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_once_delivers_once(config: Callable[..., Path]) -> None:
    """`run --once` sends one sample to every destination and exits 0."""
    with Trapper() as one, Trapper() as other:
        done = tcp_status_sender("run", "--once", "--config", config(one.port, other.port))
    assert done.returncode == 0, done.stderr
    assert len(one.requests) == len(other.requests) == 1
    assert one.requests == other.requests
    assert [value["key"] for value in one.values] == list(KEYS)


def test_once_fails_where_one_destination_does(config: Callable[..., Path]) -> None:
    """`run --once` delivers to the living destination, names the dead one and exits 1."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        done = tcp_status_sender("run", "--once", "--config", config(dead.port, alive.port))
    assert done.returncode == 1
    assert len(alive.requests) == 1
    assert f"delivery to d0 failed, 18 values undelivered: 127.0.0.1:{dead.port} closed the connection" in done.stderr


def test_once_fails_where_values_are_refused(config: Callable[..., Path]) -> None:
    """`run --once` exits 1 and says why where Zabbix refuses values."""
    with Trapper(lambda request: counts(0, len(request["data"]))) as trapper:
        done = tcp_status_sender("run", "--once", "--config", config(trapper.port))
    assert done.returncode == 1
    assert "d0 refused all 18 values of host 'web-01'; they are lost" in done.stderr


def test_once_can_be_interrupted(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]) -> None:
    """Ctrl-C while a destination is silent ends `run --once` with 130, as a shell expects, and without a word."""
    with Trapper() as silent:
        silent.answer = lambda _: silent.closing.wait() and b""
        process = start("run", "--once", "--config", config(silent.port))
        silent.wait_for(1)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert (process.returncode, log) == (130, "")


@pytest.mark.parametrize(
    ("settings", "flags", "shown"),
    [({}, [], True), ({"log_level": "error"}, [], False), ({"log_level": "error"}, ["--log-level", "info"], True)],
)
def test_the_log_level(config: Callable[..., Path], settings: dict[str, str], flags: list[str], *, shown: bool) -> None:
    """The level comes from the config, and the command line wins over it."""
    with Trapper() as trapper:
        done = tcp_status_sender("run", "--once", "--config", config(trapper.port, **settings), *flags)
    assert ("INFO" in done.stderr) == shown


def test_a_bad_config_is_listed_whole(tmp_path: Path) -> None:
    """Exit code 2, nothing on standard output, and every problem as `FILE: path.to.key: what is wrong`."""
    path = tmp_path / "config.yaml"
    path.write_text("intervall: 3\nlog_level: loud\nhost: a\nhost: b\n")
    done = tcp_status_sender("run", "--dry-run", "--once", "--config", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{path}: host: stands a second time in line 4; expected once",
        f"{path}: log_level: is 'loud'; expected 'debug', 'info', 'warning' or 'error'",
        f"{path}: intervall: unknown key; did you mean 'interval'?",
    ]


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF\x00\xff", b"host: [", b"- 1"])
def test_an_unusable_config_is_exit_code_2(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, binary, broken or of another shape: exit code 2 and one line."""
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    done = tcp_status_sender("run", "--config", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["rum"], ["run", "--onec"], ["run", "--log-level", "loud"], ["template", "x"]]
)
def test_bad_usage_is_exit_code_2(arguments: list[str]) -> None:
    """What the command does not know is said, with its usage."""
    done = tcp_status_sender(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: tcp-status-sender")


def test_help_and_version() -> None:
    """--help lists every command and the exit codes; --version is the distribution's."""
    done = tcp_status_sender("--help")
    assert done.returncode == 0
    for word in ("run", "template", "exit codes"):
        assert word in done.stdout
    assert tcp_status_sender("--version").stdout == f"tcp-status-sender {__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_template_is_the_one_in_the_repository() -> None:
    """The installed wheel prints the very file that the repository offers for import."""
    bundled = (REPOSITORY / "templates" / "tcp_states_template.xml").read_text(encoding="utf-8")
    for arguments in (["template"], ["template", "--format", "6.0"]):
        done = tcp_status_sender(*arguments)
        assert (done.returncode, done.stdout) == (0, bundled)


@pytest.mark.parametrize("arguments", [["run", "--dry-run", "--once"], ["template"]])
def test_a_full_disk_under_the_output(arguments: list[str]) -> None:
    """Output that cannot be written is an error in one line, exit code 1."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "tcp-status-sender: cannot write the output: No space left on device\n"


def test_a_full_disk_under_a_lasting_dry_run(config: Callable[..., Path]) -> None:
    """A dry run that can no longer write ends, with one line, instead of failing at every interval."""
    with Path("/dev/full").open("w") as full:
        command = [str(COMMAND), "run", "--dry-run", "--config", str(config(9))]
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
    command = [str(COMMAND), "run", "--dry-run", "--config", str(config(9))]
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
    assert "stopped in the middle of a sample" in log


def test_a_reader_that_has_seen_enough() -> None:
    """`template | head -1` is no error."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([COMMAND, "template"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", ["run --dry-run --once", "template", "--help"])
def test_a_closed_output_is_no_traceback(arguments: str) -> None:
    """Started without a standard output, as some supervisors do, the command runs as ever."""
    shell = ["sh", "-c", f"exec {COMMAND} {arguments} >&-"]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_as_a_module(tmp_path: Path) -> None:
    """`python -m sender` is the same command."""
    command = [sys.executable, "-m", "sender", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"tcp-status-sender {__version__}\n"
