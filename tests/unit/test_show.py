"""What `show` makes of a figure that is unknown, and of sockets and connections that its table does not have."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sender.commands.check.kernel import TrialSampler, check_kernel
from sender.commands.daemon_state import DaemonState
from sender.commands.show import show
from sender.commands.show.events import since_last_page
from sender.commands.show.plain import plain
from sender.commands.show.tables import destination_lines, local_table, unit_table
from sender.kernel.engines import PublishedPorts
from sender.kernel.sockstat import SocketStat
from sender.model import CountedPorts, EphemeralPorts, Listener, Look, Reported, Snapshot, TcpState, Usage
from sender.settings import section
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@pytest.fixture(autouse=True)
def close_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the machine not say how many sockets it has, so the kernel is not asked for CLOSE."""
    monkeypatch.setattr("sender.kernel.sockstat.SOCKSTAT", tmp_path / "none")


@pytest.fixture
def settings() -> Settings:
    """Return settings with a port of each kind that has CLOSE."""
    ports = {"listening": False, "local": [443], "remote": [5432], "states": ["CLOSE", "LISTEN"]}
    return section.read(Settings, {"host": "web-01", "ports": ports})


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
    settings = section.read(Settings, {"host": "web-01", "ports": {"listening": False, "local": [published]}})
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
    stat = SocketStat(time_wait=7, of_machine=9, unhashed=1500, mptcp=False)
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


EMPTY = Snapshot(clock=1_700_000_000, ns=5, duration_s=0.1, states=dict.fromkeys(TcpState, 0))
TRACKED = Reported(local=[80, 443, 8080], states=[TcpState.ESTABLISHED])
DROPPING = replace(
    EMPTY,
    listeners={
        80: Listener(waiting=1, limit=128, peak=70, drops=1234),
        443: Listener(waiting=1, limit=128),
    },
)


def rows_of(snapshot: Snapshot, columns: int) -> list[list[str]]:
    """Return the words of each row of the table of local ports, the headings first."""
    console = Console(width=columns)
    with console.capture() as text:
        console.print(local_table(snapshot, TRACKED, columns))
    return [line.split() for line in text.get().splitlines()]


def test_drops_stand_beside_the_queue() -> None:
    """What the kernel does not say, or nobody could drop, is a dash and never 0; in little room there is no column."""
    head, *rows = rows_of(DROPPING, 120)
    place = head.index("DROPS")
    assert [row[place] for row in rows] == ["1,234", "-", "-"]
    assert "DROPS" not in rows_of(DROPPING, 45)[0]


def test_a_peak_is_said_where_it_is_over() -> None:
    """A queue that was longer between two pages says so; one that is as long now, or was not watched, does not."""
    _, first, second, _ = rows_of(DROPPING, 140)
    assert " ".join(first).endswith("up to 70 since the last page")
    assert "up" not in second
    longest = replace(DROPPING, listeners={80: Listener(waiting=70, limit=128, peak=70, drops=0)})
    assert "up" not in rows_of(longest, 140)[1]


