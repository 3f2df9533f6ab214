"""The machine's other network namespaces, which are those of containers: the discovery rule, and the prototypes of items."""

from __future__ import annotations

from sender.items import NAMESPACES, NETNS
from sender.model import TcpState
from templates.graphs import NAMESPACE_GRAPHS
from templates.model import Rule
from templates.states import prototypes

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
    items=prototypes(
        "tcp.netns.status[{},{{#NETNS}}]",
        "TCP namespace {#NETNS}",
        "Sockets of the network namespace {#NETNS}.",
        SENT_BY_DEFAULT,
        "namespaces.states",
        without=(TcpState.CLOSE,),
    ),
    triggers=(),  # what is too many in a container, only you know
    graphs=NAMESPACE_GRAPHS,
)
