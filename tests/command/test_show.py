"""The verb `show`: the same numbers as a sample, for eyes and for programs, without configuration or privileges."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND, tcp_status_sender
from sender.items import TCP_COUNTERS, TCP_EXT_COUNTERS
from sender.model import TcpState
from sender.settings.schema import PortSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a port with a listener whose accept queue is full: one waits where none may, and nobody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.create_connection(server.getsockname()):
        yield server.getsockname()[1]


def test_it_shows_every_state_and_port(port: int, config: Callable[..., Path]) -> None:
    """Each state has its line and its meaning, each port its queue; where the output is no terminal it is plain text."""
    done = tcp_status_sender(
        "show", "--config", config(9, ports={"listening": False, "local": [port, 9], "remote": [port]})
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert re.match(r"web-01  [\d,]+ TCP sockets, \d{4}-\d\d-\d\d ", lines[0])
    names = [line.split()[0] for line in lines if line and line.split()[0] in TcpState.__members__]
    assert names == list(TcpState.__members__)
    (ours,) = (line for line in lines if re.match(rf" *{port}  -        loopback", line))
    assert re.search(r" 1 +0 +0  █{12} full: connections are dropped$", ours.rstrip())
    (nobody,) = (line for line in lines if re.match(r" *9  ", line))
    assert nobody.rstrip().endswith("nobody listens")
    assert any(line.startswith("REMOTE PORT") for line in lines)


def test_what_is_over_the_limit_is_named(port: int, config: Callable[..., Path]) -> None:
    """Ports that nobody is shown are not passed over in silence."""
    with socket.create_server(("127.0.0.1", 0)):
        done = tcp_status_sender("show", "--config", config(9, ports={"limit": 1}))
    assert port
    last = done.stdout.rstrip().splitlines()[-1]
    assert re.fullmatch(r"over ports.limit of 1: [0-9, ]+( and \d+ more)?", last)


def test_json_has_the_same_for_programs(port: int, config: Callable[..., Path]) -> None:
    """States, ports with their queues, remote ports, the moment and how long it took."""
    path = config(9, ports={"listening": False, "local": [port, 9], "remote": [port], "states": ["ESTABLISHED"]})
    found = json.loads(tcp_status_sender("show", "--json", "--config", path).stdout)
    assert list(found["states"]) == list(TcpState.__members__)
    assert found["total"] == sum(count or 0 for count in found["states"].values())
    nobody, ours = found["ports"]
    assert nobody == {
        "port": 9,
        "service": "discard",
        "unit": None,
        "scope": None,
        "states": {"ESTABLISHED": 0},
        "queue": None,
        "drops": None,
    }
    assert ours == {
        "port": port,
        "service": None,
        "unit": None,
        "scope": "loopback",
        "states": {"ESTABLISHED": 1},
        "queue": {"waiting": 1, "limit": 0, "pused": 100.0, "peak": None},
        "drops": 0,
    }
    assert list(found["counters"]) == [*TCP_COUNTERS, *TCP_EXT_COUNTERS]
    assert found["counters"]["PassiveOpens"] > 0
    assert found["orphans"]["used"] is not None
    assert found["memory"]["used"] is not None
    assert found["remote_ports"] == [{"port": port, "service": None, "states": {"ESTABLISHED": 1}}]


def test_it_needs_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file it shows this host; in a C locale and on a narrow terminal too."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    monkeypatch.setenv("COLUMNS", "60")
    done = tcp_status_sender("show")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("^LISTEN +[0-9,]+  ", done.stdout, re.MULTILINE)
    assert "\\u" not in done.stdout


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1e3", "7200"])
def test_a_bad_pace_is_bad_usage(seconds: str) -> None:
    """`--watch` takes seconds, from a tenth to an hour."""
    done = tcp_status_sender("show", f"--watch={seconds}")
    assert done.returncode == 2
    assert "expected seconds from 0.1 to 3600" in done.stderr


def test_watch_draws_again_in_place(config: Callable[..., Path]) -> None:
    """On a terminal: page after page on the other screen, with lines of the last samples; Ctrl-C gives the screen back."""
    ours, theirs = pty.openpty()
    command = [COMMAND, "show", "--watch", "0.1", "--config", str(config(9))]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "50"}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        seen = ""
        while seen.count("LAST MINUTES") < 3:
            seen += os.read(ours, 65536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        try:
            while data := os.read(ours, 65536):
                seen += data.decode(errors="replace")
        except OSError:
            pass  # the other end is closed
        assert process.stderr
        assert process.stderr.read() == b""
    os.close(ours)
    assert process.returncode == 130
    assert seen.startswith("\x1b[?1049h")
    assert "\x1b[?1049l" in seen
    assert "▁" in seen
    assert "since the last page: " in seen


def watched(path: Path, environment: dict[str, str], *, pages: int) -> str:
    """So many pages of `show --watch` on a terminal."""
    ours, theirs = pty.openpty()
    command = [COMMAND, "show", "--watch", "0.1", "--config", str(path)]
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        seen = ""
        while seen.count(" TCP sockets, ") < pages:
            seen += os.read(ours, 65536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the other end is closed
            while os.read(ours, 65536):
                pass
    os.close(ours)
    return seen


@pytest.mark.parametrize("rows", [60, 40, 24, 18, 16, 5])
def test_a_terminal_may_be_low(config: Callable[..., Path], port: int, rows: int) -> None:
    """With more ports than rows, `--watch` shows the busiest, says how many more there are, and uses all rows."""
    quiet = [one for one in range(1, 30) if one != port]
    path = config(9, ports={"listening": False, "local": [*quiet, port], "remote": [1, 2]})
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": str(rows), "NO_COLOR": "1"}
    seen = watched(path, environment, pages=2)
    page = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen).split(" TCP sockets, ")[1].splitlines()
    ports = [line.split()[0] for line in page if re.match(r" *[0-9]+ ", line) and "more ports" not in line]
    notes = [line.split()[0] for line in page if "more ports, less busy: a higher terminal has room for them" in line]
    top = next(number for number, line in enumerate(page) if line.startswith("STATE"))  # the title may take two rows
    shown = 32 if rows == 60 else max(0, rows - top - 14)  # below the states' twelve, an empty one and the headings
    assert len(ports) == shown
    assert notes == ([str(32 - shown)] if shown < 32 else [])
    assert str(port) in ports or not shown


def test_a_dumb_terminal_has_page_after_page(config: Callable[..., Path]) -> None:
    """Where nothing can be drawn in place, nothing is."""
    assert "\x1b" not in watched(config(9), {**os.environ, "TERM": "dumb"}, pages=3)


def test_a_terminal_without_letters_for_bars_has_page_after_page(config: Callable[..., Path]) -> None:
    """There are none but in UTF-8."""
    seen = watched(config(9), {**os.environ, "PYTHONIOENCODING": "iso-8859-1"}, pages=3)
    assert "\\u" not in seen
    assert "#" in seen


@pytest.mark.parametrize("columns", [80, 100, 120, 150])
def test_a_terminal_may_be_narrow(config: Callable[..., Path], columns: int) -> None:
    """Names of states, counts and ports are whole at every width; what they mean, and bars, give way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path = config(9, ports={"listening": False, "local": [port]})
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "50", "NO_COLOR": "1"}
        command = [COMMAND, "show", "--config", str(path)]
        with subprocess.Popen(command, stdout=theirs, env=environment):
            os.close(theirs)
            seen = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while data := os.read(ours, 65536):
                    seen += data
        os.close(ours)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).splitlines()
    assert max(map(len, lines)) <= columns
    assert {line.split()[0] for line in lines if re.match("[A-Z_0-9]+ +([0-9,]+|-) ", line)} >= set(
        TcpState.__members__
    )
    (head,) = (line.split() for line in lines if "QUEUE" in line)
    assert [word for word in head if word in TcpState.__members__] == [state.name for state in PortSettings().states]
    (row,) = (line.split() for line in lines if line.split()[:1] == [str(port)])
    assert ("DROPS" in head) == (columns >= 100)
    assert row[head.index("ESTABLISHED") :][:5] == ["0"] * 5  # four states, and the queue; its limit follows


def test_watch_into_a_pipe_is_page_after_page(start: Callable[..., subprocess.Popen[str]]) -> None:
    """Nothing is drawn in place where there is no terminal."""
    process = start("show", "--watch", "0.1")
    assert process.stdout
    pages = 0
    for line in process.stdout:
        assert "\x1b" not in line
        pages += line.startswith("STATE")
        if pages == 3:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
