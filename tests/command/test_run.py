"""`run`: the whole daemon, and `run --once`, against trappers that fail in a way of the test's choosing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND, tcp_status_sender, unit_environment, until
from lab.keys import FIRST, FIRST_KEYS, STEADY
from lab.trapper import MUTE, Trapper, counts
from sender import __version__
from sender.items import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
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
        assert len(one.host_values) == len(clocks) * len(STEADY)
        assert one.values == other.values
        assert process.stderr
        log = process.stderr.read()
    assert f"tcp-status-sender {__version__} started: host 'web-01', a sample every 1 s from " in log
    assert f", to d0 (127.0.0.1:{one.port}), d1 (127.0.0.1:{other.port})" in log
    assert "lost" not in log
    assert "d0: Zabbix accepts all values of host 'web-01'" in log
    assert f"stopping on {ending.name}" in log


def test_a_dead_destination_gets_it_all_later(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """While one destination answers nothing, the other gets every sample; when it returns, it gets them all, once."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        process = start("run", "--config", config(dead.port, alive.port))
        until(process, "d0: delivery failed")
        alive.wait_for(4)
        attempts = len(dead.requests)
        dead.answer = alive.answer  # this request, and all that follow, are accepted
        until(process, "d0: delivery works again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert [value for request in dead.requests[attempts:] for value in request["data"]] == alive.values
        assert len({value["clock"] for value in alive.host_values}) * len(STEADY) == len(alive.host_values)
        backlogs = [value["value"] for value in alive.values if value["key"] == "tcp.sender.backlog"]
        assert backlogs[:2] == ["0", str(FIRST)]
        assert FIRST + len(STEADY) <= int(backlogs[2]) <= FIRST + len(KEYS) + len(KEYS) - len(STEADY)


def test_what_waits_at_the_end_arrives_after_the_next_start(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Stopped while a destination is away, the daemon says how many values wait, and its next run delivers them."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        path = config(dead.port, alive.port)
        process = start("run", "--config", path)
        alive.wait_for(2)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        taken = list(alive.values)
        assert f"d0: stopped with {len(taken)} values queued in {path.parent}/spool.db" in log
        assert "d1: stopped" not in log
        dead.requests.clear()
        dead.answer = alive.answer
        process = start("run", "--config", path)
        dead.wait_for(1)
        assert dead.values[: len(taken)] == taken


def test_what_waits_in_memory_is_lost_and_said(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """With a spool in memory, the log says at the start what that means, and at the end how much was lost."""
    with Trapper(lambda _: b"") as dead:
        process = start("run", "--config", config(dead.port, spool={"path": ":memory:"}))
        log = until(process, "d0: delivery failed")
        process.send_signal(signal.SIGTERM)
        log += process.communicate(timeout=20)[1]
    assert "spool.path is :memory:, so queued values are lost when this daemon stops" in log
    assert "values queued; those in memory are lost" in log


def test_kill_loses_nothing(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]) -> None:
    """After kill -9 the next run delivers every sample that waited, with its own time, and goes on."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        path = config(dead.port, alive.port)
        process = start("run", "--config", path)
        alive.wait_for(3)
        process.kill()
        process.wait()
        dead.requests.clear()
        dead.answer = alive.answer
        start("run", "--config", path)
        dead.wait_for(2)
        alive.wait_for(5)
        arrived = [(value["clock"], value["ns"], value["key"]) for value in dead.values]
        assert len(arrived) == len(set(arrived))
        # What was answered for at the very moment of the kill is sent again, for nobody knows that it was.
        both = list(dict.fromkeys((value["clock"], value["ns"], value["key"]) for value in alive.values))
        assert len(alive.host_values) - sum(key in STEADY for *_, key in both) in (0, len(STEADY))
        count = min(len(arrived), len(both))
        assert arrived[:count] == both[:count]


def test_a_second_daemon_refuses_to_start(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Two daemons on one spool would lose and double samples: the second says who is there, exit code 1."""
    with Trapper() as trapper:
        path = config(trapper.port)
        process = start("run", "--config", path)
        until(process, "started")
        done = tcp_status_sender("run", "--config", path)
        assert tcp_status_sender("run", "--once", "--config", path).returncode == 0
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"is in use by process {process.pid}: a tcp-status-sender runs already" in done.stderr


def test_a_hangup_applies_the_changed_file(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """SIGHUP: another host, another destination, one gone, and nothing lost; a bad file is reported and nothing changes."""
    with Trapper() as stays, Trapper() as goes, Trapper() as comes:
        path = config(stays.port, goes.port)
        process = start("run", "--config", path)
        stays.wait_for(2)
        goes.wait_for(2)
        path.write_text("interval: loud\n")
        process.send_signal(signal.SIGHUP)
        log = until(process, "reload failed, the old configuration stays active")
        assert f"{path}: interval: is 'loud'; expected a duration" in log
        config(stays.port, comes.port, host="web-02")
        process.send_signal(signal.SIGHUP)
        until(process, "reloaded: host 'web-02'")
        comes.wait_for(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    clocks = [value["clock"] for value in stays.values if value["key"] == "tcp.status[TOTAL]"]
    assert clocks == list(range(clocks[0], clocks[-1] + 1))
    hosts = [value["host"] for value in stays.values]
    assert hosts == sorted(hosts)
    assert set(hosts) == {"web-01", "web-02"}
    assert [value for value in goes.values + comes.values if value["key"] == "tcp.status[TOTAL]"] == [
        value for value in stays.values if value["key"] == "tcp.status[TOTAL]"
    ]


def test_threads_share_their_memory(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the unit sets, glibc has one arena for all threads: each would keep what one of them once needed."""
    for name, value in unit_environment().items():
        monkeypatch.setenv(name, value)
    with Trapper() as one, Trapper() as other:
        path = config(one.port, other.port)
        process = start("run", "--config", path)
        for timeout in ("8s", "9s"):
            count = len(one.requests)
            one.wait_for(count + 1)
            settings = json.loads(path.read_text())
            for destination in settings["destinations"]:
                destination["timeout"] = timeout
            path.write_text(json.dumps(settings))
            process.send_signal(signal.SIGHUP)
            until(process, " reloaded: ")
        one.wait_for(len(one.requests) + 1)
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
    # Each but the first begins at a multiple of HEAP_MAX_SIZE, 64 MiB (glibc's malloc/arena.c).
    starts = [int(start, 16) for start in re.findall(r"^([0-9a-f]+)-\S+ rw-p 0+ 00:00 0 *$", mapped, re.MULTILINE)]
    assert starts
    assert [f"{start:x}" for start in starts if start % 2**26 == 0] == []


def test_a_reload_that_drops_a_destination_and_moves_the_spool(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], tmp_path: Path
) -> None:
    """A destination that is no longer in the file gets nothing more; another spool is for the next start, and that is said."""
    with Trapper() as stays, Trapper() as goes:
        process = start("run", "--config", config(stays.port, goes.port))
        goes.wait_for(1)
        config(stays.port, spool={"path": str(tmp_path / "new.db")})
        process.send_signal(signal.SIGHUP)
        moved = "spool.path changes at the next start; until then "
        assert f"{moved}{tmp_path}/spool.db stays in use. To keep what is queued in it" in until(process, " reloaded: ")
        reached = len(stays.requests)
        stays.wait_for(reached + 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        clocks = [max(value["clock"] for value in trapper.values) for trapper in (goes, stays)]
    assert clocks[0] <= clocks[1] - 2
    assert not (tmp_path / "new.db").exists()


def test_values_held_for_a_new_port_are_lost_with_the_daemon(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Where Zabbix has not made a port's items yet, the log says of which ports values went with the daemon."""

    def answer(request: dict[str, Any]) -> bytes:
        refused = sum(value["key"].endswith("9]") for value in request["data"])
        return counts(len(request["data"]) - refused, refused)

    with Trapper(answer) as trapper:
        process = start("run", "--config", config(trapper.port, ports={"listening": False, "local": [9]}))
        trapper.wait_for(3)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "d0: dropped the values held for new port 9, as this daemon stops" in log


def test_a_stopped_process_goes_on_and_says_what_is_missing(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """After SIGSTOP and SIGCONT samples go on at their times, and the log says how many are missing."""
    with Trapper() as trapper:
        process = start("run", "--config", config(trapper.port))
        trapper.wait_for(1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # that much is to be missing
        process.send_signal(signal.SIGCONT)
        log = until(process, "samples are missing: this process did not run for")
        trapper.wait_for(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr
        assert "Traceback" not in log + process.stderr.read()


def test_systemd_is_told_how_things_are(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY=1 once samples are taken, the state of each destination, WATCHDOG=1, RELOADING=1, STOPPING=1."""
    with Trapper(lambda _: b"") as dead, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = config(dead.port)
        systemd.bind(str(path.parent / "notify"))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path.parent / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        process = start("run", "--config", path)

        def told(words: str) -> str:
            while words not in (message := systemd.recv(4096).decode()):
                pass
            return message

        assert "STATUS=a sample every 1 s; d0: " in told("READY=1")
        told("WATCHDOG=1")
        assert f"values queued: 127.0.0.1:{dead.port}: it closed the connection" in told("values queued")
        process.send_signal(signal.SIGHUP)
        told("RELOADING=1\nMONOTONIC_USEC=")
        told("READY=1")
        process.send_signal(signal.SIGTERM)
        told("STOPPING=1")
        assert process.wait(20) == 0


def test_the_watchdog_is_not_fed_without_samples(config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon whose samples do not come to an end stops telling systemd that it is alive, though its main thread is."""
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, contextlib.ExitStack() as stack:
        stack.callback(os.close, read)
        stack.callback(os.close, write)
        path = config(9)
        systemd.bind(str(path.parent / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path.parent / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 16384)  # full after a sample or two, that nobody reads
        command = [COMMAND, "run", "--dry-run", "--config", str(path)]
        process = subprocess.Popen(command, stdout=write, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        fed = 0
        systemd.settimeout(5)
        with contextlib.suppress(TimeoutError):
            while True:
                fed += b"WATCHDOG=1" in systemd.recv(4096)
        assert fed > 5
        assert process.poll() is None


@pytest.mark.parametrize("before", [[], ["unshare", "--pid", "--fork"]], ids=["", "first process"])
def test_a_log_that_nobody_reads_does_not_hold_up_a_stop(config: Callable[..., Path], before: list[str]) -> None:
    """Where the standard error is a full pipe, a line waits for ever; SIGTERM ends the daemon all the same.

    The kernel spares the first process of a container, which is 1 in there, whatever signal it has no handler for.
    """
    read, write = os.pipe()
    with Trapper() as trapper, contextlib.ExitStack() as stack:
        stack.callback(os.close, read)
        stack.callback(os.close, write)
        process = subprocess.Popen([*before, COMMAND, "run", "--config", str(config(trapper.port))], stderr=write)
        stack.callback(process.wait)
        stack.callback(process.kill)
        trapper.wait_for(2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        daemon = int(children if before else process.pid)
        stack.callback(ended, daemon)
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"x")
        os.set_blocking(write, True)  # the pipe is one, for the daemon too
        trapper.wait_for(len(trapper.requests) + 2)
        os.kill(daemon, signal.SIGTERM)
        assert process.wait(15) == 1


def ended(process: int) -> None:
    """Let a process end that has not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def test_a_second_signal_ends_the_first_process_of_a_container(config: Callable[..., Path]) -> None:
    """At once, as it ends any other, though a destination hangs."""
    with Trapper(lambda _: MUTE) as trapper, contextlib.ExitStack() as stack:
        command = ["unshare", "--pid", "--fork", COMMAND, "run", "--config", str(config(trapper.port))]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        stack.callback(process.communicate)
        stack.callback(process.kill)
        trapper.wait_for(1)
        daemon = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        stack.callback(ended, daemon)
        os.kill(daemon, signal.SIGTERM)
        until(process, "stopping on SIGTERM")
        os.kill(daemon, signal.SIGTERM)
        assert process.wait(3) == 128 + signal.SIGTERM


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
    assert [value["key"] for value in one.values] == FIRST_KEYS


def test_once_fails_where_one_destination_does(config: Callable[..., Path]) -> None:
    """`run --once` delivers to the living destination, names the dead one and exits 1."""
    with Trapper(lambda _: b"") as dead, Trapper() as alive:
        done = tcp_status_sender("run", "--once", "--config", config(dead.port, alive.port))
    assert done.returncode == 1
    assert len(alive.requests) == 1
    assert (
        f"d0: delivery failed ({FIRST} values queued): 127.0.0.1:{dead.port}: it closed the connection" in done.stderr
    )


def test_once_fails_where_values_are_refused(config: Callable[..., Path]) -> None:
    """`run --once` exits 1 and says why where Zabbix refuses values; of a host's ports it then has nothing to promise."""
    ports = {"listening": False, "local": [1]}
    with Trapper(lambda request: counts(0, len(request["data"]))) as trapper:
        done = tcp_status_sender("run", "--once", "--config", config(trapper.port, ports=ports))
    assert done.returncode == 1
    assert f"d0: Zabbix rejects all {FIRST} values of host 'web-01'. " in done.stderr
    assert "items of port" not in done.stderr


def test_once_names_the_keys_that_are_refused(config: Callable[..., Path]) -> None:
    """`run --once` takes a second sample where some values are refused, and names their keys."""

    def answer(request: dict[str, Any]) -> bytes:
        refused = sum(value["key"] in ("tcp.status[CLOSING]", "tcp.sender.version") for value in request["data"])
        return counts(len(request["data"]) - refused, refused)

    with Trapper(answer) as trapper:
        done = tcp_status_sender("run", "--once", "--config", config(trapper.port))
    assert done.returncode == 1
    assert (
        f"d0: Zabbix rejected 2 of {FIRST} values of host 'web-01'. The next sample is sent key by key" in done.stderr
    )
    assert (
        "d0: Zabbix rejects these keys of host 'web-01': tcp.status[CLOSING], tcp.sender.version. Zabbix does not give a reason"
        in done.stderr
    )
    assert (
        len({(value["key"], value["clock"], value["ns"]) for value in trapper.values})
        == len(trapper.values)
        == 2 * FIRST
    )


def test_once_says_that_the_items_of_a_new_port_come_later(config: Callable[..., Path]) -> None:
    """`run --once` is well where nothing but the items of a port that was discovered just now is missing."""

    def answer(request: dict[str, Any]) -> bytes:
        refused = sum(value["key"].endswith("9]") for value in request["data"])
        return counts(len(request["data"]) - refused, refused)

    with Trapper(answer) as trapper:
        path = config(trapper.port, ports={"listening": False, "local": [9]})
        done = tcp_status_sender("run", "--once", "--config", path)
    assert (
        "d0: new: port 9. Zabbix creates their items within about a minute. Their values were not sent" in done.stderr
    )
    assert done.returncode == 0


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


def test_the_journal_hears_how_bad_it_is(config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd's journal reads, each line begins with its level as sd-daemon(3) has it, and has no time of its own."""
    read, write = os.pipe()
    with os.fdopen(read) as log, os.fdopen(write, "w") as errors:
        place = os.fstat(write)
        monkeypatch.setenv("JOURNAL_STREAM", f"{place.st_dev}:{place.st_ino}")
        for settings in ({}, {"interval": "loud"}):
            path = config(9, **settings)
            command = [COMMAND, "run", "--once", "--config", str(path)]
            subprocess.run(command, stderr=errors, check=False, timeout=60)
        errors.close()
        failed, lost, bad = log.read().splitlines()
    assert failed.startswith(f"<3>d0: delivery failed ({FIRST} values queued): ")
    assert lost.startswith("<3>values that were not delivered are dropped")
    assert bad.startswith(f"<3>{path}: interval: is 'loud'; expected a duration")


def test_what_an_agents_file_has_beyond_ours_is_said_once(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path], tmp_path: Path
) -> None:
    """What is not supported stands in the log at the start, and after a reload only if it is new; the reload reads anew."""
    agent = tmp_path / "agent.conf"
    with Trapper() as trapper:
        agent.write_text(f"Hostname=one,two\nServerActive=127.0.0.1:{trapper.port}\n")
        path = config()
        settings = {**json.loads(path.read_text()), "agent_config": str(agent)}
        path.write_text(json.dumps({key: settings[key] for key in settings if key not in ("host", "destinations")}))
        process = start("run", "--config", path)
        log = until(process, " started: host 'one', a sample every 1 s from ")
        assert log.count(f"WARNING {agent}: Hostname: only 'one' is used, not 'two'") == 1
        process.send_signal(signal.SIGHUP)
        assert "WARNING" not in until(process, " reloaded: host 'one', ")
        agent.write_text(agent.read_text().replace("one,two", "three,two"))
        process.send_signal(signal.SIGHUP)
        assert "Hostname: only 'three' is used" in until(process, " reloaded: host 'three', ")
        agent.write_text("")
        process.send_signal(signal.SIGHUP)
        until(process, f"the old configuration stays active: {agent}: ServerActive: missing; ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
