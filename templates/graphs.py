"""The graphs. Established connections never share an axis with the states that mean trouble, which they would drown."""

from __future__ import annotations

from sender.model import TcpState
from templates.counters import SHARE, rate
from templates.listeners import NETNS_DROPS_RATE, RATE
from templates.model import Graph, Line
from templates.states import COLOURS

WORK = (TcpState.ESTABLISHED, TcpState.TIME_WAIT)
TROUBLE = (TcpState.CLOSE_WAIT, TcpState.SYN_RECV, TcpState.SYN_SENT, TcpState.LAST_ACK)
CLOSING = (TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.LAST_ACK, TcpState.CLOSING)
STACK = (*WORK, TcpState.LISTEN, *TROUBLE, TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.CLOSE)

OTHER_COLOURS = {
    "tcp.syn_sent.hosts": "3B1F5B",
    "tcp.sockets.unhashed": "6B7280",
    "tcp.mptcp.status[CLOSE_WAIT]": "9D174D",
    "tcp.sender.sample.time": "00838F",
    "tcp.sender.backlog": "5C6BC0",
    "tcp.sender.dropped": "B71C1C",
    "tcp.sender.rejected": "EF6C00",
    "tcp.listen.queue.pused[{#PORT}]": "C2410C",
    "tcp.listen.queue[{#PORT}]": "FDBA74",
    "tcp.listen.queue.peak[{#PORT}]": "7F1D1D",
    RATE: "BE123C",
    NETNS_DROPS_RATE: "9F1239",
    "tcp.orphans.pused": "A16207",
    "tcp.memory.pused": "4338CA",
    "tcp.ephemeral.pused": "4D7C0F",
    SHARE: "DB2777",
    **{
        rate(name): colour
        for name, colour in {
            "ListenDrops": "DC2626",
            "ListenOverflows": "FB923C",
            "SyncookiesSent": "A855F7",
            "TCPReqQFullDrop": "701A75",
            "TCPTimeWaitOverflow": "0284C7",
            "TCPAbortOnMemory": "65A30D",
            "TCPAbortOnTimeout": "166534",
            "TCPMemoryPressures": "EAB308",
            "ActiveOpens": "2563EB",
            "PassiveOpens": "22C55E",
            "AttemptFails": "EF4444",
            "EstabResets": "F97316",
            "OutRsts": "78716C",
            "InSegs": "06B6D4",
            "OutSegs": "7C3AED",
            "RetransSegs": "E11D48",
            "TCPSynRetrans": "CA8A04",
            "InErrs": "111827",
        }.items()
    },
}
"""The colours of other items, one each, wherever it is drawn."""


def _stacked(*states: TcpState, key: str = "tcp.status[{}]") -> tuple[Line, ...]:
    return tuple(Line(key=key.format(state.name), colour=COLOURS[state], draw="FILLED_REGION") for state in states)


def _peaks(*states: TcpState, key: str = "tcp.status[{}]") -> tuple[Line, ...]:
    return tuple(Line(key=key.format(state.name), colour=COLOURS[state], function="MAX") for state in states)


def _line(key: str, *, draw: str = "BOLD_LINE") -> Line:
    return Line(key=key, colour=OTHER_COLOURS[key], draw=draw, function="MAX")


def _rates(*names: str) -> tuple[Line, ...]:
    return tuple(_line(rate(name)) for name in names)


