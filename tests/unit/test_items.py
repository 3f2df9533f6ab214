"""From snapshot to items: every key, with its value and its moment."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sender import __version__
from sender.items import KEYS, QUEUE_KEYS, to_items, to_request
from sender.model import EphemeralPorts, Reported, Snapshot, TcpState, Usage, Vitals

if TYPE_CHECKING:
    import pytest

NAMES = "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING"
STATES = NAMES.split()
UNLISTED = {
    "tcp.sockets.time_wait": "7",
    "tcp.sockets.unhashed": "8",
    "tcp.mptcp.status[ESTABLISHED]": "21",
    "tcp.mptcp.status[CLOSE_WAIT]": "28",
}
TCP = [
    "ActiveOpens",
    "PassiveOpens",
    "AttemptFails",
    "EstabResets",
    "InSegs",
    "OutSegs",
    "RetransSegs",
    "InErrs",
    "OutRsts",
]
TCP_EXT = [
    *(
        "ListenOverflows",
        "ListenDrops",
        "SyncookiesSent",
        "TCPReqQFullDoCookies",
        "TCPReqQFullDrop",
        "TCPTimeWaitOverflow",
    ),
    *("TCPSynRetrans", "TCPAbortOnMemory", "TCPAbortOnTimeout", "TCPMemoryPressures"),
]
COUNTERS = {f"tcp.counter[{name}]": str(number) for number, name in enumerate([*TCP, *TCP_EXT], 100)}
USAGE = {"tcp.orphans": "3", "tcp.orphans.pused": "0.30", "tcp.memory": "4096", "tcp.memory.pused": "25.00"}
EPHEMERAL = {"tcp.ephemeral.used": "40", "tcp.ephemeral.pused": "20.00"}
SNAPSHOT = Snapshot(clock=1_700_000_000, ns=5, duration_s=0.0871234, states={state: 10 + state for state in TcpState})


def test_the_keys_are_the_contract() -> None:
    """The keys, which users and the template hold on to, are exactly these."""
    own = ["version", "uptime", "sample.time", "backlog", "dropped", "rejected"]
    states = [f"tcp.status[{name}]" for name in [*STATES, "TOTAL"]]
    own = [f"tcp.sender.{name}" for name in own]
    assert list(KEYS) == [
        *states,
        "tcp.syn_sent.hosts",
        *UNLISTED,
        "tcp.limit[TIME_WAIT]",
        *USAGE,
        *COUNTERS,
        *EPHEMERAL,
        *own,
    ]


def test_the_states_have_the_kernels_numbers() -> None:
    """State names stand at the numbers of include/net/tcp_states.h, 1 to 11."""
    assert {state.name: state.value for state in TcpState} == {name: number for number, name in enumerate(STATES, 1)}


def test_each_value_is_that_of_its_key() -> None:
    """Each state's count, their sum and the daemon's own figures arrive under their own keys, as text."""
    vitals = Vitals(uptime_s=61, backlog=1, dropped=2, rejected=3)
    mptcp = {state: 20 + state for state in TcpState}
    snapshot = replace(SNAPSHOT, time_wait_sockets=7, unhashed=8, mptcp=mptcp, time_wait_limit=9)
    counters = {name: number for number, name in enumerate([*TCP, *TCP_EXT], 100)}
    snapshot = replace(snapshot, counters=counters, orphans=Usage(used=3, limit=1000))
    snapshot = replace(snapshot, memory=Usage(used=4096, limit=16384), ephemeral=EphemeralPorts(used=40, usable=200))
    values = {item.key: item.value for item in to_items(snapshot, vitals, host="web-01")}
    assert values == {
        **UNLISTED,
        **USAGE,
        **COUNTERS,
        **EPHEMERAL,
        "tcp.limit[TIME_WAIT]": "9",
        **{f"tcp.status[{name}]": str(10 + number) for number, name in enumerate(STATES, 1)},
        "tcp.status[TOTAL]": "176",
        "tcp.syn_sent.hosts": "0",
        "tcp.sender.version": __version__,
        "tcp.sender.uptime": "61",
        "tcp.sender.sample.time": "0.087123",
        "tcp.sender.backlog": "1",
        "tcp.sender.dropped": "2",
        "tcp.sender.rejected": "3",
    }


def test_a_figure_that_is_unknown_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key has no value has no item, be it of the host or of a port: least of all one with "None" or 0."""
    monkeypatch.setitem(KEYS, "tcp.another", lambda _snapshot, _vitals: None)
    monkeypatch.setitem(QUEUE_KEYS, "tcp.another[{#PORT}]", lambda _listener: None)
    items = to_items(SNAPSHOT, Vitals(), host="web-01", tracked=Reported(local=[443]))
    keys = {item.key for item in items}
    assert not keys & {
        "tcp.another",
        "tcp.another[443]",
        "tcp.limit[TIME_WAIT]",
        *UNLISTED,
        *USAGE,
        *COUNTERS,
        *EPHEMERAL,
    }
    assert (
        len(keys) == len(KEYS) - 2 - len(UNLISTED) - len(USAGE) - len(COUNTERS) - len(EPHEMERAL) + len(QUEUE_KEYS) - 3
    )
    assert "None" not in {item.value for item in items}


def test_close_that_is_unknown_is_not_sent() -> None:
    """Where the kernel was not asked for CLOSE, neither the host's nor a port's count goes out, and TOTAL is of the others."""
    states = dict(SNAPSHOT.states)
    del states[TcpState.CLOSE]
    tracked = Reported(local=[443], remote=[5432], states=[TcpState.CLOSE, TcpState.LISTEN])
    items = to_items(replace(SNAPSHOT, states=states), Vitals(), host="web-01", tracked=tracked)
    values = {item.key: item.value for item in items}
    assert not [key for key in values if "CLOSE" in key and "CLOSE_WAIT" not in key]
    assert values["tcp.status[TOTAL]"] == str(176 - 17)
    assert values["tcp.status[LISTEN,443]"] == values["tcp.remote.status[LISTEN,5432]"] == "0"


def test_every_item_carries_host_and_moment() -> None:
    """Host name, clock and ns are on every item: Zabbix numbers values without them as it likes."""
    items = to_items(SNAPSHOT, Vitals(), host="web-01")
    assert {(item.host, item.clock, item.ns) for item in items} == {("web-01", 1_700_000_000, 5)}


def test_the_request_is_the_sender_protocols() -> None:
    """The request has the fields that the sender protocol names, with the value as text and the time as numbers."""
    request = json.loads(json.dumps(to_request(to_items(SNAPSHOT, Vitals(), host="web-01")[:1])))
    value = {"host": "web-01", "key": "tcp.status[ESTABLISHED]", "value": "11", "clock": 1_700_000_000, "ns": 5}
    assert request == {"request": "sender data", "data": [value]}
