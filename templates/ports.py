"""Local and remote ports: the discovery rules, and the prototypes of items and triggers."""

from __future__ import annotations

from sender.model import TcpState
from templates.flood_triggers import PEERS
from templates.graphs import PORT_GRAPHS, REMOTE_GRAPHS
from templates.listeners import ITEMS, PORT, TRIGGERS
from templates.model import Item, Rule, Trigger
from templates.states import prototypes
from templates.triggers import CLOSE_WAIT_DO, CLOSE_WAIT_MEANS, NOT_ACCEPTED

SENT_BY_DEFAULT = (TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)
"""`ports.states` of the daemon's configuration, where it says nothing."""

REMOTE = "TCP remote port {#NAME}"


def _states(key: str, name: str, whose: str) -> dict[str, Item]:
    return prototypes(key, name, whose, SENT_BY_DEFAULT, "ports.states")


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
        depends_on=(very_many.name,),
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
    tag="port",
    macro="{#PORT}",
    application="TCP ports",
    filters=(("{#PORT}", "{$TCP.PORT"), ("{#SCOPE}", "{$TCP.PORT.SCOPE")),
    items={**_states("tcp.status[{},{{#PORT}}]", PORT, "Sockets whose local port is {#PORT}."), **ITEMS},
    triggers=(
        *_close_wait(
            PORT, "tcp.status", "$TCP.CLOSE_WAIT", "sport", "Of the connections that clients have made to port {#PORT}:"
        ),
        *TRIGGERS,
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
    tag="remote_port",
    macro="{#PORT}",
    application="TCP ports",
    filters=(("{#PORT}", "{$TCP.REMOTE.PORT"),),
    items=_states("tcp.remote.status[{},{{#PORT}}]", REMOTE, "Sockets whose remote port is {#PORT}."),
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