def test_it_looks_between_two_pages(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second, so that a page says how long a queue was meanwhile; a page every second needs no look."""
    now = [0.0]
    looks: list[float] = []

    def sleep(for_s: float) -> None:
        now[0] += for_s

    def look(_: object) -> dict[int, Look]:
        looks.append(now[0])
        return {}

    monkeypatch.setattr(show, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr("sender.kernel.sock_diag.Listeners.look", look)
    monitor = show.Monitor(settings, has_peaks=True)
    monitor.wait(3.5)
    assert (now, looks) == ([3.5], [1.0, 2.0, 3.0])
    monitor.wait(1.0)
    assert (now, len(looks)) == ([4.5], 3)


def test_drops_and_counters_for_programs() -> None:
    """The counters that the kernel has are there as they are; those that it lacks, and what it does not say, are null."""
    counted = replace(DROPPING, counters={"InSegs": 7})
    found = plain("web-01", replace(counted, orphans=Usage(used=5, limit=10), memory=Usage(used=4096)), TRACKED)
    ports = {port["port"]: (port["drops"], (port["queue"] or {}).get("peak")) for port in found["ports"]}  # type: ignore[attr-defined]
    assert ports == {80: (1234, 70), 443: (None, None), 8080: (None, None)}
    assert found["counters"]["InSegs"] == 7  # type: ignore[index]
    assert found["counters"]["ListenDrops"] is None  # type: ignore[index]
    assert found["orphans"] == {"used": 5, "limit": 10, "pused": 50.0}
    assert found["memory"] == {"used": 4096, "limit": None, "pused": None}


def test_events_since_the_last_page() -> None:
    """Each counter of what goes wrong that rose is named with its rise, and none that did not, is new, gone or began anew."""
    before = {"ListenDrops": 100, "RetransSegs": 5, "OutRsts": 9, "AttemptFails": 3, "EstabResets": 4, "InSegs": 10}
    now = {"ListenDrops": 1112, "RetransSegs": 6, "OutRsts": 9, "AttemptFails": 1, "InSegs": 99, "InErrs": 5}
    line = since_last_page(replace(EMPTY, counters=before), replace(EMPTY, counters=now))
    assert line == "since the last page: 1,012 requests dropped, 1 retransmission"


def test_no_events_since_the_last_page() -> None:
    """That nothing happened is said, and nothing at all where the kernel has no such counters."""
    quiet = replace(EMPTY, counters={"ListenDrops": 7, "InSegs": 1})
    assert since_last_page(quiet, quiet) == "since the last page: nothing dropped, nothing sent again"
    assert since_last_page(EMPTY, EMPTY) == ""


OWNERS = {
    TcpState.ESTABLISHED: {"nginx.service": 300, "backend.service": 20},
    TcpState.CLOSE_WAIT: {"backend.service": 563},
    TcpState.LAST_ACK: {},
}


def drawn(what: object, columns: int = 140) -> list[str]:
    """Return what a terminal so wide shows."""
    console = Console(width=columns, highlight=False)
    with console.capture() as page:
        console.print(what)
    return page.get().splitlines()


def test_units_stand_by_their_sockets() -> None:
    """Those with most sockets first, with the states that occur."""
    head, *rows = (line.split() for line in drawn(unit_table(OWNERS, 140)))
    assert head == ["UNIT", "SOCKETS", "ESTABLISHED", "CLOSE_WAIT"]
    assert [(row[0], row[1], *row[-2:]) for row in rows] == [
        ("backend.service", "583", "20", "563"),
        ("nginx.service", "300", "300", "0"),
    ]


def test_many_units_are_summed_up() -> None:
    """Ten by name, the others together, so that a terminal has room for the ports."""
    many = {TcpState.ESTABLISHED: {f"job-{number:02}.service": 100 - number for number in range(30)}}
    rows = drawn(unit_table(many, 140))
    assert len(rows) == 1 + 10 + 1
    assert rows[-1].split() == ["20", "more", "1,610"]


def test_a_narrow_terminal_has_fewer_states() -> None:
    """The table of units keeps to the terminal, and to names that can be read."""
    rows = drawn(unit_table(OWNERS, 60), 60)
    assert max(map(len, rows)) <= 60
    assert "backend.service" in rows[1]


def test_destinations_are_said_in_words() -> None:
    """Where most local ports are in use, of how many, and where requests find no answer."""
    ports = EphemeralPorts(used=27_000, usable=28_232, destination="10.0.0.5:5432 from 192.0.2.1")
    snapshot = Snapshot(
        clock=1, ns=1, duration_s=0, states={}, ephemeral=ports, destinations={"10.0.0.6:443": 2, "10.0.0.5:5432": 120}
    )
    assert [str(line) for line in destination_lines(snapshot)] == [
        "local ports towards 10.0.0.5:5432 from 192.0.2.1: 27,000 of 28,232 (95.6 %)",
        "no answer yet (SYN_SENT) from 10.0.0.5:5432 120, 10.0.0.6:443 2",
    ]
    assert destination_lines(replace(snapshot, ephemeral=None, destinations={})) == []


def test_owners_for_programs() -> None:
    """`--json` has every owner by state, destinations, and the unit of a port; null where they are unknown."""
    snapshot = Snapshot(
        clock=1,
        ns=1,
        duration_s=0,
        states={},
        owners=OWNERS,
        port_owners={443: "nginx.service", 22: "other"},
        ephemeral=EphemeralPorts(used=5, usable=20, destination="10.0.0.5:5432 from 192.0.2.1"),
    )
    found = json.loads(json.dumps(plain("web-01", snapshot, Reported(local=[443, 22]))))
    assert found["owners"] == {state.name: owners for state, owners in OWNERS.items()}
    assert found["ephemeral"] == {
        "used": 5,
        "usable": 20,
        "pused": 25.0,
        "destination": "10.0.0.5:5432 from 192.0.2.1",
    }
    assert [port["unit"] for port in found["ports"]] == ["nginx.service", None]
    unknown = plain("web-01", Snapshot(clock=1, ns=1, duration_s=0, states={}), Reported())
    assert (unknown["owners"], unknown["ephemeral"]) == (None, None)


def test_check_says_how_many_sockets_have_an_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where none has one, why."""
    settings = section.read(Settings, {"host": "web-01", "ports": {"listening": False}})
    with socket.create_server(("127.0.0.1", 0)):
        sampler = TrialSampler(settings, DaemonState())
        sampler.take()
        (owners,) = (result for result in sampler.results if result.check == "owners")
        assert owners.result == "ok"
        assert "programs that are no service" in owners.found or "units" in owners.found
        monkeypatch.setattr("sender.kernel.cgroups.find_root", lambda *_: None)
        sampler.take()
    (unknown,) = (result for result in sampler.results if result.check == "owners")
    assert unknown.result == "skip"
    assert "units are not reported: this " in unknown.found
