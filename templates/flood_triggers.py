"""The triggers of half-open connections: one flood is one problem, that of its first sign.

What tells it at once comes first: requests dropped, then cookies. The many in SYN_RECV, which take five minutes to tell,
depend on those.
"""

from __future__ import annotations

from sender.items import TOPS
from sender.model import TcpState
from templates.counters import rate
from templates.model import TEXT, Trigger, growth, lasting, telling, text_at, watched

WHOSE = "Whose they are, as last reported"
PEERS = "awk '{sub(/:[0-9]+$/, \"\", $4); print $4}' | sort | uniq -c | sort -rn"
SYN_COUNTERS = "nstat -az TcpExtSyncookiesSent TcpExtTCPReqQFullDoCookies TcpExtTCPReqQFullDrop TcpExtListenDrops"
SYN_LIMITS = "sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog"
SYN_RECV_MEANS = (
    "Requests for connections were answered by this host, and not confirmed: a SYN flood with forged addresses, or a "
    "network that loses packets on the way to the clients."
)
_RUN = (
    "ss -Htan state syn-recv | awk '{print $3}' | sort | uniq -c | sort -rn | head",
    f"ss -Htan state syn-recv | {PEERS} | head",
    SYN_COUNTERS,
    SYN_LIMITS,
)
_OWNERS = TOPS[TcpState.SYN_RECV]
_TOLD = "Who listens on their ports, as last reported"
_FLOOD = f"Current: {{ITEM.LASTVALUE3}}, half-open mostly to {text_at(4)}"
_LISTS = "The first list shows the port, the second from where. Few addresses: block them in the firewall. "


def event(counter: str, threshold: str, *, begin: str = "6m", quoting: tuple[str, ...] = ()) -> str:
    """Return an expression for a counter of the kernel that has grown by more than `threshold` in the window.

    Its rate can be quoted as {ITEM.LASTVALUE3}, and values of the keys in `quoting` from 4 on.
    """
    grown = f"{growth(f'tcp.counter[{counter}]', begin)}>{threshold} and {watched('tcp.status[TOTAL]', begin)}"
    return telling(grown, rate(counter), *quoting)


DROPPED = Trigger(
    name="TCP: Half-open connections overflow, requests are dropped",
    detail="over {$TCP.SYN.DROPS.MAX.CRIT} in 5m",
    expression=event("TCPReqQFullDrop", "{$TCP.SYN.DROPS.MAX.CRIT}", quoting=(_OWNERS,)),
    priority="HIGH",
    scope="availability",
    value=_FLOOD,
    told=_TOLD,
    text=text_at(4),
    means=(
        "A listener has as many half-open connections as it lets in, and SYN cookies are off (net.ipv4.tcp_syncookies is 0): "
        "the kernel drops further requests. Clients wait for seconds, or do not get through. It is a SYN flood, or a burst "
        "of clients."
    ),
    run=_RUN,
    do=(
        _LISTS
        + "Turn SYN cookies on: net.ipv4.tcp_syncookies = 1. Very many addresses: a flood; have it filtered upstream. "
        "Your own clients: raise the backlog in the program's configuration together with net.core.somaxconn."
    ),
)
COOKIES = Trigger(
    name="TCP: SYN cookies are sent",
    detail="over {$TCP.SYN.COOKIES.MAX.CRIT} in 5m",
    # Not where more connections found an accept queue full: that is the trouble then, of which the port's triggers tell.
    expression=(
        f"{event('SyncookiesSent', '{$TCP.SYN.COOKIES.MAX.CRIT}', quoting=(_OWNERS,))} and "
        f"{growth('tcp.counter[SyncookiesSent]')}>{growth('tcp.counter[ListenOverflows]')}"
    ),
    priority="AVERAGE",
    scope="security",
    value=_FLOOD,
    told=_TOLD,
    text=text_at(4),
    means=(
        "A listener has as many half-open connections as it lets in, and the kernel answers further requests with SYN "
        "cookies: a SYN flood, or a burst of clients that is larger than the backlog. Clients get through, without options "
        "such as window scaling. Cookies that come with a full accept queue raise that port's problem instead."
    ),
    run=(*_RUN, "ss -tln"),
    do=(
        _LISTS + "Very many: a flood; have it filtered upstream. Your own clients: raise the backlog in the program's "
        "configuration together with net.core.somaxconn (Send-Q in the list of listeners is the limit). Where "
        "net.ipv4.tcp_syncookies is 2, every request is answered so: raise the macro."
    ),
    depends_on=(DROPPED.name,),
)
SYN_RECV = Trigger(
    name="TCP: Many half-open connections (SYN_RECV)",
    detail="over {$TCP.SYN_RECV.MAX.CRIT} for 5m",
    expression=telling(lasting("tcp.status[SYN_RECV]", "{$TCP.SYN_RECV.MAX.CRIT}"), _OWNERS),
    priority="AVERAGE",
    scope="security",
    value=f"Current: {{ITEM.LASTVALUE1}}, mostly to {TEXT}",
    told=_TOLD,
    means=SYN_RECV_MEANS,
    run=_RUN,
    do=(
        "The first list shows the port, the second from where. Few addresses: block them in the firewall. Very many: a "
        "flood; see that net.ipv4.tcp_syncookies is 1, and have it filtered upstream. Only your own clients: look for "
        "a broken or asymmetric route back to them."
    ),
    depends_on=(COOKIES.name,),
)

TRIGGERS = (DROPPED, COOKIES, SYN_RECV)
