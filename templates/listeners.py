"""The listeners of a local port: their accept queue and what they drop, as prototypes of items and triggers.

One trouble is one problem. Among these triggers dependencies see to that; where the host's own tells of a flood, their expressions
do. If a prototype depended on a trigger of the host, Zabbix would refuse to unlink and clear the template wherever it has found a
port: "due to dependency of trigger" (CHostBase.php, checkTriggerDependenciesOfHostTriggers).
"""

from __future__ import annotations

from templates.flood_triggers import PEERS, SYN_COUNTERS, SYN_LIMITS, SYN_RECV_MEANS
from templates.model import Item, Trigger, growth, lasting, telling, watched

PORT = "TCP port {#NAME}"
RATE = "tcp.listen.drops.rate[{#PORT}]"
NETNS_DROPS_RATE = "tcp.netns.listen.drops.rate[{#NETNS}]"

ITEMS = {
    "tcp.listen.queue[{#PORT}]": Item(
        name=f"{PORT}: Accept queue",
        description=(
            "Connections that are complete and wait for the program to accept them, at the fullest listener on the "
            "port. Normally 0; a number that stays means that the program is too slow, or hangs."
        ),
        component="network",
    ),
    "tcp.listen.queue.max[{#PORT}]": Item(
        name=f"{PORT}: Accept queue limit",
        description=(
            "How many connections may wait at that listener: the smaller of what the program asked for in listen() and "
            "net.core.somaxconn. Linux lets in one more than that."
        ),
        component="network",
    ),
    "tcp.listen.queue.pused[{#PORT}]": Item(
        name=f"{PORT}: Accept queue in %",
        description=(
            "The accept queue in percent of its limit. At 100 the kernel drops requests for connections: clients see "
            "seconds of delay, then timeouts."
        ),
        component="network",
        value_type="FLOAT",
        units="%",
    ),
    "tcp.listen.queue.peak[{#PORT}]": Item(
        name=f"{PORT}: Accept queue peak",
        description=(
            "The longest that the accept queue was since the sample before, looked at every second. A peak at the limit, "
            "while the queue is empty at the samples, is a program that pauses or a burst of clients."
        ),
        component="network",
    ),
    "tcp.listen.drops[{#PORT}]": Item(
        name=f"{PORT}: Requests dropped, counter",
        description=(
            "Requests for connections that the kernel dropped at the listeners on the port, since they began to listen. "
            "Clients ask again after a second, and later. Most often the accept queue was full. Normally it does not grow. "
            "The kernel also counts here what harms nobody: a request that is repeated while it is half-open, as in a SYN "
            "flood, or because the answer was lost. Such are not among the host's own requests dropped (ListenDrops)."
        ),
        component="network",
        has_trends=False,
    ),
    RATE: Item(
        name=f"{PORT}: Requests dropped per second",
        description=(
            "Requests for connections that the kernel dropped at the listeners on the port. Where the host's own requests "
            "dropped (ListenDrops) grow as well, each is a client that waits for seconds, or does not get through. Normally 0."
        ),
        component="network",
        value_type="FLOAT",
        units="/s",
        rate_of="tcp.listen.drops[{#PORT}]",
    ),
}

_FULL = '{$TCP.LISTEN.QUEUE.PUSED.MAX.CRIT:"{#PORT}"}'
_MAX_DROPS = '{$TCP.DROPS.MAX.WARN:"{#PORT}"}'
_PUSED = "tcp.listen.queue.pused[{#PORT}]"
_OF_HOST = "tcp.counter[ListenDrops]"


def _never(key: str) -> str:
    """Return an expression for an item that has no value, as of the counters where the daemon sends none."""
    return f"count(//{key},#1)=0"


_NOT_COUNTED = _never(_OF_HOST)


def _dropped(begin: str = "6m", end: str = "1m") -> str:
    """Return an expression for requests that the kernel dropped in a window: at the port, and by what it says of the host.

    A port's own figure has more: requests that are repeated while they are half-open.
    """
    of_host = f"{growth(_OF_HOST, begin, end)}>{_MAX_DROPS}"
    return f"{growth('tcp.listen.drops[{#PORT}]', begin, end)}>{_MAX_DROPS} and ({of_host} or {_NOT_COUNTED})"


def _calm(counter: str, threshold: str) -> str:
    """Return an expression for a flood's counter that has not grown so much that the host's trigger tells of it."""
    key = f"tcp.counter[{counter}]"
    return f"({growth(key)}<={threshold} or {_never(key)})"


