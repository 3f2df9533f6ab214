"""The host's dashboard from 7.0 on: what is where."""

from __future__ import annotations

from sender.items import EPHEMERAL_TOP, TOPS
from sender.model import TcpState
from templates.tiles import Row, board, cells, figure, gauge, graph, history, lines, over, prototypes, text

_PORT, _SERVICE, _NAMESPACE = "^TCP port (.*): ", "^TCP service (.*?)(?:\\.service)?: ", "^TCP namespace (.*): "
_GREEN, _RED, _ORANGE, _PINK = "3FAE6B", "D9483B", "C8641E", "C2276B"
"""Of each Zabbix makes as many as there are lines, up to half the way to black and to white: two lines have it and the lightest."""

_CLOSE_WAIT = (over("CLOSE_WAIT.MAX.WARN", "WARNING"), over("CLOSE_WAIT.MAX.CRIT", "AVERAGE"))
_QUEUES = cells(
    "TCP port *: Accept queue in %",
    "Accept queue of each port",
    _PORT,
    over("LISTEN.QUEUE.PUSED.MAX.WARN", "WARNING"),
    over("LISTEN.QUEUE.PUSED.MAX.CRIT", "HIGH"),
)
_DROPS = cells(
    "TCP port *: Requests dropped per second",
    "Requests dropped per second at each port",
    _PORT,
    over("DROPS.MAX.WARN", "WARNING", seconds=300),
    digits=2,
)


def _who(state: TcpState) -> tuple[str, str]:
    return TOPS[state], f"{state.name} by {'destination' if state is TcpState.SYN_SENT else 'service'}"


