"""Every trigger fires and recovers in a real Zabbix on what daemons themselves sent, of trouble made with real sockets.

Each trouble has a host of its own: a network namespace with a daemon. All is real but for the time, in which a second is a
minute or more (see lab/fast_host.py). `python -m lab.troubles` makes most of it.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from lab.fast_host import SPEED, TEMPLATE, FastHost, end
from lab.troubles import BURSTS, DATABASE, FEW, FLOODED, FULL, NEARLY_FULL, SERVICE
from templates import content

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping

    from lab.zabbix_stack import ZabbixStack

    Steps = Generator[None, None, None]

WELL_MINUTES = 17  # that a host is watched before its trouble: the longest window is 16, but for that of slow leaks
PATIENCE_S, POLL_S = 300, 0.3
SAMPLE_TIME = "tcp.sender.sample.time"

ELSEWHERE = {
    "TCP: No data from tcp-status-sender": "test_real_zabbix.py",
    "TCP: Many local ports towards a destination are in use": "test_local_ports.py",
    "TCP: Local ports towards a destination are nearly used up": "test_local_ports.py",
}
"""Triggers that fire and recover on a daemon's own values in another module."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong on `host`: each step of what is `made` raises the problems of one of `steps`, and its end ends them.

    Macros differ from the template's where only an admin knows what is too much, or where a figure takes too large a host.
    """

    host: str
    steps: tuple[tuple[str, ...], ...]
    made: Callable[[Host], Steps]
    macros: Mapping[str, str] = field(default_factory=dict)
    speed: int = SPEED
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    destinations: tuple[str, ...] = ()  # beside Zabbix
    on_machine: tuple[str, ...] = ()  # the program that makes it, where that takes a machine of its own

    @property
    def problems(self) -> set[str]:
        """Return the names of all triggers that fire."""
        return {name for step in self.steps for name in step}


class Host(FastHost):
    """The host of a trouble, and what Zabbix has of it."""

    def __init__(self, trouble: Trouble, zabbix: ZabbixStack, directory: Path, stack: ExitStack) -> None:
        machine = bool(trouble.on_machine)
        super().__init__(zabbix, directory, stack, trouble.host, speed=trouble.speed, is_machine=machine)
        self.configure(*trouble.destinations, **trouble.settings)
        self._program = trouble.on_machine
        self._zabbix = zabbix
        macros = {"{$TCP.NODATA.TIMEOUT}": "365d", **trouble.macros}  # what is told is of hours ago, and no silence
        listed = [{"macro": macro, "value": value} for macro, value in macros.items()]
        self.host_id = zabbix.create_host(trouble.host, [TEMPLATE], macros=listed)

    def start(self) -> None:
        """Start the daemon, or the machine."""
        self.process = self.boot(sys.executable, "-m", *self._program) if self._program else self.count()

    def restart(self) -> None:
        """Start the daemon anew."""
        end(self.process)
        self.start()

    def reload(self) -> None:
        """Let the daemon have Zabbix alone as its destination."""
        self.configure()
        self.process.send_signal(signal.SIGHUP)

    def has(self, names: set[str]) -> bool:
        """Return whether Zabbix has these triggers, of which discovery makes those of ports."""
        found = self._zabbix.api.trigger.get(hostids=self.host_id, output=["description"])
        return names <= {each["description"] for each in found}

    def enable_all(self) -> None:
        """Enable the triggers that are disabled as shipped."""
        off = self._zabbix.api.trigger.get(hostids=self.host_id, filter={"status": 1}, output=["triggerid"])
        self._zabbix.api.trigger.update([{**each, "status": 0} for each in off])

    def accept(self, key: str, *, does: bool) -> None:
        """Let Zabbix accept the values of an item, or reject them."""
        (item,) = self._zabbix.api.item.get(hostids=self.host_id, filter={"key_": key}, output=["itemid"])
        self._zabbix.api.item.update(itemid=item["itemid"], status=int(not does))


def worsening(process: subprocess.Popen[bytes]) -> Steps:
    """Write a line to a program for each step, and one more in the end."""
    assert process.stdin
    try:
        while True:
            process.stdin.write(b"\n")
            process.stdin.flush()
            yield
    finally:
        process.stdin.write(b"\n")
        process.stdin.flush()


def program(*command: str) -> Callable[[Host], Steps]:
    """Return what lets a program make the trouble, until there is no more for it to read."""

    def made(host: Host) -> Steps:
        process = host.run("trouble.service", sys.executable, "-m", *command)
        try:
            yield from worsening(process)
        finally:
            process.communicate()

    return made


def on_the_machine(host: Host) -> Steps:
    """Let the program that began with the machine make the trouble."""
    return worsening(host.process)


def leaks(host: Host) -> Steps:
    """Enable the triggers that are disabled as shipped, and let services leak."""
    host.enable_all()
    yield from program("lab.troubles", "leaks")(host)


def around_the_daemon(host: Host) -> Steps:
    """Start the daemon anew, and let Zabbix reject an item for a while; all the time nobody listens at another destination."""
    host.restart()
    yield
    host.accept(SAMPLE_TIME, does=False)
    yield
    host.accept(SAMPLE_TIME, does=True)
    yield
    try:
        yield
    finally:
        host.reload()


LOCAL, REMOTE = f"TCP port {SERVICE} http-alt: ", f"TCP remote port {DATABASE} postgresql: "
OPEN, FORGOTTEN, MORE_FORGOTTEN = (
    "Many established connections",
    "Many connections in CLOSE_WAIT",
    "Very many connections in CLOSE_WAIT",
)
TROUBLES = (
    Trouble(
        host="leaks",
        steps=tuple(
            tuple(where + what for where in ("TCP: ", LOCAL, REMOTE)) for what in (OPEN, FORGOTTEN, MORE_FORGOTTEN)
        ),
        made=leaks,
        macros={"{$TCP.ESTABLISHED.MAX.WARN}": f"{FEW - 1}", "{$TCP.REMOTE.ESTABLISHED.MAX.WARN}": f"{FEW - 1}"},
        settings={"ports": {"local": [SERVICE], "remote": [DATABASE], "exclude": [DATABASE]}},
    ),
    Trouble(
        host="slow leak",
        steps=(("TCP: Connections in CLOSE_WAIT grow steadily",),),
        made=program("lab.troubles", "slow_leak"),
        speed=1200,  # three samples an hour, for four hours
    ),
    Trouble(
        host="unanswered",
        steps=(
            ("TCP: Many connection requests stay unanswered (SYN_SENT)",),
            ("TCP: Connection requests to many hosts stay unanswered",),
        ),
        made=program("lab.troubles", "unanswered"),
    ),
    Trouble(
        host="flood",
        steps=(
            (
                "TCP: Many half-open connections (SYN_RECV)",
                f"TCP port {FLOODED} https: Many half-open connections (SYN_RECV)",
            ),
            ("TCP: SYN cookies are sent",),
            ("TCP: Half-open connections overflow, requests are dropped",),
        ),
        made=program("lab.troubles", "flood"),
        settings={"ports": {"local": [FLOODED]}},
    ),
    Trouble(
        host="time wait",
        steps=(("TCP: TIME_WAIT is near the kernel's limit",), ("TCP: Connections are closed without TIME_WAIT",)),
        made=program("lab.troubles", "time_wait"),
    ),
    Trouble(
        host="unlisted",
        steps=(("TCP: Many sockets in no state", "TCP: Many MPTCP connections in CLOSE_WAIT"),),
        made=program("lab.troubles", "unlisted"),
    ),
    Trouble(
        host="queues",
        steps=(
            (
                f"TCP port {NEARLY_FULL}: Accept queue is nearly full",
                f"TCP port {FULL}: Accept queue is full",
                f"TCP port {BURSTS}: Requests are dropped",
            ),
            (f"TCP port {BURSTS}: Requests are dropped all the time",),
        ),
        made=program("lab.troubles", "queues"),
        settings={
            "ports": {"local": [NEARLY_FULL, FULL, BURSTS]},
            "services": {"report": False},
        },  # no unit in their names
    ),
    Trouble(
        host="bad network",
        steps=(("TCP: Many segments are sent again", "TCP: Many connection attempts fail"),),
        made=program("lab.troubles", "bad_network"),
    ),
    Trouble(
        host="machine",
        steps=(
            ("TCP: Orphaned sockets are near the kernel's limit", "TCP: Memory is under pressure"),
            ("TCP: Memory is near the kernel's limit",),
        ),
        made=on_the_machine,
        on_machine=("lab.troubles", "exhaustion"),
    ),
    Trouble(
        host="crowd",
        steps=(("TCP sender: Samples take long",),),
        made=program("bench.crowd", "80000", "0", "100"),
        macros={"{$TCP.SENDER.SAMPLE.TIME.MAX.WARN}": "0.03"},  # five seconds take millions of sockets
    ),
    Trouble(
        host="daemon",
        steps=(
            ("TCP sender: The daemon was restarted",),
            ("TCP sender: Zabbix rejects values",),
            ("TCP sender: Delivery to a destination fails",),
            ("TCP sender: Values are dropped",),
        ),
        made=around_the_daemon,
        speed=2 * SPEED,  # a spool keeps values for a real minute at least
        settings={"spool": {"max_age": "1m"}},
        destinations=("127.0.0.1:9",),
    ),
)


class Event(NamedTuple):
    """A problem that began, by the name of its trigger, and whether it has ended."""

    name: str
    is_over: bool


class Wait(NamedTuple):
    """What a life waits for: it is asked with the events of its host."""

    what: str
    is_over: Callable[[list[Event]], bool]


def life(trouble: Trouble, host: Host) -> Generator[Wait, None, None]:
    """Live through a trouble, and yield whatever is waited for."""
    host.start()
    yield Wait("it was well for a while", lambda _: host.told_minutes > WELL_MINUTES)
    yield Wait("its triggers are there, and none has fired", lambda events: not events and host.has(trouble.problems))
    with closing(trouble.made(host)) as made:
        for names in trouble.steps:
            next(made)
            yield fired(names)
    yield Wait("it is well again", lambda events: all(each.is_over for each in events))


def fired(names: Collection[str]) -> Wait:
    """Return a wait for triggers."""
    return Wait(f"these have fired: {', '.join(names)}", lambda events: {*names} <= {each.name for each in events})


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that began on each host, and what was waited for in vain."""

    events: dict[str, list[Event]]
    in_vain: dict[str, str]


