"""Today's form in today's Zabbix: what the host's dashboard shows in a real browser, as its operator sees it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from lab import boards, story
from lab.matrix import grouped
from lab.storyteller import replay
from sender.items import EPHEMERAL_TOP, TEMPLATE, TOPS
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.boards import Seen
    from lab.browser import Browser
    from lab.zabbix_stack import ZabbixStack
    from tests.matrix.conftest import Imported

    Seer = Callable[[str], dict[str, Seen]]

pytestmark = pytest.mark.parametrize("imported", grouped("7.0"), indirect=True)

STORY = "web-01"
FINE, WARNING, HIGH = "7EC49D", "FFC859", "E97659"
PORTS = {port: f"{port} {service}" for port, service in story.SERVICES.items()}
FULL = PORTS[story.STALLED]
HEIGHTS = {
    "Overview": 1400,
    "Who": 2150,
    "Ports": 2150,
    "Accept queues": 2150,
    "Events": 2600,
    "Containers": 1000,
    "Sender": 900,
}


@pytest.fixture(scope="module")
def story_told(imported: Imported) -> dict[str, str]:
    """Make the host web-01, with an hour in which a web server goes wrong. Return the last value of each key."""
    imported.zabbix.api.settings.update(work_period="1-7,00:00-24:00")  # else half of each picture is grey, by the hour
    imported.zabbix.create_host(STORY, [TEMPLATE])
    imported.zabbix.wait_for_items(STORY)
    return replay(imported.zabbix, STORY, int(time.time()))


@pytest.fixture
def seen(zabbix: ZabbixStack, story_told: dict[str, str], browser: Browser) -> Seer:
    """Return what opens a page of that host's dashboard, by the page's name."""
    assert story_told
    (known,) = zabbix.api.host.get(filter={"host": STORY}, output=["hostid"])
    return lambda name: boards.page(browser, known["hostid"], name, HEIGHTS[name])


def take_picture(browser: Browser, path: Path, height: int) -> None:
    """Take a picture of the page, small enough for a document."""
    browser.picture(path, height)
    assert path.stat().st_size < 300_000


def cells(widget: Seen) -> dict[str, tuple[str, str]]:
    """Return value and colour of each cell by its label."""
    return {label: (value, colour) for label, value, colour in widget.cells}


def is_seen(colour: str) -> bool:
    """Return whether it is far enough from white."""
    return min(int(colour[at : at + 2], 16) for at in (0, 2, 4)) < 200


def test_the_overview_tells_the_story(seen: Seer, story_told: dict[str, str], browser: Browser, pictures: Path) -> None:
    """Figures are the last values, in the colour of the threshold that they have reached; graphs have lines, legend and problem."""
    widgets = seen("Overview")
    take_picture(browser, pictures / "dashboard-7.0.png", 1330)
    states = (TcpState.ESTABLISHED, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT, TcpState.SYN_RECV, TcpState.SYN_SENT)
    for state in states:
        widget = widgets[state.name]
        assert widget.text == story_told[f"tcp.status[{state.name}]"]
        assert widget.colour == (WARNING if state is TcpState.CLOSE_WAIT else "")
    queues = cells(widgets["Accept queue of each port"])
    assert queues.keys() == set(PORTS.values())
    assert queues[FULL] == ("101 %", HIGH)
    assert {colour for label, (_, colour) in queues.items() if label != FULL} == {FINE}
    assert re.fullmatch(r"\d+\.\d\s*%", widgets["Local ports in use"].text)
    every, trouble = widgets["TCP: States"], widgets["TCP: Problem states"]
    assert len(every.legend) == len(TcpState)
    assert trouble.problems == 1
    in_trouble = ["CLOSE_WAIT", "SYN_RECV", "SYN_SENT", "LAST_ACK", "Sockets in no state", "CLOSE_WAIT (MPTCP)"]
    assert [name.rpartition(": ")[2] for name in trouble.legend] == in_trouble
    assert trouble.colours[0] == every.colours[[name.endswith("CLOSE_WAIT") for name in every.legend].index(True)]
    for graph in (every, trouble, widgets["TCP: Closing states"], widgets["TCP: Unanswered requests"]):
        assert graph.lines >= len(graph.legend) > 1
    assert not [title for title, widget in widgets.items() if widget.is_cut or "No data" in widget.text]


def test_it_says_whose_they_are(seen: Seer, story_told: dict[str, str], browser: Browser, pictures: Path) -> None:
    """Each text is whole, each service has its cell and its line, and the history has what the texts said before."""
    widgets = seen("Who")
    take_picture(browser, pictures / "who-7.0.png", 1390)
    for state, key in TOPS.items():
        by = "destination" if state is TcpState.SYN_SENT else "service"
        assert widgets[f"{state.name} by {by}"].text == story_told[key]
    assert widgets["Destination with most local ports in use"].text == story_told[EPHEMERAL_TOP]
    services = cells(widgets["CLOSE_WAIT of each service"])
    assert services.keys() == {unit.removesuffix(".service") for unit in story.UNITS}
    leaking = story.BACKEND.removesuffix(".service")
    assert services[leaking][1] == WARNING
    assert {colour for label, (_, colour) in services.items() if label != leaking} == {FINE}
    graph = widgets["Services: ESTABLISHED"]
    assert sorted(name.split("TCP service ")[1] for name in graph.legend) == sorted(
        f"{unit}: ESTABLISHED" for unit in story.UNITS
    )
    assert len(set(graph.colours)) == len(story.UNITS)
    assert all(is_seen(colour) for colour in graph.colours)
    rows = widgets["Whose they were"].rows
    assert len(rows) > 10
    assert [story_told[TOPS[TcpState.CLOSE_WAIT]]] in [row[2:] for row in rows if row[1] == "CLOSE_WAIT by service"]
    assert not [title for title, widget in widgets.items() if widget.is_cut or "No data" in widget.text]


def test_it_has_every_port(seen: Seer) -> None:
    """Each port has a cell in the colour of its trouble, a line, and graphs of its own; thresholds are drawn."""
    widgets = seen("Ports")
    leaks = cells(widgets["CLOSE_WAIT of each port"])
    assert {label: colour for label, (_, colour) in leaks.items()} == {
        label: WARNING if label == FULL else FINE for label in PORTS.values()
    }
    assert "> 100" in widgets["Ports: CLOSE_WAIT"].thresholds
    for title in ("Ports: ESTABLISHED", "Ports: CLOSE_WAIT"):
        assert len(widgets[title].legend) == len(PORTS)
    assert {title for title, widget in widgets.items() if widget.is_graph} == {
        f"TCP port {name}: {what}" for name in PORTS.values() for what in ("Connections", "Problem states")
    }
    queues = seen("Accept queues")
    dropped = cells(queues["Requests dropped per second at each port"])
    assert {label: colour for label, (_, colour) in dropped.items()} == {
        label: WARNING if label == FULL else FINE for label in PORTS.values()
    }
    for page in (widgets, queues):
        assert not [title for title, widget in page.items() if widget.is_cut or "No data" in widget.text]


def test_events_and_the_daemon(seen: Seer) -> None:
    """The kernel's events have their graphs, none of whose names is cut off; the daemon's own figures are whole."""
    events = seen("Events")
    assert len(events["TCP: Events"].legend) == 8
    assert not [title for title, widget in events.items() if widget.is_cut]
    sender = seen("Sender")
    assert sender["Uptime"].text == "3 days, 01:00:00"
    assert sender["Values rejected"].text == "none (0)"
    assert not [title for title, widget in sender.items() if widget.is_cut or widget.colour]


def test_it_has_every_container(seen: Seer, story_told: dict[str, str]) -> None:
    """Each has a cell, and a line for its connections, its leak, and what it drops."""
    widgets = seen("Containers")
    names = {story.MAIL, story.SHOP}
    assert cells(widgets["CLOSE_WAIT of each namespace"]) == {
        name: (story_told[f"tcp.netns.status[CLOSE_WAIT,{name}]"], FINE) for name in names
    }
    for what in ("ESTABLISHED", "CLOSE_WAIT", "Requests dropped per second"):
        assert len(widgets[f"Namespaces: {what}"].legend) == len(names)
        assert len(set(widgets[f"Namespaces: {what}"].colours)) == len(names)
        assert all(is_seen(colour) for colour in widgets[f"Namespaces: {what}"].colours)
    assert not [title for title, widget in widgets.items() if widget.is_cut or "No data" in widget.text]