GRAPHS = (
    Graph(name="TCP: States", lines=_stacked(*STACK), is_stacked=True),
    Graph(
        name="TCP: Problem states",
        lines=(*_peaks(*TROUBLE), _line("tcp.sockets.unhashed"), _line("tcp.mptcp.status[CLOSE_WAIT]")),
    ),
    Graph(name="TCP: Closing states", lines=_peaks(*CLOSING)),
    Graph(name="TCP: Unanswered requests", lines=(*_peaks(TcpState.SYN_SENT), _line("tcp.syn_sent.hosts"))),
    Graph(
        name="TCP: Events",
        lines=_rates(
            *("ListenDrops", "ListenOverflows", "SyncookiesSent", "TCPReqQFullDrop", "TCPTimeWaitOverflow"),
            *("TCPAbortOnMemory", "TCPAbortOnTimeout", "TCPMemoryPressures"),
        ),
    ),
    Graph(
        name="TCP: Connections requested, failed and reset",
        lines=_rates("ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "OutRsts"),
    ),
    Graph(name="TCP: Segments", lines=_rates("InSegs", "OutSegs")),
    Graph(name="TCP: Segments sent again", lines=_rates("RetransSegs", "TCPSynRetrans", "InErrs")),
    Graph(name="TCP: Segments sent again in %", lines=(_line(SHARE, draw="FILLED_REGION"),)),
    Graph(
        name="TCP: Memory and orphaned sockets in %",
        lines=(_line("tcp.memory.pused"), _line("tcp.orphans.pused")),
        is_percent=True,
    ),
    Graph(
        name="TCP: Local ports in use in %",
        lines=(_line("tcp.ephemeral.pused", draw="FILLED_REGION"),),
        is_percent=True,
    ),
    Graph(name="TCP sender: Values queued", lines=(_line("tcp.sender.backlog", draw="FILLED_REGION"),)),
    Graph(
        name="TCP sender: Values dropped and rejected",
        lines=(_line("tcp.sender.dropped"), _line("tcp.sender.rejected")),
    ),
    Graph(name="TCP sender: Sample time", lines=(_line("tcp.sender.sample.time"),)),
)

_TROUBLE_OF_A_PORT = (TcpState.CLOSE_WAIT, TcpState.SYN_RECV)
_LOCAL, _REMOTE = "tcp.status[{},{{#PORT}}]", "tcp.remote.status[{},{{#PORT}}]"
_SERVICE, _NETNS = "tcp.service.status[{},{{#UNIT}}]", "tcp.netns.status[{},{{#NETNS}}]"

PORT_GRAPHS = (
    Graph(
        name="TCP port {#NAME}: Connections",
        lines=_stacked(*WORK, key=_LOCAL),
        is_stacked=True,
    ),
    Graph(name="TCP port {#NAME}: Problem states", lines=_peaks(*_TROUBLE_OF_A_PORT, key=_LOCAL)),
    Graph(
        name="TCP port {#NAME}: Accept queue",
        lines=(_line("tcp.listen.queue.pused[{#PORT}]", draw="FILLED_REGION"),),
        is_percent=True,
    ),
    Graph(
        name="TCP port {#NAME}: Waiting connections",  # not in the graph above, whose axis ends at 100 %
        lines=(_line("tcp.listen.queue[{#PORT}]", draw="FILLED_REGION"), _line("tcp.listen.queue.peak[{#PORT}]")),
    ),
    Graph(name="TCP port {#NAME}: Drops", lines=(_line(RATE, draw="FILLED_REGION"),)),
)

REMOTE_GRAPHS = (
    Graph(
        name="TCP remote port {#NAME}: Connections",
        lines=_stacked(*WORK, key=_REMOTE),
        is_stacked=True,
    ),
    Graph(
        name="TCP remote port {#NAME}: Problem states",
        lines=_peaks(*_TROUBLE_OF_A_PORT, key=_REMOTE),
    ),
)

SERVICE_GRAPHS = (
    Graph(name="TCP service {#UNIT}: Connections", lines=_stacked(TcpState.ESTABLISHED, key=_SERVICE)),
    Graph(name="TCP service {#UNIT}: Problem states", lines=_peaks(TcpState.CLOSE_WAIT, key=_SERVICE)),
)

NAMESPACE_GRAPHS = (
    Graph(name="TCP namespace {#NETNS}: Connections", lines=_stacked(TcpState.ESTABLISHED, key=_NETNS)),
    Graph(name="TCP namespace {#NETNS}: Problem states", lines=_peaks(TcpState.CLOSE_WAIT, key=_NETNS)),
    Graph(name="TCP namespace {#NETNS}: Drops", lines=(_line(NETNS_DROPS_RATE, draw="FILLED_REGION"),)),
)
