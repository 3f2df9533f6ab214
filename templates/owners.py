"""Whose the sockets are: the texts that name it for the host, and the services with their figures."""

from __future__ import annotations

from sender.items import TOPS, UNIT, UNITS
from sender.model import TcpState
from templates.graphs import SERVICE_GRAPHS
from templates.model import Item, Rule
from templates.states import prototypes

SENT_BY_DEFAULT = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
"""`services.states` of the daemon's configuration, where it says nothing."""

_QUOTED = (TcpState.ESTABLISHED, TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.CLOSE_WAIT)
"""The states whose triggers quote the text."""
_COLLECTIVE = (
    "A service is a systemd unit, or one of these together: user sessions, user services, docker, podman, kubepods, other. A "
    "socket that no program owns counts for the unit that listens on its port, or else for the kernel."
)
_WHERE = (
    "Hosts without cgroup v2 or with a Linux before 5.8, and containers that see only themselves, do not tell: problems have "
    "*UNKNOWN* in the place of a name there."
)
_WHEN = "The daemon sends it when a figure has moved by more than a tenth and by at least ten sockets, and every hour."


def _text(state: TcpState, name: str, description: str) -> Item:
    quoted = (
        " Do not disable this item: Zabbix then stops judging the triggers that quote it." if state in _QUOTED else ""
    )
    return Item(name=name, description=description + quoted, component="network", value_type="TEXT", has_trends=False)


def _by_service(state: TcpState) -> Item:
    return _text(
        state,
        f"TCP: {state.name} by service",
        f'The services with most sockets in {state.name}, and how many each has, such as "backend.service 560, nginx.service '
        f'3". It is "none" where there are no such sockets. {_COLLECTIVE} {_WHEN} {_WHERE}',
    )


def _by_destination(state: TcpState) -> Item:
    return _text(
        state,
        f"TCP: {state.name} by destination",
        f"The destinations to which most sockets in {state.name} want to go, and how many each has, such as "
        f'"10.0.0.5:5432 120, 10.0.0.6:443 2". It is "none" where there are no such sockets. {_WHEN} With name_destinations: '
        "false in its configuration the daemon never sends it.",
    )


TEXTS = {
    key: _by_destination(state) if state is TcpState.SYN_SENT else _by_service(state) for state, key in TOPS.items()
}

SERVICES = Rule(
    key=UNITS,
    name="TCP service discovery",
    description=(
        f"The services that have sockets. {_COLLECTIVE} The daemon sends the list when it changes and every hour. A service "
        f"without sockets stays in it for a day; 7 days after that Zabbix deletes its items. {_WHERE} The filter's macros "
        "choose by {#UNIT}."
    ),
    tag="service",
    macro=UNIT,
    application="TCP services",
    filters=((UNIT, "{$TCP.SERVICE"),),
    items=prototypes(
        "tcp.service.status[{},{{#UNIT}}]",
        "TCP service {#UNIT}",
        "Sockets of {#UNIT}.",
        SENT_BY_DEFAULT,
        "services.states",
    ),
    triggers=(),  # those of the host name the service
    graphs=SERVICE_GRAPHS,
)
