"""What each item of the host is called, and what it means to an operator."""

from __future__ import annotations

from sender.model import TcpState
from templates import ephemeral, owners
from templates.counters import COUNTERS
from templates.model import Item
from templates.states import MEANINGS

NONE = "TCP sender: None"
VALUE_MAPS = {NONE: {"0": "none"}}

ITEMS = {
    **{
        f"tcp.status[{state.name}]": Item(name=f"TCP: {state.name}", description=MEANINGS[state], component="network")
        for state in TcpState
    },
    "tcp.status[TOTAL]": Item(
        name="TCP: Total",
        description="All TCP sockets of the host, IPv4 and IPv6, listening ones included: the sum of the states.",
        component="network",
    ),
    "tcp.syn_sent.hosts": Item(
        name="TCP: Different addresses in SYN_SENT",
        description=(
            "How many different remote addresses do not answer this host's requests for connections. A peer that is "
            "down is one address, however many requests wait for it. Many addresses at once suggest that something on "
            "this host scans the network, or that its way out is broken."
        ),
        component="network",
    ),
    "tcp.sockets.time_wait": Item(
        name="TCP: Sockets against the limit of TIME_WAIT",
        description=(
            "Sockets that count against the limit of TIME_WAIT: those in TIME_WAIT, and those in FIN_WAIT2 that their "
            "program has closed."
        ),
        component="network",
    ),
    "tcp.sockets.unhashed": Item(
        name="TCP: Sockets in no state",
        description=(
            "TCP sockets that are in none of the kernel's tables: those that a reset (RST) has ended, and that "
            "their program has not closed; those that are not connected yet; those in CLOSE. Normally few. A number that "
            "grows means that a program leaks sockets: it fails when it runs out of file descriptors. On a host with "
            "containers some sockets of other kinds can be among them, such as unconnected UDP ones. Where the kernel has "
            "sockets of its own (WireGuard, VXLAN, NFS), it can be too low, by one for each."
        ),
        component="network",
    ),
    "tcp.mptcp.status[ESTABLISHED]": Item(
        name="TCP: ESTABLISHED (MPTCP)",
        description=(
            "Open MPTCP connections. The TCP connections underneath are in TCP's own figures, one for each path."
        ),
        component="network",
    ),
    "tcp.mptcp.status[CLOSE_WAIT]": Item(
        name="TCP: CLOSE_WAIT (MPTCP)",
        description=(
            "MPTCP connections that the peer has closed, and the local program not yet. Normally near zero. The TCP "
            "connections underneath stay ESTABLISHED, and then vanish, so TCP's own figures do not show such a leak."
        ),
        component="network",
    ),
    "tcp.limit[TIME_WAIT]": Item(
        name="TCP: Limit of TIME_WAIT",
        description=(
            "How many such sockets the kernel keeps at most: net.ipv4.tcp_max_tw_buckets. Beyond it the kernel closes "
            "connections without TIME_WAIT, and counts them: TCPTimeWaitOverflow."
        ),
        component="network",
    ),
    "tcp.orphans": Item(
        name="TCP: Orphaned sockets",
        description=(
            "Sockets of the whole machine, containers included, that their program has closed and that still have data to "
            "deliver. Normally few. Many of them mean peers that have vanished, or that read slowly, while programs close."
        ),
        component="network",
    ),
    "tcp.orphans.pused": Item(
        name="TCP: Orphaned sockets in %",
        description=(
            "Orphaned sockets in percent of the kernel's limit, net.ipv4.tcp_max_orphans. Beyond it the kernel ends such "
            "connections with a reset, and their last data is lost."
        ),
        component="network",
        value_type="FLOAT",
        units="%",
    ),
    "tcp.memory": Item(
        name="TCP: Memory",
        description=(
            "Memory that the kernel uses for the TCP sockets of the whole machine, containers included: data that programs "
            "have not read yet, and data that peers have not acknowledged yet."
        ),
        component="network",
        units="B",
    ),
    "tcp.memory.pused": Item(
        name="TCP: Memory in %",
        description=(
            "Memory of TCP in percent of the kernel's limit, the last number of net.ipv4.tcp_mem. From the second number on, "
            "as shipped two thirds of it, the kernel saves memory, and connections become slow. At the limit it drops data "
            "and ends connections."
        ),
        component="network",
        value_type="FLOAT",
        units="%",
    ),
    **COUNTERS,
    **ephemeral.ITEMS,
    **owners.TEXTS,
    "tcp.sender.version": Item(
        name="TCP sender: Version",
        description="Version of the daemon tcp-status-sender on the host.",
        component="application",
        value_type="CHAR",
        has_trends=False,
    ),
    "tcp.sender.uptime": Item(
        name="TCP sender: Uptime",
        description="Time since the daemon tcp-status-sender was started.",
        component="application",
        units="uptime",
    ),
    "tcp.sender.sample.time": Item(
        name="TCP sender: Sample time",
        description=(
            "How long the kernel took to list its sockets for this sample: about 1 s per million sockets. If it comes "
            "near to the interval, raise the interval."
        ),
        component="application",
        value_type="FLOAT",
        units="s",
    ),
    "tcp.sender.backlog": Item(
        name="TCP sender: Values queued",
        description=(
            "Values that were queued for the worst destination when the sample was taken. Normally 0. It grows while "
            "delivery to a destination fails, and falls back when delivery works again."
        ),
        component="application",
        value_map=NONE,
    ),
    "tcp.sender.dropped": Item(
        name="TCP sender: Values dropped",
        description=(
            "Values that the daemon has dropped since it was started, because delivery to a destination failed for too "
            "long. Each is a hole in a graph there."
        ),
        component="application",
        value_map=NONE,
    ),
    "tcp.sender.rejected": Item(
        name="TCP sender: Values rejected",
        description=(
            "Values that Zabbix has rejected since the daemon was started: it does not know the host or the item, or "
            "one of them is disabled. The daemon's log says what to look at. A number that no longer grows is history."
        ),
        component="application",
        value_map=NONE,
    ),
}
