"""Zabbix as its admin sees it: the real frontend in a real browser. Needs root and Debian's packages.

Everything here happens in a network namespace that has nothing but loopback: what the browser may want from elsewhere, it
cannot even ask for.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import story
from lab.browser import Browser
from lab.command import COMMAND, tcp_status_sender
from lab.frontend import Frontend, complaints
from lab.namespace import LOOPBACK, Namespace, entered
from lab.passing_on import passing_on
from lab.storyteller import replay
from lab.zabbix_stack import ZabbixStack
from sender import __version__
from sender.items import EPHEMERAL_TOP, TOPS
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = "TCP states by Zabbix trapper"
GROUP = "Linux servers"
STORY = "web-01"
HTTPS = "TCP port 443 https"
REPOSITORY = Path(__file__).parents[2]
WHO = 1390  # how high a window must be for the first service
EVERY_STATE = (sys.executable, str(REPOSITORY / "lab" / "every_state.py"))


@pytest.fixture(scope="module")
def zabbix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a Zabbix as it is when new, in a network of its own, in which this thread stays as long."""
    with (
        Namespace(LOOPBACK) as stage,
        entered(stage.report["pid"]),
        ZabbixStack(tmp_path_factory.mktemp("zabbix")) as zabbix,
    ):
        yield zabbix