BOARDS = (
    board(
        "Overview",
        Row(
            2,
            (
                figure("tcp.status[ESTABLISHED]", "ESTABLISHED"),
                figure("tcp.status[TIME_WAIT]", "TIME_WAIT"),
                figure("tcp.status[CLOSE_WAIT]", "CLOSE_WAIT", *_CLOSE_WAIT),
                figure("tcp.status[SYN_RECV]", "SYN_RECV", over("SYN_RECV.MAX.CRIT", "AVERAGE")),
                figure("tcp.status[SYN_SENT]", "SYN_SENT", over("SYN_SENT.MAX.WARN", "WARNING")),
                figure("tcp.syn_sent.hosts", "Addresses in SYN_SENT", over("SYN_SENT.HOSTS.MAX.CRIT", "HIGH")),
            ),
        ),
        Row(
            3,
            (
                _QUEUES._replace(width=3),
                gauge(
                    "tcp.ephemeral.pused",
                    "Local ports in use",
                    over("EPHEMERAL.PUSED.MAX.WARN", "WARNING"),
                    over("EPHEMERAL.PUSED.MAX.CRIT", "HIGH"),
                ),
                gauge("tcp.memory.pused", "Memory of TCP", over("MEMORY.PUSED.MAX.CRIT", "AVERAGE")),
                gauge("tcp.orphans.pused", "Orphaned sockets", over("ORPHANS.PUSED.MAX.WARN", "WARNING")),
            ),
        ),
        Row(7, (graph("TCP: States"), graph("TCP: Problem states"))),
        Row(5, (graph("TCP: Closing states"), graph("TCP: Unanswered requests"))),
    ),
    board(
        "Who",
        Row(2, (text(*_who(TcpState.CLOSE_WAIT)), text(*_who(TcpState.SYN_SENT)))),
        Row(2, (text(*_who(TcpState.ESTABLISHED)),)),
        Row(2, (text(*_who(TcpState.SYN_RECV)), text(*_who(TcpState.FIN_WAIT2)))),
        Row(
            2,
            (text(*_who(TcpState.LAST_ACK)), text(EPHEMERAL_TOP, "Destination with most local ports in use")),
        ),
        Row(3, (cells("TCP service *: CLOSE_WAIT", "CLOSE_WAIT of each service", _SERVICE, *_CLOSE_WAIT),)),
        Row(
            7,
            (
                lines("Services: ESTABLISHED", "TCP service *: ESTABLISHED", _GREEN, is_stacked=True),
                lines("Services: CLOSE_WAIT", "TCP service *: CLOSE_WAIT", _RED),
            ),
        ),
        Row(
            6,
            (
                history(
                    "Whose they were",
                    _who(TcpState.CLOSE_WAIT),
                    _who(TcpState.SYN_SENT),
                    _who(TcpState.SYN_RECV),
                    _who(TcpState.ESTABLISHED),
                ),
            ),
        ),
        Row(5, (graph("TCP: Local ports in use in %"),)),
    ),
    board(
        "Ports",
        Row(3, (cells("TCP port *: CLOSE_WAIT", "CLOSE_WAIT of each port", _PORT, *_CLOSE_WAIT), _QUEUES)),
        Row(
            6,
            (
                lines("Ports: ESTABLISHED", "TCP port *: ESTABLISHED", _GREEN, is_stacked=True),
                lines("Ports: CLOSE_WAIT", "TCP port *: CLOSE_WAIT", _RED),
            ),
        ),
        Row(
            15,
            (
                prototypes("TCP port {#NAME}: Connections", "TCP ports: Connections", 3),
                prototypes("TCP port {#NAME}: Problem states", "TCP ports: Problem states", 3),
            ),
        ),
    ),
    board(
        "Accept queues",
        Row(3, (_QUEUES, _DROPS)),
        Row(
            6,
            (
                lines("Ports: Accept queue in %", "TCP port *: Accept queue in %", _ORANGE),
                lines("Ports: Requests dropped per second", "TCP port *: Requests dropped per second", _PINK),
            ),
        ),
        Row(
            15,
            (
                prototypes("TCP port {#NAME}: Accept queue", "TCP ports: Accept queue", 3),
                prototypes("TCP port {#NAME}: Waiting connections", "TCP ports: Waiting connections", 3),
            ),
        ),
    ),
    board(
        "Events",
        Row(6, (graph("TCP: Events", columns=3),)),
        Row(6, (graph("TCP: Connections requested, failed and reset"), graph("TCP: Segments"))),
        Row(5, (graph("TCP: Segments sent again"), graph("TCP: Segments sent again in %"))),
        Row(5, (graph("TCP: Memory and orphaned sockets in %"),)),
        Row(10, (prototypes("TCP port {#NAME}: Drops", "TCP ports: Drops", 2, columns=2),)),
    ),
    board(
        "Remote ports",
        Row(
            10,
            (
                prototypes("TCP remote port {#NAME}: Connections", "TCP remote ports: Connections", 2),
                prototypes("TCP remote port {#NAME}: Problem states", "TCP remote ports: Problem states", 2),
            ),
        ),
    ),
    board(
        "Containers",
        Row(3, (cells("TCP namespace *: CLOSE_WAIT", "CLOSE_WAIT of each namespace", _NAMESPACE, *_CLOSE_WAIT),)),
        Row(
            7,
            (
                lines("Namespaces: ESTABLISHED", "TCP namespace *: ESTABLISHED", _GREEN, is_stacked=True),
                lines("Namespaces: CLOSE_WAIT", "TCP namespace *: CLOSE_WAIT", _RED),
                lines("Namespaces: Requests dropped per second", "TCP namespace *: Requests dropped per second", _PINK),
            ),
        ),
    ),
    board(
        "Sender",
        Row(
            2,
            (
                figure("tcp.sender.uptime", "Uptime", size=25),
                figure("tcp.sender.version", "Version", size=25),
                figure("tcp.sender.backlog", "Values queued", over("SENDER.BACKLOG.MAX.WARN", "WARNING")),
                figure("tcp.sender.dropped", "Values dropped"),  # since the start: no colour that stays
                figure("tcp.sender.rejected", "Values rejected"),
                figure("tcp.sender.sample.time", "Sample time", over("SENDER.SAMPLE.TIME.MAX.WARN", "WARNING")),
            ),
        ),
        Row(
            6,
            (
                graph("TCP sender: Values queued", columns=1),
                graph("TCP sender: Values dropped and rejected", columns=1),
                graph("TCP sender: Sample time", columns=1),
            ),
        ),
    ),
)
