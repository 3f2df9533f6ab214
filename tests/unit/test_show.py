"""What `show` makes of a figure that is unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sender.commands.show import show
from sender.model import TcpState
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from pathlib import Path


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


def test_an_unknown_count_is_null(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs the state stays in its place, as null; the total is of the others."""
    assert show.once(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["states"]) == list(TcpState.__members__)
    assert found["states"].pop("CLOSE") is None
    assert found["total"] == sum(found["states"].values())
    assert found["ports"][0]["states"] == found["remote_ports"][0]["states"] == {"CLOSE": None, "LISTEN": 0}