@pytest.fixture(scope="module")
def story(zabbix: ZabbixStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Let all troubles take place side by side, which takes as long as the longest."""
    with ExitStack() as stack:
        hosts = {each.host: Host(each, zabbix, tmp_path_factory.mktemp("host"), stack) for each in TROUBLES}
        zabbix.wait_for_items(TROUBLES[-1].host)
        lives = {each.host: stack.enter_context(closing(life(each, hosts[each.host]))) for each in TROUBLES}
        waits = {host: next(each) for host, each in lives.items()}
        deadline = time.monotonic() + PATIENCE_S
        while waits and time.monotonic() < deadline:
            time.sleep(POLL_S)
            events = happened(zabbix, hosts)
            for host in [host for host, wait in waits.items() if wait.is_over(events[host])]:
                following = next(lives[host], None)
                if following:
                    waits[host] = following
                else:
                    del waits[host]
        yield Story(events=happened(zabbix, hosts), in_vain={host: wait.what for host, wait in waits.items()})


def happened(zabbix: ZabbixStack, hosts: Mapping[str, Host]) -> dict[str, list[Event]]:
    """Return all problems that ever began, in their order, by host."""
    ids = {host.host_id: name for name, host in hosts.items()}
    found = zabbix.api.event.get(
        hostids=[*ids],
        value=1,
        output=["r_eventid"],
        selectHosts=["hostid"],
        selectRelatedObject=["description"],
        sortfield=["eventid"],
    )
    events: dict[str, list[Event]] = {name: [] for name in hosts}
    for each in found:
        event = Event(each["relatedObject"]["description"], is_over=each["r_eventid"] != "0")
        events[ids[each["hosts"][0]["hostid"]]].append(event)
    return events


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.host)
def test_each_trouble_has_its_problems_and_they_end(story: Story, trouble: Trouble) -> None:
    """None comes before the trouble, all that it must raise come, no others, and all end with it."""
    assert story.in_vain.get(trouble.host) is None, story.events[trouble.host]
    assert {event.name for event in story.events[trouble.host]} == trouble.problems
    assert all(event.is_over for event in story.events[trouble.host])


def test_no_trigger_is_left_out() -> None:
    """Each trigger of the template is raised here, or in the module that is named."""
    raised = {re.sub(r" port [^:]+:", " port {#NAME}:", name) for each in TROUBLES for name in each.problems}
    assert raised | ELSEWHERE.keys() == {trigger.name for trigger in content.template().all_triggers()}
    for name, module in ELSEWHERE.items():
        assert f'"{name}' in (Path(__file__).parent / module).read_text()