_NOTHING_OVERFLOWS = _calm("TCPReqQFullDrop", "{$TCP.SYN.DROPS.MAX.CRIT}")
_NO_COOKIES = _calm("SyncookiesSent", "{$TCP.SYN.COOKIES.MAX.CRIT}")
_QUEUE_RUN = (
    "ss -tlnp 'sport = :{#PORT}'",
    "nstat -az TcpExtListenOverflows TcpExtListenDrops",
    "sysctl net.core.somaxconn net.ipv4.tcp_max_syn_backlog",
)
_QUEUE_FULL = Trigger(
    name=f"{PORT}: Accept queue is full",
    detail=f"{_FULL}% or more in 3 samples",
    # last(): there are three samples. It is over when nothing has been dropped for six minutes: until then the drops would
    # be a problem of their own. count() is 0, not unknown, where there are no values.
    expression=(
        f"min(//{_PUSED},#3)>={_FULL} and last(//{_PUSED},#3)>=0"
        f' or {{TRIGGER.VALUE}}=1 and count(//{RATE},6m,"gt","0")>0'
        f' and (count(//tcp.counter.rate[ListenDrops],6m,"gt","0")>0 or {_NOT_COUNTED})'
    ),
    priority="HIGH",
    scope="availability",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "The program on port {#PORT} does not accept connections, and no more can wait: the kernel drops new ones. For "
        "clients the service is slow, or down."
    ),
    run=_QUEUE_RUN,
    do=(
        "Recv-Q is the queue, Send-Q its limit. See whether the program hangs or is out of threads, workers or file "
        "descriptors; restart it if so. If it only has bursts to take, raise the backlog in its configuration together "
        "with net.core.somaxconn."
    ),
)
_DROPS_RUN = (*_QUEUE_RUN, f"ss -Htan state syn-recv 'sport = :{{#PORT}}' | {PEERS} | head", SYN_COUNTERS)
_DROPS_DO = (
    "If TcpExtListenOverflows grows, the accept queue was full: Recv-Q, between two samples too (the graphs have its peak). "
    "Find what the program pauses for (garbage collection, a lock, a disk, a restart of its workers), give it more threads "
    "or workers, or raise the backlog in its configuration together with net.core.somaxconn (Send-Q is the limit). If only "
    "TcpExtListenDrops grows, look at the other counters, and at the host's memory and routes."
)
_DROPS_GO_ON = Trigger(
    name=f"{PORT}: Requests are dropped all the time",
    detail=f"over {_MAX_DROPS} in 5m, three times in a row",
    expression=telling(
        " and ".join(_dropped(*window) for window in (("6m", "1m"), ("11m", "6m"), ("16m", "11m")))
        + f" and {watched(_PUSED, '16m')} and {_NOTHING_OVERFLOWS}",
        RATE,
    ),
    priority="HIGH",
    scope="availability",
    value="Current: {ITEM.LASTVALUE3}, since it began to listen: {ITEM.LASTVALUE1}",
    means=(
        "In each of the last three times five minutes, the kernel dropped requests for connections to port {#PORT}. Clients "
        "wait for seconds, again and again, or do not get through."
    ),
    run=_DROPS_RUN,
    do=_DROPS_DO,
    depends_on=(_QUEUE_FULL.name,),
)
_DROPS = Trigger(
    name=f"{PORT}: Requests are dropped",
    detail=f"over {_MAX_DROPS} in 5m",
    # While the queue is full, whether it stays so decides which problem this is.
    expression=telling(
        f"{_dropped()} and {watched(_PUSED)} and ({{TRIGGER.VALUE}}=1 or last(//{_PUSED})<{_FULL}) and {_NOTHING_OVERFLOWS}",
        RATE,
    ),
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE3}, since it began to listen: {ITEM.LASTVALUE1}",
    means=(
        "The kernel dropped requests for connections to port {#PORT}: most often because the program did not accept its "
        "connections for a moment, and no more could wait. Those clients waited for a second or more."
    ),
    run=_DROPS_RUN,
    do=_DROPS_DO,
    depends_on=(_DROPS_GO_ON.name, _QUEUE_FULL.name),
)
_HALF_OPEN = Trigger(
    name=f"{PORT}: Many half-open connections (SYN_RECV)",
    detail='over {$TCP.SYN_RECV.PUSED.MAX.WARN:"{#PORT}"}% of the listener\'s limit for 5m',
    expression=(  # no listener has no limit
        "last(//tcp.listen.queue.max[{#PORT}])>0 and "
        + lasting(
            "tcp.status[SYN_RECV,{#PORT}]",
            'last(//tcp.listen.queue.max[{#PORT}])*{$TCP.SYN_RECV.PUSED.MAX.WARN:"{#PORT}"}/100',
        )
        + f" and {_NO_COOKIES} and {_NOTHING_OVERFLOWS}"
    ),
    priority="AVERAGE",
    scope="security",
    value="Current: {ITEM.LASTVALUE2} of {ITEM.LASTVALUE1}",
    means=(
        f"{SYN_RECV_MEANS} There are almost as many on port {{#PORT}} as its listener lets in. The kernel answers what is "
        "beyond with SYN cookies, without memory of them and without options such as window scaling; where cookies are off, "
        "it drops them, and clients do not get through."
    ),
    run=(
        "ss -Htan state syn-recv 'sport = :{#PORT}' | " + PEERS + " | head",
        SYN_COUNTERS,
        "ss -tlnp 'sport = :{#PORT}'",
        SYN_LIMITS,
    ),
    do=(
        "The list shows from where. Few addresses: block them in the firewall. Very many: a flood; see that "
        "net.ipv4.tcp_syncookies is 1, and have it filtered upstream. Only your own clients: look for a broken or "
        "asymmetric route back to them, or raise the backlog in the program's configuration together with "
        "net.core.somaxconn. A program that sets TCP_DEFER_ACCEPT leaves clients that say nothing half-open, too."
    ),
    depends_on=(_QUEUE_FULL.name,),
)
_QUEUE_FILLS = Trigger(
    name=f"{PORT}: Accept queue is nearly full",
    detail='over {$TCP.LISTEN.QUEUE.PUSED.MAX.WARN:"{#PORT}"}% for 5m',
    expression=lasting("tcp.listen.queue.pused[{#PORT}]", '{$TCP.LISTEN.QUEUE.PUSED.MAX.WARN:"{#PORT}"}'),
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE1}",
    means="The program on port {#PORT} accepts connections more slowly than they come in.",
    run=_QUEUE_RUN,
    do=(
        "Recv-Q is the queue, Send-Q its limit. Give the program more threads or workers, or find what it waits for (a "
        "database, a disk). A larger backlog only lets more clients wait."
    ),
    depends_on=(_QUEUE_FULL.name, _DROPS.name),
)

TRIGGERS = (_QUEUE_FULL, _QUEUE_FILLS, _DROPS_GO_ON, _DROPS, _HALF_OPEN)