@pytest.fixture(scope="module")
def frontend(zabbix: ZabbixStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    """Its frontend in a browser, Admin logged in, and the template imported from the file that the command prints."""
    file = tmp_path_factory.mktemp("template") / "tcp_states_template.xml"
    file.write_text(tcp_status_sender("template").stdout)
    with Browser(tmp_path_factory.mktemp("browser") / "state", zabbix.web_url) as browser:
        frontend = Frontend(browser)
        frontend.log_in("Admin", "zabbix")
        assert frontend.import_template(file) == "Imported successfully"
        zabbix.api.settings.update(work_period="1-7,00:00-24:00")  # else half of each picture is grey, by the hour
        yield frontend
    assert complaints(zabbix) == []


@pytest.fixture(scope="module")
def story_told(zabbix: ZabbixStack, frontend: Frontend) -> dict[str, str]:
    """Make the host web-01 in the web interface, with an hour of values until now. Return the last value of each key."""
    assert frontend.create_host(STORY, TEMPLATE, GROUP) == "Host added"
    zabbix.wait_for_items(STORY)
    return replay(zabbix, STORY, int(time.time()))


def test_latest_data_shows_what_the_kernel_counts(zabbix: ZabbixStack, frontend: Frontend, tmp_path: Path) -> None:
    """A host made in the web interface, one sample of the command: its Latest data are what its kernel has, by state."""
    assert frontend.create_host("app-01", TEMPLATE, GROUP) == "Host added"
    zabbix.wait_for_items("app-01")
    with Namespace(EVERY_STATE) as host:
        host.run("ip", "link", "set", "lo", "up")
        with host.call(lambda: passing_on(zabbix)) as trapper:  # it listens there, and sends from here
            config = tmp_path / "config.yaml"
            config.write_text(
                json.dumps(
                    {
                        "host": "app-01",
                        "destinations": [{"nodes": [trapper.node]}],
                        "ports": {"listening": False},
                        "services": {"report": False},
                    }
                )
            )
            done = subprocess.run(
                host.inside(COMMAND, "run", "--once", "--config", str(config)),
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
            )
        states = host.report["states"]
    assert done.returncode == 0, done.stderr
    states["LISTEN"] += 1  # the trapper
    shown = frontend.latest_data("app-01", until=lambda values: values.get("TCP: TIME_WAIT", "") != "")
    assert {state: shown[f"TCP: {state}"] for state in states} == {state: str(count) for state, count in states.items()}
    assert shown["TCP: Total"] == str(sum(states.values()))
    assert shown["TCP sender: Version"] == __version__


def graph_colours(zabbix: ZabbixStack) -> dict[str, dict[str, str]]:
    """Return the colour of each item in each graph of the story's host: by the graph's name, then by key."""
    (host,) = zabbix.api.host.get(filter={"host": STORY}, output=["hostid"])
    keys = {item["itemid"]: item["key_"] for item in zabbix.api.item.get(host=STORY, output=["key_"])}
    graphs = zabbix.api.graph.get(hostids=host["hostid"], output=["name"], selectGraphItems=["itemid", "color"])
    return {graph["name"]: {keys[item["itemid"]]: item["color"] for item in graph["gitems"]} for graph in graphs}


def take_picture(frontend: Frontend, path: Path, height: int) -> None:
    """Take a picture of the page, small enough for a README."""
    frontend.browser.picture(path, height)
    assert path.stat().st_size < 250_000


def test_the_dashboard_tells_the_story(
    zabbix: ZabbixStack, frontend: Frontend, story_told: dict[str, str], pictures: Path
) -> None:
    """The dashboard's figures are the last values, and its graphs show each state in its colour, for as long as it was."""
    colours = graph_colours(zabbix)
    frontend.browser.resize(1320)
    widgets = frontend.dashboard(STORY, "Overview")
    for state in (TcpState.ESTABLISHED, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT, TcpState.SYN_RECV, TcpState.SYN_SENT):
        assert widgets[state.name].text.split() == [story_told[f"tcp.status[{state.name}]"]]
    for title, state, share in (
        ("TCP: States", TcpState.ESTABLISHED, 0.7),  # the whole hour; the rest of the image is its margins
        ("TCP: States", TcpState.TIME_WAIT, 0.7),
        ("TCP: States", TcpState.CLOSE_WAIT, 0.4),  # two thirds of it
        ("TCP: Problem states", TcpState.CLOSE_WAIT, 0.4),
        ("TCP: Closing states", TcpState.FIN_WAIT2, 0.7),
    ):
        graph, colour = widgets[title].graph, colours[title][f"tcp.status[{state.name}]"]
        assert graph
        assert frontend.browser.drawn(graph, colour) > share, (title, state)
    take_picture(frontend, pictures / "dashboard.png", 1320)


@pytest.mark.usefixtures("story_told")
def test_the_dashboard_has_every_port(frontend: Frontend, pictures: Path) -> None:
    """Each port has its graphs on the dashboard, under its number and the name of its service."""
    frontend.browser.resize(1320)
    widgets = frontend.dashboard(STORY, "Ports")
    take_picture(frontend, pictures / "ports.png", 1320)
    assert {title for title, widget in widgets.items() if widget.graph} == {
        f"TCP port {port} {service}: {what}"
        for port, service in story.SERVICES.items()
        for what in ("Connections", "Problem states")
    }
    queues = frontend.dashboard(STORY, "Accept queues")
    take_picture(frontend, pictures / "queues.png", 1000)
    assert {title for title, widget in queues.items() if widget.graph} == {
        f"TCP port {port} {service}: {what}"
        for port, service in story.SERVICES.items()
        for what in ("Accept queue", "Waiting connections")
    }
    events = frontend.dashboard(STORY, "Events")
    take_picture(frontend, pictures / "events.png", 1320)
    assert {title for title, widget in events.items() if widget.graph} >= {
        f"TCP port {port} {service}: Drops" for port, service in story.SERVICES.items()
    }
    remote = frontend.dashboard(STORY, "Remote ports")
    assert [title for title, widget in remote.items() if widget.graph] == [
        f"TCP remote port {story.DATABASE} postgresql: {what}" for what in ("Connections", "Problem states")
    ]
    containers = frontend.dashboard(STORY, "Containers")
    take_picture(frontend, pictures / "containers.png", 830)
    assert {title for title, widget in containers.items() if widget.graph} == {
        f"TCP namespace {name}: {what}"
        for name in (story.MAIL, story.SHOP)
        for what in ("Connections", "Problem states", "Drops")
    }
    assert frontend.dashboard(STORY, "Sender")["Uptime"].text == "3 days, 01:00:00"


def test_the_dashboard_says_who(frontend: Frontend, story_told: dict[str, str], pictures: Path) -> None:
    """A page has whose the sockets are in words, none of them cut off, the local ports, and the graphs of services."""
    frontend.browser.resize(WHO)
    widgets = frontend.dashboard(STORY, "Who")
    take_picture(frontend, pictures / "who.png", WHO)
    texts = {f"{state.name} by service": key for state, key in TOPS.items() if state != TcpState.SYN_SENT}
    texts["SYN_SENT by destination"] = TOPS[TcpState.SYN_SENT]
    texts["Destination with most local ports in use"] = EPHEMERAL_TOP
    shown = {title: (widget.text, widget.is_cut) for title, widget in widgets.items() if not widget.graph}
    assert shown == {title: (story_told[key], False) for title, key in texts.items()}
    assert story_told[TOPS[TcpState.CLOSE_WAIT]].startswith(story.BACKEND)
    assert {title for title, widget in widgets.items() if widget.graph} == {
        "TCP: Local ports in use in %",
        *(
            f"TCP service {unit}: {what}"
            for unit in sorted(story.UNITS)[:3]  # of the others the next pages of these widgets
            for what in ("Connections", "Problem states")
        ),
    }


@pytest.mark.usefixtures("story_told")
def test_every_graph_is_drawn(zabbix: ZabbixStack, frontend: Frontend) -> None:
    """The host's Graphs are all that the template makes, each an image that loads."""
    names = graph_colours(zabbix)
    assert "TCP: States" in names
    assert len(frontend.graphs(STORY)) == len(names)


def test_latest_data_have_every_item(frontend: Frontend, story_told: dict[str, str], pictures: Path) -> None:
    """Latest data show the last value of every state, and of the port whose accept queue is full, with its unit."""
    shown = frontend.latest_data(STORY, until=lambda values: len(values) > 40)
    frontend.fold_filter()
    take_picture(frontend, pictures / "latest-data.png", 1000)
    for state in TcpState:
        assert shown[f"TCP: {state.name}"] == story_told[f"tcp.status[{state.name}]"]
    assert shown["TCP port 8080 http-alt: Accept queue"] == "129"
    assert shown["TCP port 8080 http-alt: Accept queue in %"] == "100.78 %"


def test_a_problem_says_what_to_do(frontend: Frontend, story_told: dict[str, str], pictures: Path) -> None:
    """What went wrong in the story, and nothing else, is a problem; its event says what is, and what to do about it."""
    full, leak = "TCP port 8080 http-alt: Accept queue is full", "Many connections in CLOSE_WAIT (over 100 for 15m)"
    frontend.show_operational_data()
    rows = frontend.problems(STORY, at_least=3)
    take_picture(frontend, pictures / "problems.png", 350)
    whose = story_told[TOPS[TcpState.CLOSE_WAIT]]
    assert {row["Problem"]: (row["Severity"], row["Operational data"]) for row in rows} == {
        f"{full} (100% or more in 3 samples)": ("High", "Current: 100.78 %"),
        f"TCP: {leak}": ("Warning", f"Current: {story_told['tcp.status[CLOSE_WAIT]']}, mostly {whose}"),
        f"TCP port 8080 http-alt: {leak}": ("Warning", f"Current: {story_told['tcp.status[CLOSE_WAIT,8080]']}"),
    }
    event = frontend.event(f"{full} (100% or more in 3 samples)")
    assert event["Operational data"] == "Current: 100.78 %"
    assert event["Severity"] == "High"
    assert "The program on port 8080 does not accept connections" in event["Description"]
    assert "ss -tlnp 'sport = :8080'" in event["Description"]
    event = frontend.event(f"TCP: {leak}")
    take_picture(frontend, pictures / "problem.png", 1010)
    assert event["Description"].startswith(f"Whose they are, as last reported: {whose}\n")
    assert "systemctl status UNIT" in event["Description"]


@contextmanager
def busy_port() -> Iterator[None]:
    """On port 443, of eight connections three wait to be accepted, and of the others two were closed by their clients."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 443), backlog=8))
        clients = [sockets.enter_context(socket.create_connection(("127.0.0.1", 443))) for _ in range(8)]
        for _ in range(5):
            sockets.enter_context(listener.accept()[0])
        for client in clients[:2]:
            client.shutdown(socket.SHUT_WR)
        yield


def test_a_port_appears_by_itself(zabbix: ZabbixStack, frontend: Frontend, tmp_path: Path) -> None:
    """The daemon finds a listening port, and Latest data show what its sockets do: connections, leak and accept queue."""
    assert frontend.create_host("app-02", TEMPLATE, GROUP) == "Host added"
    zabbix.wait_for_items("app-02")
    with Namespace() as host, ExitStack() as inside:
        host.run("ip", "link", "set", "lo", "up")
        trapper = inside.enter_context(host.call(lambda: passing_on(zabbix)))
        host.call(lambda: inside.enter_context(busy_port()))
        settings = {"interval": 1, "spool": {"path": str(tmp_path / "spool.db")}}
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"host": "app-02", "destinations": [{"nodes": [trapper.node]}], **settings}))
        daemon = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *host.inside(COMMAND, "run", "--config", str(config))]
        )
        try:
            shown = frontend.latest_data(
                "app-02", until=lambda values: bool(values.get(f"{HTTPS}: Requests dropped per second"))
            )
        finally:
            daemon.terminate()
            assert daemon.wait(20) == 0
    assert {name.removeprefix(HTTPS): value for name, value in shown.items() if name.startswith(HTTPS)} == {
        ": ESTABLISHED": "6",
        ": CLOSE_WAIT": "2",
        ": SYN_RECV": "0",
        ": TIME_WAIT": "0",
        ": Accept queue": "3",
        ": Accept queue limit": "8",
        ": Accept queue in %": "37.5 %",
        ": Accept queue peak": "3",
        ": Requests dropped, counter": "0",
        ": Requests dropped per second": "0 /s",
    }
