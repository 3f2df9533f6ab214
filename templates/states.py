"""The eleven TCP states: what each means to an operator, and the one colour that it has in every graph."""

from __future__ import annotations

from sender.model import TcpState

MEANINGS = {
    TcpState.ESTABLISHED: (
        "Open connections over which data can flow. The normal state of work; its level follows the load. A fall to "
        "near zero means that clients no longer get through, a climb without more load that connections are not closed."
    ),
    TcpState.SYN_SENT: (
        "This host has asked for a connection and has no answer yet. Normally near zero. Many of them mean that a "
        "peer is down or a firewall drops the requests; many towards many different machines suggest a worm or a "
        "scanner on this host."
    ),
    TcpState.SYN_RECV: (
        "A request for a connection has come in and was answered; the confirmation is still out. Many of them mean a "
        "SYN flood, or clients whose network loses packets."
    ),
    TcpState.FIN_WAIT1: (
        "The local program has closed the connection; neither the acknowledgement nor the peer's own close has come. "
        "Many of them mean peers that have vanished or a network that loses packets."
    ),
    TcpState.FIN_WAIT2: (
        "The local close is acknowledged; the peer has not closed its side. Many of them mean that the programs at the "
        "other end are slow to close."
    ),
    TcpState.TIME_WAIT: (
        "Closed; the kernel keeps the pair of addresses for a minute, so that late segments cannot reach a new "
        "connection. Normal on the side that closes first; very many of them use up the ports for outgoing connections."
    ),
    TcpState.CLOSE: (
        "Sockets without a connection: bound to a port, but neither listening nor connected. The kernel reports them "
        "since Linux 6.8; before that the value is always 0."
    ),
    TcpState.CLOSE_WAIT: (
        "The peer has closed, and the local program still has to call close(). Normally near zero: a number that stays "
        "or grows means that the program leaks connections; it fails when it runs out of file descriptors."
    ),
    TcpState.LAST_ACK: (
        "The peer had closed, then the local program; the acknowledgement of the local close is still out. Many of "
        "them mean peers that have vanished."
    ),
    TcpState.LISTEN: (
        "Sockets that wait for connection requests from any remote port. Changes when services start and stop; a fall "
        "means that a service is gone."
    ),
    TcpState.CLOSING: (
        "Both sides closed at the same moment; the acknowledgement of the local close is still out. Rare; normally 0."
    ),
}

COLOURS = {
    TcpState.ESTABLISHED: "2E9E5B",
    TcpState.TIME_WAIT: "4A9BD9",
    TcpState.CLOSE_WAIT: "E03C31",
    TcpState.SYN_RECV: "F59E0B",
    TcpState.SYN_SENT: "8E44AD",
    TcpState.FIN_WAIT1: "14B8A6",
    TcpState.FIN_WAIT2: "0F6E8C",
    TcpState.LAST_ACK: "D6409F",
    TcpState.CLOSING: "8D5B3A",
    TcpState.LISTEN: "7F8C8D",
    TcpState.CLOSE: "B8BF4A",
}
