"""The local ports that the kernel gives to connections of this host: how many are left towards the busiest destination."""

from __future__ import annotations

from sender.items import EPHEMERAL_TOP
from templates.model import TEXT, Item, Trigger, lasting, telling

USED, PUSED = "tcp.ephemeral.used", "tcp.ephemeral.pused"

_TOWARDS = (
    "towards the one destination that uses most of them. A destination is an own address, a remote address and a remote port; "
    "the same local port can serve another one at the same time. Ports in TIME_WAIT are in use, too."
)

ITEMS = {
    USED: Item(
        name="TCP: Local ports in use",
        description=f"Local ports in use {_TOWARDS}",
        component="network",
    ),
    PUSED: Item(
        name="TCP: Local ports in use in %",
        description=(
            f"Local ports in use {_TOWARDS} In percent of those that the kernel may use: net.ipv4.ip_local_port_range without "
            'net.ipv4.ip_local_reserved_ports. At 100 % connect() fails with EADDRNOTAVAIL ("Cannot assign requested address").'
        ),
        component="network",
        value_type="FLOAT",
        units="%",
    ),
    EPHEMERAL_TOP: Item(
        name="TCP: Destination with most local ports in use",
        description=(
            'Such as "10.0.0.5:5432 from 192.0.2.10": the remote address and port, and the own address. It is "none" where fewer '
            "than ten ports are in use. The daemon sends it when it changes, and every hour. With name_destinations: false in its "
            "configuration it never sends it. Do not disable this item: Zabbix then stops judging the triggers that quote it."
        ),
        component="network",
        value_type="TEXT",
        has_trends=False,
    ),
}

_RUN = (
    "ss -Htan 'dst ADDRESS:PORT' | awk '{print $1}' | sort | uniq -c | sort -rn",
    "ss -Htanp 'dst ADDRESS:PORT' | grep -o 'users:.*' | cut -d'\"' -f2 | sort | uniq -c | sort -rn",
    "ss -Htan exclude listening | awk '{sub(/:[0-9]+$/, \"\", $4); print $4, $5}' | sort | uniq -c | sort -rn | head",
    "sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports net.ipv4.tcp_tw_reuse",
)
_DO = (
    "ADDRESS:PORT is the destination that is named first; where none is named, the third list begins with it. The first list has "
    "the states of its connections, the second the programs that hold them. Mostly TIME_WAIT: a program opens a connection for "
    "each request. Let it keep connections open (keep-alive, a connection pool). Until then net.ipv4.tcp_tw_reuse = 1 lets a new "
    "connection take such a port after a second, if the peer uses TCP timestamps (ss -tino has ts for an open connection). Towards "
    "a peer that does not, connect() still fails then, and this problem ends all the same. Mostly CLOSE_WAIT: the program does not close its connections; restart it. "
    "Mostly ESTABLISHED: limit the program's pool, or add addresses. Each further address of the destination or of this host "
    "has all ports anew. At last, widen net.ipv4.ip_local_port_range. Name the ports in it on which services of this host listen "
    "in net.ipv4.ip_local_reserved_ports, and no others."
)
_CRIT, _WARN = "{$TCP.EPHEMERAL.PUSED.MAX.CRIT}", "{$TCP.EPHEMERAL.PUSED.MAX.WARN}"
_MEANS = (
    '{} in use. At 100 % programs cannot connect to it any more: connect() fails with EADDRNOTAVAIL ("Cannot assign requested '
    'address"). Connections to other destinations still work.'
)


_USED_UP = Trigger(
    name="TCP: Local ports towards a destination are nearly used up",
    detail=f"over {_CRIT}% for 5m",
    expression=telling(lasting(PUSED, _CRIT), EPHEMERAL_TOP),
    priority="HIGH",
    scope="availability",
    value=f"Current: {{ITEM.LASTVALUE1}}, to {TEXT}",
    told="The destination, as last reported",
    means=_MEANS.format("Almost all local ports that this host may use towards one destination are"),
    run=_RUN,
    do=_DO,
)
_MANY = Trigger(
    name="TCP: Many local ports towards a destination are in use",
    detail=f"over {_WARN}% for 5m",
    expression=telling(lasting(PUSED, _WARN), EPHEMERAL_TOP),
    priority="WARNING",
    scope="capacity",
    value=f"Current: {{ITEM.LASTVALUE1}}, to {TEXT}",
    told="The destination, as last reported",
    means=_MEANS.format("Most of the local ports that this host may use towards one destination are"),
    run=_RUN,
    do=_DO,
    depends_on=(_USED_UP.name,),
)

TRIGGERS = (_USED_UP, _MANY)
