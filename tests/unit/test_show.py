"""What `show` makes of a figure that is unknown, and of sockets and connections that its table does not have."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sender.commands.check.kernel import TrialSampler, check_kernel
from sender.commands.daemon_state import DaemonState
from sender.commands.show import show
from sender.kernel.engines import PublishedPorts
from sender.kernel.sockstat import SocketStat
from sender.model import CountedPorts, TcpState
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sender.model import Listener


@pytest.fixture(autouse=True)
def close_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the machine not say how many sockets it has, so the kernel is not asked for CLOSE."""
    monkeypatch.setattr("sender.kernel.sockstat.SOCKSTAT", tmp_path / "none")


@pytest.fixture
def settings() -> Settings:
    """Return settings with a port of each kind that has CLOSE."""
    ports = {"listening": False, "local": [443], "remote": [5432], "states": ["CLOSE", "LISTEN"]}
    return Settings.model_validate({"host": "web-01", "ports": ports})


def test_an_unknown_count_is_a_dash(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A state that is unknown has no number, of the host nor of a port; never 0."""
    assert show.once(settings, as_json=False) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    (of_host,) = (row for row in rows if row[0] == "CLOSE")
    assert of_host[1] == "-"
    (local,) = (row for row in rows if row[0] == "443")
    assert ["-", "0"] in [local[place : place + 2] for place in range(len(local))]
    (remote,) = (row for row in rows if row[0] == "5432")
    assert remote[2:] == ["-", "0"]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Yield a port that somebody listens on, and let every port be one that a container engine publishes."""

    def marked(_: object, listeners: Mapping[int, Listener], __: object) -> Mapping[int, Listener]:
        return {port: replace(listener, is_published=True) for port, listener in listeners.items()}

    monkeypatch.setattr(PublishedPorts, "marked", marked)
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104
        yield server.getsockname()[1]


def test_a_published_port_is_explained(published: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Its zeros are no measurement: people are told where its connections are, and programs its scope."""
    settings = Settings.model_validate({"host": "web-01", "ports": {"listening": False, "local": [published]}})
    assert show.once(settings, as_json=False) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "connections are in" in line)
    assert row.startswith("scope container:")
    assert show.once(settings, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["ports"][0]["scope"] == "container"
    results, snapshot = check_kernel(CountedPorts(local=frozenset({published})), 1)
    assert snapshot is not None
    assert snapshot.listeners[published].scope == "container"
    sampler = TrialSampler(settings, DaemonState())
    sampler.take()
    (warning,) = (each for each in sampler.results if each.check == "published")
    assert (warning.result, str(published) in warning.found) == ("warn", True)
    assert "published" not in {each.check for each in results}


def test_sockets_in_no_state_are_shown(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in no row of the table, so they stand above it."""
    stat = SocketStat(time_wait=7, of_machine=9, unhashed=1500, mptcp=0)
    monkeypatch.setattr("sender.kernel.sock_diag.read_sockstat", lambda: stat)
    assert show.once(settings, as_json=False) == 0
    assert ", 1,500 in no state" in capsys.readouterr().out.splitlines()[0]
    assert show.once(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["unhashed"], found["time_wait_sockets"], found["mptcp"]["CLOSE_WAIT"]) == (1500, 7, 0)


def test_an_unknown_count_is_null(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs the state stays in its place, as null; the total is of the others."""
    assert show.once(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["states"]) == list(TcpState.__members__)
    assert found["states"].pop("CLOSE") is None
    assert found["total"] == sum(found["states"].values())
    assert found["ports"][0]["states"] == found["remote_ports"][0]["states"] == {"CLOSE": None, "LISTEN": 0}
