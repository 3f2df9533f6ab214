"""The eleven TCP states for operators: what each means, and what many or few sockets in it point to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.model import TcpState
from sender.states import STATES
from templates.model import Item

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_ADVICE = {
    TcpState.ESTABLISHED: (
        "This is the normal state of work; its level follows the load. A fall to near zero means that clients no longer "
        "get through. A climb without more load means that connections are not closed."
    ),
    TcpState.SYN_SENT: (
        "Normally near zero. Many of them mean that a peer is down or that a firewall drops the requests. Many towards "
        "many different machines suggest a worm or a scanner on this host."
    ),
    TcpState.SYN_RECV: "Many of them mean a SYN flood, or clients whose network loses packets.",
    TcpState.FIN_WAIT1: (
        "Neither the acknowledgement nor the peer's own close has arrived. Many of them "
        "mean peers that have vanished, or a network that loses packets."
    ),
    TcpState.FIN_WAIT2: (
        "The peer has acknowledged the local close. Many of them mean that the programs at the other end are slow to close."
    ),
    TcpState.TIME_WAIT: (
        "The kernel keeps the pair of addresses so that late segments cannot reach a new connection. Normal on the side "
        "that closes first. Very many of them use up the ports for outgoing connections."
    ),
    TcpState.CLOSE: (
        "Such a socket has no connection. The kernel reports them since Linux 6.8; before that the value is always 0. It is "
        "asked for them once a minute. While this machine has more than 4,000 TCP sockets it is not asked, so that no "
        "connection is delayed, and no value is sent."
    ),
    TcpState.CLOSE_WAIT: (
        "It still has to call close(). Normally near zero. A number that stays or grows means that the "
        "program leaks connections; it fails when it runs out of file descriptors."
    ),
    TcpState.LAST_ACK: "Many of them mean peers that have vanished.",
    TcpState.LISTEN: "Changes when services start and stop. A fall means that a service is gone.",
    TcpState.CLOSING: "Rare; normally 0.",
}

MEANINGS = {state: f"{about.meaning}. {_ADVICE[state]}" for state, about in STATES.items()}
COLOURS = {state: about.colour for state, about in STATES.items()}


def prototypes(
    key: str, name: str, whose: str, sent: Sequence[TcpState], setting: str, *, without: Collection[TcpState] = ()
) -> dict[str, Item]:
    """Return a prototype for each state but some, whose name stands in `key`.

    Those that the daemon does not send, where `setting` of its configuration says nothing, are not created, and say so.
    """
    return {
        key.format(state.name): Item(
            name=f"{name}: {state.name}",
            description=f"{whose} {MEANINGS[state]}{'' if state in sent else _also(state, setting)}",
            component="network",
            is_discovered=state in sent,
        )
        for state in TcpState
        if state not in without
    }


def _also(state: TcpState, setting: str) -> str:
    return (
        f"\n\nNot created as shipped: to have it, turn on Discover (before Zabbix 5.2: Create enabled) for this "
        f"prototype, and name {state.name} in {setting} of the daemon's configuration too."
    )
