"""Every trigger of the template fires and recovers in a real Zabbix server, and what is no problem raises none.

Values are pushed with clocks of their own, so that hours pass in a moment: Zabbix judges a value at its own time.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lab.program import StackError
from sender.commands import template
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
OLDER = "TCP states in the older form"  # beside the newer one
MINUTE, HOUR = 60, 3600

Series = list[tuple[int, float]]
"""Pairs of an age in seconds and a value, the oldest first."""


def steady(value: float, *, since: int, until: int = 0, step: int = MINUTE) -> Series:
    """Return the same value all the time, first `since` seconds ago and last `until` seconds ago."""
    return [(age, value) for age in range(since, until - 1, -step)]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What raises the trigger `name`, and only that one, and what ends it. Keys to series."""

    name: str
    severity: int
    ill: Mapping[str, Series]
    well: Mapping[str, Series]

    @property
    def host(self) -> str:
        """The host on which it takes place: one of its own, or the one with all the ports."""
        return PORTS if " port " in self.name else re.sub(r"[^A-Za-z_ ]", "", self.name)

    @property
    def told(self) -> dict[str, str]:
        """The text that says whose it is, under its key; most problems have none."""
        key = TOLD.get(self.name)
        return {key: NAMES} if key else {}


PORTS = "all ports"
NAMES = "backend.service 560, [2001:db8::5]:5432 7, dev-disk\\x2d1.service 1"  # longer than what Zabbix shows of a text
MANY_CLOSE_WAIT = "TCP: Many connections in CLOSE_WAIT"
MANY_PORTS = "TCP: Many local ports towards a destination are in use"
TOLD = {
    MANY_CLOSE_WAIT: "tcp.status.top[CLOSE_WAIT]",
    "TCP: Very many connections in CLOSE_WAIT": "tcp.status.top[CLOSE_WAIT]",
    "TCP: Connections in CLOSE_WAIT grow steadily": "tcp.status.top[CLOSE_WAIT]",
    "TCP: Half-open connections overflow, requests are dropped": "tcp.status.top[SYN_RECV]",
    "TCP: SYN cookies are sent": "tcp.status.top[SYN_RECV]",
    "TCP: Many half-open connections (SYN_RECV)": "tcp.status.top[SYN_RECV]",
    "TCP: Many connection requests stay unanswered (SYN_SENT)": "tcp.status.top[SYN_SENT]",
    "TCP: Connection requests to many hosts stay unanswered": "tcp.status.top[SYN_SENT]",
    "TCP: Many established connections": "tcp.status.top[ESTABLISHED]",
    MANY_PORTS: "tcp.ephemeral.top",
    "TCP: Local ports towards a destination are nearly used up": "tcp.ephemeral.top",
}
"""Which problems say whose they are or where they lead, and the item that knows."""


def too_many(
    name: str, severity: int, key: str, value: float, minutes: int, more: Mapping[str, Series] | None = None
) -> Case:
    """Return a value that is high for so long, and then 0."""
    ill = {key: [*steady(0, since=HOUR, until=minutes * MINUTE + 30), *steady(value, since=minutes * MINUTE, until=30)]}
    return Case(name=name, severity=severity, ill={**(more or {}), **ill}, well={key: steady(0, since=0)})


OVERFLOWS = "tcp.counter[ListenOverflows]"
TOTAL, UPTIME = "tcp.status[TOTAL]", "tcp.sender.uptime"


def running(*ages: int) -> Series:
    """Return the uptime of a daemon that has been there for ten hours, at these ages."""
    return [(age, 10 * HOUR - age) for age in ages]


def rise(by: float, *, ago: int, before: float = 1000) -> Series:
    """Return a counter that rose by so much at one moment, as the daemon sends what seldom changes.

    That is the first value, the one before the change, the change, and the one after it.
    """
    return [(HOUR, before), (ago + 30, before), (ago, before + by), (ago - 30, before + by)]


def counted(
    name: str, severity: int, key: str, by: float, window: int = 6 * MINUTE, *, more: Mapping[str, Series] | None = None
) -> Case:
    """Return a counter of the kernel that rises once; what comes with every sample ends the problem."""
    ill = {**(more or {}), key: rise(by, ago=window), TOTAL: steady_at(HOUR, window + 30, window, window - 30, 30)}
    return Case(name=name, severity=severity, ill=ill, well={TOTAL: steady_at(0)})


