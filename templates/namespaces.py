"""The machine's other network namespaces, which are those of containers: the discovery rule, and the prototypes of items."""

from __future__ import annotations

from sender.items import NAMESPACES, NETNS, NETNS_DROPS
from sender.model import TcpState
from templates.graphs import NAMESPACE_GRAPHS
from templates.listeners import NETNS_DROPS_RATE
from templates.model import Item, Rule
from templates.states import prototypes

NAMESPACE = "TCP namespace {#NETNS}"
SENT_BY_DEFAULT = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
"""`namespaces.states` of the daemon's configuration, where it says nothing."""

NETWORK_NAMESPACES = Rule(
    key=NAMESPACES,
    name="TCP network namespace discovery",
    description=(
        "The host's other network namespaces, such as those of containers, by the name of the container or of ip netns. The "
        "daemon counts them only with namespaces: {report: true} in its configuration, and with its helper, "
        "tcp-status-sender-namespaces. It sends the list when it changes and every hour. One that is gone stays in it for a "
        "day; 7 days after that Zabbix deletes its items. The filter's macros choose by {#NETNS}."
    ),
    tag="netns",
    macro=NETNS,
    application="TCP network namespaces",
    filters=((NETNS, "{$TCP.NETNS"),),
    items={
        **prototypes(
            "tcp.netns.status[{},{{#NETNS}}]",
            NAMESPACE,
            "Sockets of the network namespace {#NETNS}.",
            SENT_BY_DEFAULT,
            "namespaces.states",
            without=(TcpState.CLOSE,),
        ),
        NETNS_DROPS: Item(
            name=f"{NAMESPACE}: Requests dropped, counter",
            description=(
                "Requests for connections that the kernel dropped at the listeners in the network namespace {#NETNS}, since "
                "they began to listen. It begins anew when one of them does. Normally it does not grow. The kernel also counts here "
                "what harms nobody: a request that is repeated while it is half-open."
            ),
            component="network",
            has_trends=False,
        ),
        NETNS_DROPS_RATE: Item(
            name=f"{NAMESPACE}: Requests dropped per second",
            description=(
                "Requests for connections that the kernel dropped at the listeners in the network namespace {#NETNS}. Clients wait "
                "for seconds, or do not get through, unless these are requests that were repeated while half-open. Normally 0."
            ),
            component="network",
            value_type="FLOAT",
            units="/s",
            rate_of=NETNS_DROPS,
        ),
    },
    triggers=(),  # what is too many in a container, only you know
    graphs=NAMESPACE_GRAPHS,
)
