"""Local and remote ports: the discovery rules, and the prototypes of items and triggers."""

from __future__ import annotations

from sender.model import TcpState
from templates.graphs import PORT_GRAPHS, REMOTE_GRAPHS
from templates.model import Item, Rule, Trigger, lasting
from templates.states import MEANINGS
from templates.triggers import (
    CLOSE_WAIT_DO,
    CLOSE_WAIT_MEANS,
    NOT_ACCEPTED,
    PEERS,
    SYN_COUNTERS,
    SYN_LIMITS,
    SYN_RECV_MEANS,
)

SENT_BY_DEFAULT = (TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)
"""`ports.states` of the daemon's configuration, where it says nothing."""

PORT = "TCP port {#NAME}"
REMOTE = "TCP remote port {#NAME}"


def _states(key: str, name: str, whose: str) -> dict[str, Item]:
    return {
        f"{key}[{state.name},{{#PORT}}]": Item(
            name=f"{name}: {state.name}",
            description=f"{whose} {MEANINGS[state]}{'' if state in SENT_BY_DEFAULT else _also(state)}",
            component="network",
            is_discovered=state in SENT_BY_DEFAULT,
        )
        for state in TcpState
    }


def _also(state: TcpState) -> str:
    return (
        f"\n\nNot created as shipped: to have it, turn on Discover (before Zabbix 5.2: Create enabled) for this "
        f"prototype, and name {state.name} in ports.states of the daemon's configuration too."
    )


_QUEUE = {
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
}

_QUEUE_RUN = (
    "ss -tlnp 'sport = :{#PORT}'",
    "nstat -az TcpExtListenOverflows TcpExtListenDrops",
    "sysctl net.core.somaxconn net.ipv4.tcp_max_syn_backlog",
)
_QUEUE_FULL = Trigger(
    name=f"{PORT}: Accept queue is full",
    detail='{$TCP.LISTEN.QUEUE.PUSED.MAX.CRIT:"{#PORT}"}% or more in 3 samples',
    expression=(  # last(): there are three samples
        'min(//tcp.listen.queue.pused[{#PORT}],#3)>={$TCP.LISTEN.QUEUE.PUSED.MAX.CRIT:"{#PORT}"}'
        " and last(//tcp.listen.queue.pused[{#PORT}],#3)>=0"
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
_HALF_OPEN = Trigger(
    name=f"{PORT}: Many half-open connections (SYN_RECV)",
    detail='over {$TCP.SYN_RECV.PUSED.MAX.WARN:"{#PORT}"}% of the listener\'s limit for 5m',
    expression=(  # no listener has no limit
        "last(//tcp.listen.queue.max[{#PORT}])>0 and "
        + lasting(
            "tcp.status[SYN_RECV,{#PORT}]",
            'last(//tcp.listen.queue.max[{#PORT}])*{$TCP.SYN_RECV.PUSED.MAX.WARN:"{#PORT}"}/100',
        )
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
    depends_on=_QUEUE_FULL.name,
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
    depends_on=_QUEUE_FULL.name,
)


def _close_wait(name: str, key: str, macro: str, filter_: str, what: str) -> tuple[Trigger, Trigger]:
    expression = f"min(//{key}[CLOSE_WAIT,{{#PORT}}],15m)>"
    high, low = (f'{{{macro}.MAX.{level}:"{{#PORT}}"}}' for level in ("CRIT", "WARN"))
    is_ours = filter_ == "sport"
    run = (
        f"ss -tanp state close-wait '{filter_} = :{{#PORT}}' | head -30",
        *(["ss -tlnp 'sport = :{#PORT}'"] if is_ours else []),
        "grep 'open files' /proc/PID/limits",
    )
    do = CLOSE_WAIT_DO + (NOT_ACCEPTED if is_ours else "")
    very_many = Trigger(
        name=f"{name}: Very many connections in CLOSE_WAIT",
        detail=f"over {high} for 15m",
        expression=expression + high,
        priority="AVERAGE",
        scope="capacity",
        value="Current: {ITEM.LASTVALUE1}",
        means=f"{what} {CLOSE_WAIT_MEANS}",
        run=run,
        do=do,
    )
    many = Trigger(
        name=f"{name}: Many connections in CLOSE_WAIT",
        detail=f"over {low} for 15m",
        expression=expression + low,
        priority="WARNING",
        scope="performance",
        value="Current: {ITEM.LASTVALUE1}",
        means=f"{what} {CLOSE_WAIT_MEANS}",
        run=run,
        do=do,
        depends_on=very_many.name,
    )
    return very_many, many


def _established(name: str, key: str, macro: str, filter_: str) -> Trigger:
    threshold = f'{{{macro}.MAX.WARN:"{{#PORT}}"}}'
    return Trigger(
        name=f"{name}: Many established connections",
        detail=f"over {threshold} for 5m",
        expression=f"min(//{key}[ESTABLISHED,{{#PORT}}],5m)>{threshold}",
        priority="WARNING",
        scope="capacity",
        value="Current: {ITEM.LASTVALUE1}",
        means=(
            "More connections are open than are known to be good. Disabled as shipped: what is too many, only you know. "
            "Set the macro, for this port with {#PORT} as its context, and enable the trigger."
        ),
        run=(f"ss -Htan state established '{filter_} = :{{#PORT}}' | {PEERS} | head",),
        do="See who opens them. Add capacity, or look for a client that opens connections and does not use them.",
        is_enabled=False,
    )


PORTS = Rule(
    key="tcp.port.discovery",
    name="TCP port discovery",
    description=(
        "Local ports: those on which somebody listens, and those in ports.local of the daemon's configuration. The "
        "daemon sends the list when it changes and every hour. A port on which nobody listens any more stays in it for "
        "a day, with its counts as they are; 7 days after that Zabbix deletes its items. The filter's macros choose: "
        "{#PORT}, and {#SCOPE}, which is loopback where every listener is bound to loopback, container where Docker has "
        "published the port and its connections are in a container, else any."
    ),
    filters=(("{#PORT}", "{$TCP.PORT"), ("{#SCOPE}", "{$TCP.PORT.SCOPE")),
    items={**_states("tcp.status", PORT, "Sockets whose local port is {#PORT}."), **_QUEUE},
    triggers=(
        *_close_wait(
            PORT, "tcp.status", "$TCP.CLOSE_WAIT", "sport", "Of the connections that clients have made to port {#PORT}:"
        ),
        _QUEUE_FULL,
        _QUEUE_FILLS,
        _HALF_OPEN,
        _established(PORT, "tcp.status", "$TCP.ESTABLISHED", "sport"),
    ),
    graphs=PORT_GRAPHS,
)

REMOTES = Rule(
    key="tcp.remote.discovery",
    name="TCP remote port discovery",
    description=(
        "Remote ports, of services that this host uses: those in ports.remote of the daemon's configuration. The "
        "daemon sends the list when it changes and every hour; 7 days after a port has left it Zabbix deletes its items."
    ),
    filters=(("{#PORT}", "{$TCP.REMOTE.PORT"),),
    items=_states("tcp.remote.status", REMOTE, "Sockets whose remote port is {#PORT}."),
    triggers=(
        *_close_wait(
            REMOTE,
            "tcp.remote.status",
            "$TCP.REMOTE.CLOSE_WAIT",
            "dport",
            "Of the connections that this host has made to port {#PORT} elsewhere:",
        ),
        _established(REMOTE, "tcp.remote.status", "$TCP.REMOTE.ESTABLISHED", "dport"),
    ),
    graphs=REMOTE_GRAPHS,
)

RULES = (PORTS, REMOTES)
