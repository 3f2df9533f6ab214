"""The TCP states for people: what each means, and its one colour. Pure; knows neither the kernel nor how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class StateInfo:
    """A state for people: `meaning` of one socket in it, `when_high` for many of them, `colour` as RRGGBB."""

    meaning: str
    when_high: str
    colour: str


STATES: Mapping[TcpState, StateInfo] = {
    TcpState.ESTABLISHED: StateInfo(
        meaning="Open: data can flow",
        when_high="more load, or clients that never close",
        colour="2E9E5B",
    ),
    TcpState.SYN_SENT: StateInfo(
        meaning="Request sent, no answer yet",
        when_high="a peer or a firewall is silent, or this host scans",
        colour="8E44AD",
    ),
    TcpState.SYN_RECV: StateInfo(
        meaning="Request received and answered, not confirmed yet",
        when_high="a SYN flood, or clients lose packets",
        colour="F59E0B",
    ),
    TcpState.FIN_WAIT1: StateInfo(
        meaning="Closed by this host, not acknowledged yet",
        when_high="peers have vanished",
        colour="14B8A6",
    ),
    TcpState.FIN_WAIT2: StateInfo(
        meaning="Closed by this host, not by the peer yet",
        when_high="programs at the other end are slow to close",
        colour="0F6E8C",
    ),
    TcpState.TIME_WAIT: StateInfo(
        meaning="Closed, kept for a minute",
        when_high="many short connections: normal unless ports run out",
        colour="4A9BD9",
    ),
    TcpState.CLOSE: StateInfo(
        meaning="Bound to a port, neither listening nor connected",
        when_high="programs hold ports that they do not use",
        colour="B8BF4A",
    ),
    TcpState.CLOSE_WAIT: StateInfo(
        meaning="Closed by the peer, not by the local program yet",
        when_high="a program on this host leaks connections",
        colour="E03C31",
    ),
    TcpState.LAST_ACK: StateInfo(
        meaning="Closed by the peer, then by this host, not acknowledged yet",
        when_high="peers have vanished",
        colour="D6409F",
    ),
    TcpState.LISTEN: StateInfo(
        meaning="Waits for connection requests from any remote port",
        when_high="many services, or many workers for each",
        colour="7F8C8D",
    ),
    TcpState.CLOSING: StateInfo(
        meaning="Closed by both sides at once, not acknowledged yet",
        when_high="rare; normally 0",
        colour="8D5B3A",
    ),
}
"""Every state, in the order of the kernel's numbers."""
