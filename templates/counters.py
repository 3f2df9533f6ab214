"""The kernel's counters: what each counts, what a rise means, and the rates that Zabbix makes of them."""

from __future__ import annotations

from dataclasses import dataclass

from templates.model import Item


@dataclass(frozen=True, kw_only=True)
class _About:
    name: str
    counts: str
    rise: str


_ABOUT = {
    "ActiveOpens": _About(
        name="Connections requested",
        counts="Connections that programs on this host have begun to open to others.",
        rise="It follows the host's work as a client. More without more work means retries, or that no connection is reused.",
    ),
    "PassiveOpens": _About(
        name="Connections received",
        counts="Connections that others have begun to open to this host, with an answer from it.",
        rise="It follows the load. More without more work means that clients do not keep their connections.",
    ),
    "AttemptFails": _About(
        name="Connection attempts failed",
        counts=(
            "Connections that failed before they were open: requests of this host that were refused or never answered, and "
            "requests of others that they took back with a reset."
        ),
        rise="A service that this host uses is down or blocked, or somebody scans this host's ports.",
    ),
    "EstabResets": _About(
        name="Connections reset",
        counts="Open connections, those in CLOSE_WAIT included, that ended with a reset from either side.",
        rise="Programs crash or close with data unread, or a firewall or load balancer ends connections that are idle.",
    ),
    "InSegs": _About(
        name="Segments received",
        counts="Segments that were received, faulty ones included.",
        rise="It follows the traffic.",
    ),
    "OutSegs": _About(
        name="Segments sent",
        counts="Segments that were sent, but for those that were only sent again.",
        rise="It follows the traffic.",
    ),
    "RetransSegs": _About(
        name="Segments sent again",
        counts="Segments that were sent again, because no acknowledgement came.",
        rise="The network loses packets, or peers have vanished. What counts is the share of the segments sent.",
    ),
    "InErrs": _About(
        name="Segments with errors",
        counts="Segments that were received with an error, such as a wrong checksum.",
        rise="A network card, a cable, a switch or a driver damages packets. Normally 0.",
    ),
    "OutRsts": _About(
        name="Resets sent",
        counts="Resets (RST) that this host has sent.",
        rise="Others ask for ports on which nobody listens, or programs close connections with data unread.",
    ),
    "ListenOverflows": _About(
        name="Accept queue overflows",
        counts="Connections that found the accept queue of their listener full. They are among the requests dropped.",
        rise="A program does not accept its connections fast enough. Its clients wait for seconds. Normally 0.",
    ),
    "ListenDrops": _About(
        name="Requests dropped at listeners",
        counts="Requests for connections, and last steps of them, that the kernel dropped at a listener for any reason.",
        rise="Clients wait for seconds, or do not get through. The ports' own figures say where. Normally 0.",
    ),
    "SyncookiesSent": _About(
        name="SYN cookies sent",
        counts="Requests for connections that were answered with a SYN cookie, because a half-open queue was full.",
        rise="A SYN flood, a burst of clients, or a backlog that is too small. Normally 0, unless tcp_syncookies is 2.",
    ),
    "TCPReqQFullDoCookies": _About(
        name="Half-open queue full, cookies used",
        counts="Requests for connections that found a half-open queue full, where SYN cookies are on.",
        rise="As with the SYN cookies sent. Normally 0.",
    ),
    "TCPReqQFullDrop": _About(
        name="Half-open requests dropped",
        counts="Requests for connections that were dropped because a half-open queue was full, where SYN cookies are off.",
        rise="A SYN flood, or a burst of clients: real clients do not get through. Normally 0.",
    ),
    "TCPTimeWaitOverflow": _About(
        name="TIME_WAIT overflows",
        counts="Connections that were closed without TIME_WAIT, because the limit of such sockets was reached.",
        rise="Late segments may disturb new connections. The limit is net.ipv4.tcp_max_tw_buckets. Normally 0.",
    ),
    "TCPSynRetrans": _About(
        name="Requests sent again",
        counts="Requests for connections, and answers to such, that were sent again. They are among the segments sent again.",
        rise="Peers are down, a firewall drops requests in silence, or the answers of this host get lost.",
    ),
    "TCPAbortOnMemory": _About(
        name="Aborts for lack of memory",
        counts="Closed connections that the kernel ended: too many were orphaned, or TCP's memory was at its limit.",
        rise="Their last data is lost. Compare orphaned sockets and TCP's memory with their limits. Normally 0.",
    ),
    "TCPAbortOnTimeout": _About(
        name="Connections ended by timeout",
        counts="Connections that the kernel ended because the peer did not answer any more.",
        rise="Peers, or the network to them, have vanished. Some are normal where clients are mobile.",
    ),
    "TCPMemoryPressures": _About(
        name="Memory pressures entered",
        counts="How many times TCP's memory passed the second number of net.ipv4.tcp_mem.",
        rise="From there on the kernel saves memory, and connections become slow. Normally 0.",
    ),
}

_NO_RATE = ("TCPReqQFullDoCookies",)  # SyncookiesSent tells the same


def rate(name: str) -> str:
    """Return the key of the rate of the counter `name`."""
    return f"tcp.counter.rate[{name}]"


COUNTERS = {
    f"tcp.counter[{name}]": Item(
        name=f"TCP counter: {about.name} ({name})",
        description=f"{about.counts} The kernel's own counter, since the network namespace began. {about.rise}",
        component="network",
        has_trends=False,
    )
    for name, about in _ABOUT.items()
}
_RATES = {
    rate(name): Item(
        name=f"TCP: {about.name} per second",
        description=f"{about.counts} {about.rise}",
        component="network",
        value_type="FLOAT",
        units="/s",
        rate_of=f"tcp.counter[{name}]",
    )
    for name, about in _ABOUT.items()
    if name not in _NO_RATE
}
_SENT, _AGAIN = (f"last(//{rate(name)})" for name in ("OutSegs", "RetransSegs"))
SHARE = "tcp.retrans.pshare"

DERIVED = {
    **_RATES,
    SHARE: Item(
        name="TCP: Segments sent again in %",
        description=(
            "Segments that were sent again, in percent of all that were sent, between the last two samples. Below 1 % is "
            "usual in a data centre; from some percent on connections become slow. On a host that sends very little, the "
            "requests to one peer that is down can make it high. Not supported until there are two samples with counters, and "
            "while none arrive: Zabbix makes a value each minute, and would repeat the last one."
        ),
        component="network",
        value_type="FLOAT",
        units="%",
        # The kernel does not count among the segments sent those that were sent again. Where none were sent at all, the
        # comparison adds the 1 by which to divide. Where no sample came, the last factor makes that 0.
        formula=f"100*{_AGAIN}/(({_SENT}+{_AGAIN}+({_SENT}+{_AGAIN}=0))*(count(//tcp.status[TOTAL],{{$TCP.NODATA.TIMEOUT}})>0))",
    ),
}
"""What the server makes of the host's counters."""