def steady_at(*ages: int) -> Series:
    """Return the same value at these ages."""
    return [(age, 100) for age in ages]


def counted_by_daemon(name: str, key: str) -> Case:
    """Return a counter of the daemon that grew 31 minutes ago, and not since."""
    ages = (2 * HOUR, 31 * MINUTE + 30, 31 * MINUTE, 30 * MINUTE + 30)
    grown = list(zip(ages, (4.0, 4.0, 7.0, 7.0), strict=True))
    return Case(name=name, severity=2, ill={key: grown, UPTIME: running(*ages, 30)}, well={UPTIME: running(0)})


def segments(again: int, sent: int) -> dict[str, Series]:
    """Return the counters of a host that sends so many segments a minute, and so many again."""
    ages = range(HOUR, 6 * MINUTE - 1, -30)
    return {
        "tcp.counter[RetransSegs]": [(age, again * (HOUR - age) // MINUTE) for age in ages],
        "tcp.counter[OutSegs]": [(age, sent * (HOUR - age) // MINUTE) for age in ages],
    }


def failing(per_second: int) -> Series:
    """Return a counter that has risen so fast for six minutes, and not before."""
    return [(age, max(0, 6 * MINUTE - age) * per_second) for age in range(HOUR, 29, -30)]


HOST_CASES = (
    too_many(MANY_CLOSE_WAIT, 2, "tcp.status[CLOSE_WAIT]", 101, 16),
    too_many("TCP: Very many connections in CLOSE_WAIT", 3, "tcp.status[CLOSE_WAIT]", 1001, 16),
    Case(
        name="TCP: Connections in CLOSE_WAIT grow steadily",
        severity=1,
        ill={"tcp.status[CLOSE_WAIT]": [(age, (5 * HOUR - age) // 500) for age in range(5 * HOUR, 0, -300)]},
        well={"tcp.status[CLOSE_WAIT]": steady(0, since=0)},
    ),
    too_many("TCP: Many half-open connections (SYN_RECV)", 3, "tcp.status[SYN_RECV]", 201, 6),
    too_many("TCP: Many connection requests stay unanswered (SYN_SENT)", 2, "tcp.status[SYN_SENT]", 101, 6),
    too_many(
        "TCP: Connection requests to many hosts stay unanswered",
        4,
        "tcp.syn_sent.hosts",
        51,
        6,
        {
            "tcp.status[SYN_SENT]": [
                *steady(0, since=HOUR, until=6 * MINUTE + 30),
                *steady(500, since=6 * MINUTE, until=30),
            ]
        },
    ),
    too_many(
        "TCP: TIME_WAIT is near the kernel's limit",
        2,
        "tcp.sockets.time_wait",
        6554,
        6,
        {"tcp.limit[TIME_WAIT]": steady(8192, since=HOUR, until=30)},
    ),
    too_many("TCP: Many sockets in no state", 2, "tcp.sockets.unhashed", 101, 16),
    too_many("TCP: Many MPTCP connections in CLOSE_WAIT", 2, "tcp.mptcp.status[CLOSE_WAIT]", 101, 16),
    too_many("TCP: Many established connections", 2, "tcp.status[ESTABLISHED]", 10001, 6),
    too_many(MANY_PORTS, 2, "tcp.ephemeral.pused", 80.1, 6),
    too_many("TCP: Local ports towards a destination are nearly used up", 4, "tcp.ephemeral.pused", 95.1, 6),
    counted("TCP: Half-open connections overflow, requests are dropped", 4, "tcp.counter[TCPReqQFullDrop]", 11),
    counted(
        "TCP: SYN cookies are sent", 3, "tcp.counter[SyncookiesSent]", 101, more={OVERFLOWS: rise(100, ago=6 * MINUTE)}
    ),
    counted("TCP: Connections are closed without TIME_WAIT", 2, "tcp.counter[TCPTimeWaitOverflow]", 11),
    counted("TCP: Memory is under pressure", 2, "tcp.counter[TCPMemoryPressures]", 1, 16 * MINUTE),
    Case(
        name="TCP: Many segments are sent again",
        severity=2,
        ill=segments(again=50, sent=900),
        well={
            "tcp.counter[RetransSegs]": steady(50 * 54, since=5 * MINUTE),
            "tcp.counter[OutSegs]": [(age, 900 * (HOUR - age) // MINUTE) for age in range(5 * MINUTE, -1, -MINUTE)],
        },
    ),
    Case(
        name="TCP: Many connection attempts fail",
        severity=2,
        ill={"tcp.counter[AttemptFails]": failing(6)},
        well={"tcp.counter[AttemptFails]": [(0, (6 * MINUTE - 30) * 6)]},
    ),
    too_many("TCP: Orphaned sockets are near the kernel's limit", 2, "tcp.orphans.pused", 80.1, 6),
    too_many("TCP: Memory is near the kernel's limit", 3, "tcp.memory.pused", 80.1, 6),
    counted_by_daemon("TCP sender: Zabbix rejects values", "tcp.sender.rejected"),
    counted_by_daemon("TCP sender: Values are dropped", "tcp.sender.dropped"),
    Case(
        name="TCP sender: Delivery to a destination fails",
        severity=2,
        ill={"tcp.sender.backlog": [(age, 2 * HOUR - age) for age in range(2 * HOUR - 60, 0, -60)]},
        well={"tcp.sender.backlog": steady(0, since=0)},
    ),
    Case(
        name="TCP sender: The daemon was restarted",
        severity=1,
        ill={  # its counters begin at 0 again, which is no refusal and no loss
            "tcp.sender.uptime": [*((age, 2 * HOUR - age) for age in range(HOUR, 60, -60)), (60, 2)],
            "tcp.sender.rejected": [*steady(7, since=HOUR, until=120), (60, 0)],
            "tcp.sender.dropped": [*steady(7, since=HOUR, until=120), (60, 0)],
        },
        well={"tcp.sender.uptime": [(0, 600)]},
    ),
    too_many("TCP sender: Samples take long", 2, "tcp.sender.sample.time", 5.1, 6),
)


def of_port(number: int, name: str, severity: int, key: str, value: float, minutes: int) -> Case:
    """Return a case of one port, whose listener has a limit of 128."""
    limit = {f"tcp.listen.queue.max[{number}]": steady(128, since=HOUR, until=30)} if "SYN_RECV" in key else {}
    return too_many(f"{name % number}", severity, key % number, value, minutes, limit)


def dropped(number: int, name: str, severity: int, drops: Series, pused: Series) -> Case:
    """Return a case of requests dropped at a port; how full its queue is at the samples decides which problem that is."""
    key = f"tcp.listen.drops[{number}]"
    ill = {key: drops, f"tcp.listen.queue.pused[{number}]": pused}
    return Case(name=LOCAL % number + name, severity=severity, ill=ill, well={key: [(0, drops[-1][1])]})


LOCAL, REMOTE = "TCP port %d https: ", "TCP remote port %d https: "
PORT_CASES = (
    of_port(1, LOCAL + "Many connections in CLOSE_WAIT", 2, "tcp.status[CLOSE_WAIT,%d]", 101, 16),
    of_port(2, LOCAL + "Very many connections in CLOSE_WAIT", 3, "tcp.status[CLOSE_WAIT,%d]", 1001, 16),
    of_port(3, LOCAL + "Accept queue is nearly full", 2, "tcp.listen.queue.pused[%d]", 80.1, 6),
    of_port(4, LOCAL + "Accept queue is full", 4, "tcp.listen.queue.pused[%d]", 100.78, 3),
    of_port(5, LOCAL + "Many half-open connections (SYN_RECV)", 3, "tcp.status[SYN_RECV,%d]", 103, 6),
    of_port(5, LOCAL + "Many established connections", 2, "tcp.status[ESTABLISHED,%d]", 10001, 6),
    dropped(1, "Requests are dropped", 2, [*rise(11, ago=6 * MINUTE), (30, 1011)], [(HOUR, 0)]),
    dropped(
        2,
        "Requests are dropped all the time",
        4,
        [(HOUR, 0), (16 * MINUTE, 11), (11 * MINUTE, 22), (6 * MINUTE, 33), (30, 33)],
        [(HOUR, 100)],  # the milder one, which would come first, waits while the queue is full
    ),
    of_port(1, REMOTE + "Many connections in CLOSE_WAIT", 2, "tcp.remote.status[CLOSE_WAIT,%d]", 101, 16),
    of_port(2, REMOTE + "Very many connections in CLOSE_WAIT", 3, "tcp.remote.status[CLOSE_WAIT,%d]", 1001, 16),
    of_port(5, REMOTE + "Many established connections", 2, "tcp.remote.status[ESTABLISHED,%d]", 10001, 6),
)
# Ports: one with macros of its own, one of which there is a single sample, one that the filter leaves out.
TOLERANT, BRIEF, EXCLUDED = 6, 7, 8


def spiky(usual: float, peak: float) -> Series:
    """Return a value that jumps up every 20 minutes, for one sample."""
    return [(age, peak if age % (20 * MINUTE) == MINUTE else usual) for age in range(2 * HOUR, -1, -30)]


QUIET: dict[str, dict[str, Series]] = {
    "a healthy host with bursts": {
        "tcp.status[ESTABLISHED]": spiky(2000, 30_000),
        "tcp.status[CLOSE_WAIT]": spiky(3, 5000),
        "tcp.status[SYN_RECV]": spiky(2, 3000),
        "tcp.status[SYN_SENT]": spiky(2, 4000),
        "tcp.status[TIME_WAIT]": steady(8192, since=2 * HOUR, step=30),
        "tcp.sockets.time_wait": spiky(500, 8192),
        "tcp.sockets.unhashed": spiky(20, 5000),
        "tcp.mptcp.status[CLOSE_WAIT]": spiky(3, 500),
        "tcp.limit[TIME_WAIT]": steady(8192, since=2 * HOUR, step=30),
        "tcp.status[TOTAL]": spiky(2500, 50_000),
        "tcp.syn_sent.hosts": spiky(1, 500),
        "tcp.sender.uptime": [(age, 10 * HOUR - age) for age in range(2 * HOUR, -1, -30)],
        "tcp.sender.sample.time": spiky(0.004, 20),
        "tcp.sender.backlog": spiky(0, 500),
        "tcp.orphans.pused": spiky(1, 99),
        "tcp.memory.pused": spiky(2, 99),
        "tcp.ephemeral.pused": spiky(3, 100),
        "tcp.counter[AttemptFails]": [(age, (2 * HOUR - age) * 4) for age in range(2 * HOUR, -1, -30)],
        "tcp.counter[SyncookiesSent]": rise(100, ago=4 * MINUTE),
        OVERFLOWS: rise(0, ago=4 * MINUTE),
        "tcp.counter[TCPReqQFullDrop]": rise(10, ago=4 * MINUTE),
        "tcp.counter[TCPTimeWaitOverflow]": rise(10, ago=4 * MINUTE),
        "tcp.sender.dropped": steady(0, since=2 * HOUR, step=30),
        "tcp.sender.rejected": steady(3, since=2 * HOUR, step=30),
    },
    "a leak that stopped after 50 minutes": {
        "tcp.status[CLOSE_WAIT]": [(age, min(50, (5 * HOUR - age) // 60)) for age in range(5 * HOUR, -1, -300)]
    },
    "an outage of 50 minutes delivered late": {
        "tcp.sender.backlog": [
            *steady(0, since=3 * HOUR, until=HOUR),
            *((age, HOUR - age) for age in range(HOUR - 30, 10 * MINUTE, -30)),
            *steady(0, since=10 * MINUTE),
        ]
    },
    "a start with a full spool and in a storm after a night": {
        "tcp.sender.backlog": [*steady(0, since=10 * HOUR, until=9 * HOUR), (9, 9000)],
        "tcp.status[SYN_RECV]": [*steady(0, since=10 * HOUR, until=9 * HOUR), (9, 5000)],
        "tcp.syn_sent.hosts": [*steady(0, since=10 * HOUR, until=9 * HOUR), (9, 5000)],
    },
    "much is sent again of little": segments(again=30, sent=500),
    "much is sent again for a moment": {
        **segments(again=0, sent=900),
        "tcp.counter[RetransSegs]": [
            (age, 5000 if age < 10 * MINUTE else 0) for age in range(HOUR, 6 * MINUTE - 1, -30)
        ],
    },
    "cookies that come with a full accept queue": {
        "tcp.counter[SyncookiesSent]": rise(500, ago=6 * MINUTE),
        OVERFLOWS: rise(5000, ago=6 * MINUTE),
        TOTAL: steady_at(HOUR, *range(7 * MINUTE, -1, -30)),
    },
    "a start after a night in which much was counted": {
        **{
            f"tcp.counter[{name}]": [(9 * HOUR, 1000), (240, 90_000), (210, 90_000)]
            for name in ("TCPReqQFullDrop", "SyncookiesSent", "TCPTimeWaitOverflow", "TCPMemoryPressures")
        },
        OVERFLOWS: [(9 * HOUR, 0), (240, 0), (210, 0)],
        TOTAL: steady_at(9 * HOUR, *range(240, -1, -30)),
    },
    "a reboot after which all begins anew": {
        **{
            f"tcp.counter[{name}]": [(HOUR, 90_000), (10 * MINUTE, 0), (9 * MINUTE, 4)]
            for name in ("TCPReqQFullDrop", "SyncookiesSent", "TCPTimeWaitOverflow")
        },
        OVERFLOWS: [(HOUR, 0), (10 * MINUTE, 0), (9 * MINUTE, 0)],
        TOTAL: steady_at(*range(HOUR, -1, -30)),
    },
    "the very first start": {
        "tcp.sender.uptime": [(age, 5 * MINUTE - age) for age in range(5 * MINUTE, -1, -30)],
        "tcp.sender.rejected": [(300, 0), (270, 0), (240, 0), (0, 0)],
    },
}


class Hosts:
    """The hosts under test: one for each case, one with all the ports, and those on which nothing is wrong."""

    def __init__(self, zabbix: ZabbixStack) -> None:
        self._zabbix = zabbix
        self._uplink = Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}))
        self._now = int(time.time())
        self._ids: dict[str, str] = {}

    def create(self, names: Sequence[str]) -> None:
        """All of them at once, with the template, the ports discovered, and every trigger enabled."""
        api = self._zabbix.api
        first = self._zabbix.create_host(names[0], [TEMPLATE])
        (known,) = api.host.get(hostids=first, selectGroups=["groupid"], selectParentTemplates=["templateid"])
        like_it = {
            "groups": [{"groupid": group["groupid"]} for group in known["groups"]],
            "templates": [{"templateid": template["templateid"]} for template in known["parentTemplates"]],
        }
        others = api.host.create([{"host": name, **like_it} for name in names[1:]])["hostids"]
        self._ids = dict(zip(names, [first, *others], strict=True))
        tolerant = f'{{$TCP.CLOSE_WAIT.MAX.WARN:"{TOLERANT}"}}'
        for macro, value in ((tolerant, "5000"), ("{$TCP.PORT.NOT_MATCHES}", f"^{EXCLUDED}$")):
            api.usermacro.create(hostid=self._ids[PORTS], macro=macro, value=value)
        self._zabbix.wait_for_items(names[-1])
        self._discover()
        off = api.trigger.get(hostids=list(self._ids.values()), filter={"status": 1}, output=["triggerid"])
        api.trigger.update([{"triggerid": trigger["triggerid"], "status": 0} for trigger in off])
        self._zabbix.wait_for_items(PORTS)

    def push(self, host: str, series: Mapping[str, Series], texts: Mapping[str, str] | None = None) -> int:
        """Send it all in the order of its clocks, as the daemon would; how many values that were."""
        values = [(age, key, f"{value:g}") for key, pairs in series.items() for age, value in pairs]
        # A text of now could move the moment at which Zabbix judges what is pushed next.
        values += [(MINUTE, key, text) for key, text in (texts or {}).items()]
        values.sort(key=lambda value: -value[0])
        items = [Item(host=host, key=key, value=text, clock=self._now - age, ns=7) for age, key, text in values]
        assert self._uplink.send(items) == Outcome(accepted=len(items))
        return len(items)

    def problems(self) -> dict[str, set[str]]:
        """For each host the names of its triggers that are in problem state."""
        found = self._zabbix.api.trigger.get(
            hostids=list(self._ids.values()),
            filter={"value": 1},
            output=["description"],
            selectHosts=["host"],
        )
        problems: dict[str, set[str]] = {name: set() for name in self._ids}
        for trigger in found:
            problems[trigger["hosts"][0]["host"]].add(str(trigger["description"]))
        return problems

    def events(self, host: str) -> list[dict[str, Any]]:
        """Every problem that ever began."""
        output = ["name", "severity", "opdata"]
        return list(self._zabbix.api.event.get(hostids=self._ids[host], value=1, output=output, selectTags="extend"))

    def count(self, what: str, key: str) -> int:
        """How many items there are whose keys hold `key`, or how many triggers, on the host with the ports."""
        of_ports = {"hostids": self._ids[PORTS], "output": ["status"]}
        search = {"key_": key} if what == "item" else {"description": key}
        return len(getattr(self._zabbix.api, what).get(**of_ports, search=search))

    def _discover(self) -> None:
        ports = [
            {"{#PORT}": str(port), "{#SERVICE}": "https", "{#NAME}": f"{port} https", "{#SCOPE}": "any"}
            for port in range(1, EXCLUDED + 1)
        ]
        self.push(PORTS, {}, dict.fromkeys(("tcp.port.discovery", "tcp.remote.discovery"), json.dumps(ports)))

        def is_there() -> bool:
            local, remote = self.count("trigger", "TCP port"), self.count("trigger", "TCP remote port")
            return (local, remote) == (8 * (EXCLUDED - 1), 3 * EXCLUDED)

        self._zabbix.wait_until(is_there, "the server has made the triggers of all ports", 60)


@dataclass(frozen=True, kw_only=True)
class Story:
    """What the server said: the problems of each host while it was ill, and when it was well again; all events."""

    ill: dict[str, set[str]]
    well: dict[str, set[str]]
    events: dict[str, list[dict[str, Any]]]
    items_of_excluded: int


@pytest.fixture(scope="module")
def story(zabbix: ZabbixStack) -> Story:
    """All hosts fall ill together and recover together, which takes as long as one."""
    hosts = Hosts(zabbix)
    names = [*(case.host for case in HOST_CASES), PORTS, *QUIET]
    hosts.create(names)
    for host, series in QUIET.items():
        zabbix.wait_for_history(host, hosts.push(host, series))
    expected = {case.host: {case.name} for case in HOST_CASES} | {PORTS: {case.name for case in PORT_CASES}}

    def are(problems: Mapping[str, set[str]]) -> Callable[[], bool]:
        return lambda: hosts.problems() == {name: problems.get(name, set()) for name in names}

    def push(what: Callable[[Case], Mapping[str, Series]]) -> None:
        for case in HOST_CASES:
            hosts.push(case.host, what(case))
        hosts.push(PORTS, {key: series for case in PORT_CASES for key, series in what(case).items()})

    for case in HOST_CASES:
        hosts.push(case.host, {}, case.told)
    push(lambda case: case.ill)
    tolerated: dict[str, Series] = {
        f"tcp.status[CLOSE_WAIT,{TOLERANT}]": steady(900, since=HOUR),
        f"tcp.listen.queue.pused[{TOLERANT}]": [(120, 0.0), (90, 100.0), (60, 100.0)],
        f"tcp.listen.queue.pused[{BRIEF}]": [(60, 100.0)],
        # Half-open connections far below the limit, and a port without a listener, which has no limit.
        f"tcp.listen.queue.max[{TOLERANT}]": steady(511, since=HOUR),
        f"tcp.status[SYN_RECV,{TOLERANT}]": steady(103, since=HOUR),
        f"tcp.listen.queue.max[{BRIEF}]": steady(0, since=HOUR),
        f"tcp.status[SYN_RECV,{BRIEF}]": steady(1, since=HOUR),
        # Few drops, and a service that was started anew, whose counter began at 0.
        f"tcp.listen.drops[{TOLERANT}]": rise(10, ago=4 * MINUTE),
        f"tcp.listen.drops[{BRIEF}]": [(HOUR, 500), (11 * MINUTE, 0), (4 * MINUTE, 9)],
    }
    hosts.push(PORTS, tolerated)
    _in_time(zabbix, are(expected), "every case is a problem")
    ill = hosts.problems()
    push(lambda case: case.well)
    _in_time(zabbix, are({host: set() for host in expected}), "no case is a problem any more")
    return Story(
        ill=ill,
        well=hosts.problems(),
        events={name: hosts.events(name) for name in names},
        items_of_excluded=hosts.count("item", f"tcp.status[ESTABLISHED,{EXCLUDED}]"),
    )


def _in_time(zabbix: ZabbixStack, condition: Callable[[], bool], what: str) -> None:
    """Wait, but leave it to the tests to say which cases the wait was in vain for."""
    with contextlib.suppress(StackError):
        zabbix.wait_until(condition, what, 30)


@pytest.mark.parametrize("case", [*HOST_CASES, *PORT_CASES], ids=lambda case: case.name)
def test_it_fires_and_recovers(story: Story, case: Case) -> None:
    """The trigger becomes a problem, with its severity, threshold and current value, and is none when it is over."""
    assert case.name in story.ill[case.host]
    assert case.name not in story.well[case.host]
    (event,) = (event for event in story.events[case.host] if event["name"].startswith(f"{case.name} ("))
    assert int(event["severity"]) == case.severity
    assert re.search(r"\((?:.*\d.*)\)$", event["name"])
    assert all(event["opdata"].endswith(f" {text}") for text in case.told.values())
    for text in (event["name"], event["opdata"]):
        assert not re.search(r"[{}$]|UNKNOWN", text), text
    assert "scope" in {tag["tag"] for tag in event["tags"]}


@pytest.mark.parametrize("host", [*(case.host for case in HOST_CASES), PORTS])
def test_it_raises_no_other(story: Story, host: str) -> None:
    """One thing wrong is one problem: no milder one beside it, and none of what only looks alike."""
    cases = [case.name for case in (*HOST_CASES, *PORT_CASES) if case.host == host]
    assert story.ill[host] == set(cases)
    assert len(story.events[host]) == len(cases)


@pytest.mark.parametrize("host", QUIET)
def test_what_is_no_problem_raises_none(story: Story, host: str) -> None:
    """Bursts, outages that are over, restarts and what arrives late wake nobody up."""
    assert story.events[host] == []


def test_every_trigger_has_its_case(zabbix: ZabbixStack) -> None:
    """No trigger of the template is left out; silence has a test of its own, in test_real_zabbix.py."""
    (template,) = zabbix.api.template.get(filter={"host": TEMPLATE}, output=["templateid"])
    of_template = {"templateids": template["templateid"], "output": ["description"]}
    found = [*zabbix.api.trigger.get(**of_template), *zabbix.api.triggerprototype.get(**of_template)]
    names = {re.sub(r" port \d+ https", " port {#NAME}", case.name) for case in (*HOST_CASES, *PORT_CASES)}
    assert {trigger["description"] for trigger in found} == names | {"TCP: No data from tcp-status-sender"}


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "never told"])
@pytest.mark.parametrize("form", ["3.4", "6.0"])  # those that this Zabbix imports
def test_a_problem_says_whose_it_is(zabbix: ZabbixStack, form: str, *, is_told: bool) -> None:
    """In either form the trigger's description says it, in the newer the problem too. Where nobody tells, it fires as well."""
    name = TEMPLATE if form == "6.0" else OLDER
    zabbix.import_template(template.text(form).replace(TEMPLATE, name))
    host = f"of form {form} {'told' if is_told else 'never told'}"
    host_id = zabbix.create_host(host, [name])
    zabbix.wait_for_items(host)
    hosts, api = Hosts(zabbix), zabbix.api
    cases = {case.name: case for case in HOST_CASES if case.name in {MANY_CLOSE_WAIT, MANY_PORTS}}

    def push(what: Callable[[Case], Mapping[str, Series]]) -> None:
        hosts.push(host, {key: series for case in cases.values() for key, series in what(case).items()})

    def problems() -> dict[str, dict[str, str]]:
        output = ["description", "comments", "expression"]  # without that last one, no text is found
        found = api.trigger.get(hostids=host_id, filter={"value": 1}, output=output, expandComment=True)
        return {trigger["description"]: trigger for trigger in found}

    if is_told:
        texts = {key: text for case in cases.values() for key, text in case.told.items()}
        zabbix.wait_for_history(host, hosts.push(host, {}, texts))
    push(lambda case: case.ill)
    zabbix.wait_until(lambda: problems().keys() == cases.keys(), "both are problems", 30)
    names = NAMES if is_told else "*UNKNOWN*"
    assert {name: trigger["comments"].splitlines()[0] for name, trigger in problems().items()} == {
        MANY_CLOSE_WAIT: f"Whose they are, as last reported: {names}",
        MANY_PORTS: f"The destination, as last reported: {names}",
    }
    data = {each["name"]: each["opdata"] for each in api.problem.get(hostids=host_id, output=["name", "opdata"])}
    assert data == (
        {
            f"{MANY_CLOSE_WAIT} (over 100 for 15m)": f"Current: 101, mostly {names}",
            f"{MANY_PORTS} (over 80% for 5m)": f"Current: 80.1 %, to {names}",
        }
        if form == "6.0"
        else dict.fromkeys(cases, "")
    )
    push(lambda case: case.well)
    zabbix.wait_until(lambda: not problems(), "none is a problem any more", 30)


def test_a_filter_keeps_a_port_out(story: Story) -> None:
    """A port that the macro excludes has no items."""
    assert story.items_of_excluded == 0
