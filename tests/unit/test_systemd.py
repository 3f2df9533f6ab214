"""The notify protocol, against real datagram sockets."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from sender.daemon.systemd import notify, reloading, watchdog_s

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a short path: a socket's address has room for 107 bytes."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Yield what systemd listens on, at an address of either kind, which is in NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind("" if request.param == "abstract" else str(directory / "notify"))  # "": the kernel picks a name
        name = os.fsdecode(listening.getsockname())
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield listening


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return an environment in which systemd has said nothing."""
    for name in ("NOTIFY_SOCKET", *WATCHDOG):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_all_assignments_travel_together(manager: socket.socket) -> None:
    """One call is one datagram, a line per assignment: systemd acts on all of them at once."""
    notify("READY=1", "STATUS=main works; größer")
    assert manager.recv(4096).decode() == "READY=1\nSTATUS=main works; größer"
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028"])
def test_a_value_stays_on_its_line(manager: socket.socket, end: str) -> None:
    """Text from elsewhere, as in an error, cannot become an assignment of its own."""
    notify(f"STATUS=refused{end}WATCHDOG=trigger")
    assert manager.recv(4096) == b"STATUS=refused WATCHDOG=trigger"


def test_text_that_is_no_utf_8_is_sent_all_the_same(manager: socket.socket) -> None:
    """An undecodable byte, as Python carries it in a file name, costs one character and not the message."""
    notify("STATUS=\udcff.yaml")
    assert manager.recv(4096) == b"STATUS=?.yaml"


def test_a_reload_carries_its_time(manager: socket.socket) -> None:
    """RELOADING=1 comes with the monotonic clock in microseconds: Type=notify-reload waits for it."""
    before = time.monotonic_ns() // 1000
    reloading()
    match = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.recv(4096))
    assert match
    assert before <= int(match[1]) <= time.monotonic_ns() // 1000


@pytest.mark.usefixtures("manager")
def test_a_full_socket_does_not_hold_us_up(caplog: pytest.LogCaptureFixture) -> None:
    """While systemd reads nothing, what does not fit is dropped, and only a debug line says so."""
    with caplog.at_level("DEBUG"):
        for _ in range(10_000):  # more than any net.unix.max_dgram_qlen in use
            notify("WATCHDOG=1")
            if caplog.records:
                break
    assert "WATCHDOG=1" in caplog.messages[0]
    assert caplog.records[0].levelname == "DEBUG"


@pytest.mark.parametrize("letter", ["x", "\u00e4", "\u6771"])
def test_a_message_too_long_is_cut(manager: socket.socket, letter: str) -> None:
    """Systemd ignores what is longer than 4096 bytes, or ends within a character: a hundred destinations may be down."""
    notify("STATUS=" + letter * 10_000_000)
    message = manager.recv(65536)
    assert 4090 < len(message) <= 4096
    assert message.decode() == "STATUS=" + letter * ((4096 - 7) // len(letter.encode()))


@pytest.mark.parametrize("address", ["", "notify", "vsock:2:1", "/nonexistent/notify", "@nobody", "/" + "x" * 200])
def test_where_nobody_listens_nothing_happens(environment: pytest.MonkeyPatch, address: str) -> None:
    """An address where nobody listens, or that is none, is not our trouble."""
    environment.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


@pytest.mark.usefixtures("environment")
def test_without_systemd_nothing_happens() -> None:
    """Where nobody asked, nothing is sent, and there is no watchdog."""
    notify("READY=1")
    assert watchdog_s() is None


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("60000000", None, 60.0),
        ("1500000", "ours", 1.5),
        ("60000000", "1", None),  # another process's: inherited from a parent that is watched
        ("60000000", "", None),
        ("0", None, None),
        ("-1", None, None),
        ("", None, None),
        ("60s", None, None),
        ("9" * 400, None, None),
        ("9" * 5000, None, None),
    ],
)
def test_the_watchdog_is_read(
    environment: pytest.MonkeyPatch, usec: str, pid: str | None, expected: float | None
) -> None:
    """Seconds between two signs of life, where they are asked of this process; nonsense asks for none."""
    environment.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        environment.setenv("WATCHDOG_PID", pid.replace("ours", str(os.getpid())))
    assert watchdog_s() == expected
