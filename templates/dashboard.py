"""The host's dashboard: what is where. Format 3.4 gets its graphs as a screen."""

from __future__ import annotations

import re

from sender.items import EPHEMERAL_TOP, TOPS
from sender.model import TcpState
from templates.model import Page, Widget

NAME = "TCP states"


def _figures(*keys: str) -> tuple[Widget, ...]:
    width = 24 // len(keys)
    return tuple(
        Widget(kind="ITEM", shows=key, x=n * width, y=0, width=width, height=2, title=title)
        for n, (key, title) in enumerate(pair.split(" ", 1) for pair in keys)
    )


def _graph(shows: str, x: int, y: int, width: int, height: int) -> Widget:
    return Widget(kind="GRAPH_CLASSIC", shows=shows, x=x, y=y, width=width, height=height)


def _texts() -> tuple[Widget, ...]:
    """Return the texts: two in a row, but the one that is long. What does not fit ends in "..."."""
    rows = (
        (TcpState.CLOSE_WAIT, TcpState.SYN_SENT),
        (TcpState.ESTABLISHED,),
        (TcpState.SYN_RECV, TcpState.FIN_WAIT2),
        (TcpState.LAST_ACK, EPHEMERAL_TOP),
    )
    return tuple(
        _text(shows, n * 24 // len(row), 2 * y, 24 // len(row))
        for y, row in enumerate(rows)
        for n, shows in enumerate(row)
    )


def _text(shows: TcpState | str, x: int, y: int, width: int) -> Widget:
    if isinstance(shows, str):
        key, title = shows, "Destination with most local ports in use"
    else:
        by = "destination" if shows is TcpState.SYN_SENT else "service"
        key, title = TOPS[shows], f"{shows.name} by {by}"
    return Widget(kind="ITEM", shows=key, x=x, y=y, width=width, height=2, title=title)


def _prototypes(rows: int, *graphs: str, y: int = 0) -> tuple[Widget, ...]:
    """Return widgets with one port in each row, two graphs side by side: with more, a usual screen cuts legends off."""
    width = 24 // len(graphs)
    return tuple(
        Widget(
            kind="GRAPH_PROTOTYPE",
            shows=graph,
            x=n * width,
            y=y,
            width=width,
            height=5 * rows,
            title=_plural(graph),
            rows=rows,
        )
        for n, graph in enumerate(graphs)
    )


def _drops(graph: str, y: int) -> Widget:
    """Return a widget with two ports or namespaces side by side."""
    return Widget(
        kind="GRAPH_PROTOTYPE",
        shows=graph,
        x=0,
        y=y,
        width=24,
        height=10,
        title=_plural(graph),
        columns=2,
        rows=2,
    )


def _plural(graph: str) -> str:
    """Return a prototype's name for the many that are made of it."""
    return re.sub(r" \{#[A-Z]+\}", "s", graph)


PAGES = (
    Page(
        name="Overview",
        widgets=(
            *_figures(
                "tcp.status[ESTABLISHED] ESTABLISHED",
                "tcp.status[TIME_WAIT] TIME_WAIT",
                "tcp.status[CLOSE_WAIT] CLOSE_WAIT",
                "tcp.status[SYN_RECV] SYN_RECV",
                "tcp.status[SYN_SENT] SYN_SENT",
                "tcp.syn_sent.hosts Addresses in SYN_SENT",
            ),
            _graph("TCP: States", 0, 2, 12, 9),
            _graph("TCP: Problem states", 12, 2, 12, 9),
            _graph("TCP: Closing states", 0, 11, 12, 6),
            _graph("TCP: Unanswered requests", 12, 11, 12, 6),
        ),
    ),
    Page(
        name="Who",
        widgets=(
            *_texts(),
            _graph("TCP: Local ports in use in %", 0, 8, 24, 5),
            *_prototypes(3, "TCP service {#UNIT}: Connections", "TCP service {#UNIT}: Problem states", y=13),
        ),
    ),
    Page(
        name="Ports",
        widgets=_prototypes(
            3,
            "TCP port {#NAME}: Connections",
            "TCP port {#NAME}: Problem states",
        ),
    ),
    Page(
        name="Accept queues",
        widgets=_prototypes(
            3,
            "TCP port {#NAME}: Accept queue",
            "TCP port {#NAME}: Waiting connections",
        ),
    ),
    Page(
        name="Events",
        widgets=(
            _graph("TCP: Events", 0, 0, 12, 7),
            _graph("TCP: Connections requested, failed and reset", 12, 0, 12, 7),
            _graph("TCP: Segments", 0, 7, 12, 6),
            _graph("TCP: Segments sent again", 12, 7, 12, 6),
            _graph("TCP: Segments sent again in %", 0, 13, 12, 6),
            _graph("TCP: Memory and orphaned sockets in %", 12, 13, 12, 6),
            _drops("TCP port {#NAME}: Drops", y=19),
        ),
    ),
    Page(
        name="Remote ports",
        widgets=_prototypes(
            2,
            "TCP remote port {#NAME}: Connections",
            "TCP remote port {#NAME}: Problem states",
        ),
    ),
    Page(
        name="Containers",
        widgets=(
            *_prototypes(2, "TCP namespace {#NETNS}: Connections", "TCP namespace {#NETNS}: Problem states"),
            _drops("TCP namespace {#NETNS}: Drops", y=10),
        ),
    ),
    Page(
        name="Sender",
        widgets=(
            *_figures(
                "tcp.sender.uptime Uptime",
                "tcp.sender.version Version",
                "tcp.sender.backlog Values queued",
                "tcp.sender.dropped Values dropped",
                "tcp.sender.rejected Values rejected",
                "tcp.sender.sample.time Sample time",
            ),
            _graph("TCP sender: Values queued", 0, 2, 8, 6),
            _graph("TCP sender: Values dropped and rejected", 8, 2, 8, 6),
            _graph("TCP sender: Sample time", 16, 2, 8, 6),
        ),
    ),
)
