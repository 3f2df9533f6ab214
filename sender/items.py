"""From a snapshot to Zabbix items: the one table of keys. Pure; knows no clock, no kernel, no network."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from sender import __version__
from sender.model import Item, Listener, Reported, TcpState
from sender.text import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from sender.model import Snapshot, Vitals


TEMPLATE = "TCP states by Zabbix trapper"  # the template that has these keys, as both its files name it


def _count(state: TcpState) -> Callable[[Snapshot, Vitals], str | None]:
    return lambda snapshot, _vitals: _known(snapshot.states.get(state))


def _mptcp(state: TcpState) -> Callable[[Snapshot, Vitals], str | None]:
    return lambda snapshot, _vitals: _known((snapshot.mptcp or {}).get(state))


def _known(figure: int | None) -> str | None:
    return None if figure is None else str(figure)


# The low-level discovery macros that stand in a prototype's key for what it is of.
PORT, UNIT, NETNS = "{#PORT}", "{#UNIT}", "{#NETNS}"
LOCAL, REMOTE, UNITS = "tcp.port.discovery", "tcp.remote.discovery", "tcp.service.discovery"
NAMESPACES, NETNS_DROPS = "tcp.netns.discovery", f"tcp.netns.listen.drops[{NETNS}]"

TCP_COUNTERS = (
    *("ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "InSegs", "OutSegs", "RetransSegs", "InErrs"),
    "OutRsts",
)
"""The counters of /proc/net/snmp, group Tcp, that are reported,"""
TCP_EXT_COUNTERS = (
    *("ListenOverflows", "ListenDrops", "SyncookiesSent", "TCPReqQFullDoCookies", "TCPReqQFullDrop"),
    *("TCPTimeWaitOverflow", "TCPSynRetrans", "TCPAbortOnMemory", "TCPAbortOnTimeout", "TCPMemoryPressures"),
)
"""and those of /proc/net/netstat, group TcpExt."""


def _counter(name: str) -> Callable[[Snapshot, Vitals], str | None]:
    return lambda snapshot, _vitals: _known(snapshot.counters.get(name))


def _percent(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.2f}"


KEYS: Mapping[str, Callable[[Snapshot, Vitals], str | None]] = {
    **{f"tcp.status[{state.name}]": _count(state) for state in TcpState},
    "tcp.status[TOTAL]": lambda snapshot, _vitals: str(sum(snapshot.states.values())),
    "tcp.syn_sent.hosts": lambda snapshot, _vitals: str(snapshot.syn_sent_hosts),
    "tcp.sockets.time_wait": lambda snapshot, _vitals: _known(snapshot.time_wait_sockets),
    "tcp.sockets.unhashed": lambda snapshot, _vitals: _known(snapshot.unhashed),
    "tcp.mptcp.status[ESTABLISHED]": _mptcp(TcpState.ESTABLISHED),
    "tcp.mptcp.status[CLOSE_WAIT]": _mptcp(TcpState.CLOSE_WAIT),
    "tcp.limit[TIME_WAIT]": lambda snapshot, _vitals: _known(snapshot.time_wait_limit),
    "tcp.orphans": lambda snapshot, _vitals: _known(snapshot.orphans.used),
    "tcp.orphans.pused": lambda snapshot, _vitals: _percent(snapshot.orphans.pused),
    "tcp.memory": lambda snapshot, _vitals: _known(snapshot.memory.used),
    "tcp.memory.pused": lambda snapshot, _vitals: _percent(snapshot.memory.pused),
    **{f"tcp.counter[{name}]": _counter(name) for name in (*TCP_COUNTERS, *TCP_EXT_COUNTERS)},
    "tcp.ephemeral.used": lambda snapshot, _vitals: _known(snapshot.ephemeral.used if snapshot.ephemeral else None),
    "tcp.ephemeral.pused": lambda snapshot, _vitals: _percent(snapshot.ephemeral.pused if snapshot.ephemeral else None),
    "tcp.sender.version": lambda _snapshot, _vitals: __version__,
    "tcp.sender.uptime": lambda _snapshot, vitals: str(vitals.uptime_s),
    "tcp.sender.sample.time": lambda snapshot, _vitals: f"{snapshot.duration_s:.6f}",
    "tcp.sender.backlog": lambda _snapshot, vitals: str(vitals.backlog),
    "tcp.sender.dropped": lambda _snapshot, vitals: str(vitals.dropped),
    "tcp.sender.rejected": lambda _snapshot, vitals: str(vitals.rejected),
}
"""Every key of the host as a whole, in the order in which they are sent, and the value of each as Zabbix takes it.

None stands for a figure that the kernel does not have: it is not sent, and never 0 in its place.
"""

TOPS: Mapping[TcpState, str] = {
    state: f"tcp.status.top[{state.name}]"
    for state in (
        *(TcpState.ESTABLISHED, TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.FIN_WAIT2),
        *(TcpState.CLOSE_WAIT, TcpState.LAST_ACK),
    )
}
"""The keys of the texts that say whose the sockets in a state are; of SYN_SENT, where they want to go."""

TEXTS: Sequence[str] = (*TOPS.values(), EPHEMERAL_TOP := "tcp.ephemeral.top")
"""The keys of all texts that are sent when they have news."""

QUEUE_KEYS: Mapping[str, Callable[[Listener], str | None]] = {
    "tcp.listen.queue[{#PORT}]": lambda listener: str(listener.waiting),
    "tcp.listen.queue.max[{#PORT}]": lambda listener: str(listener.limit),
    "tcp.listen.queue.pused[{#PORT}]": lambda listener: f"{listener.pused:.2f}",
    "tcp.listen.queue.peak[{#PORT}]": lambda listener: _known(listener.peak),
    "tcp.listen.drops[{#PORT}]": lambda listener: _known(listener.drops),
}
"""The keys about the listeners of a local port, and the value of each, None as in KEYS."""

WHOLE = "tcp.status[TOTAL]"  # every sample has it
_RARE = (
    *("tcp.limit[", "tcp.sender.version", "tcp.sender.dropped", "tcp.sender.rejected", "tcp.listen.queue.max["),
    *("tcp.listen.drops[", "tcp.netns.listen.drops[", *(f"tcp.counter[{name}]" for name in TCP_EXT_COUNTERS)),
)


def is_rare(key: str) -> bool:
    """Return whether a value of this key is sent only when it has changed, and once an hour."""
    return key.startswith(_RARE)


DISCOVERIES: Mapping[str, Sequence[str]] = {
    LOCAL: (*(f"tcp.status[{state.name},{PORT}]" for state in TcpState), *QUEUE_KEYS),
    REMOTE: tuple(f"tcp.remote.status[{state.name},{PORT}]" for state in TcpState),
    UNITS: tuple(f"tcp.service.status[{state.name},{UNIT}]" for state in TcpState),
    NAMESPACES: (
        *(f"tcp.netns.status[{state.name},{NETNS}]" for state in TcpState if state != TcpState.CLOSE),
        NETNS_DROPS,
    ),
}
"""The keys that carry low-level discovery, and those that are sent for each port, unit or namespace which they name."""

_OF_PORT = re.compile(
    r"tcp\.(?:(remote)\.)?(?:status\[[A-Z_0-9]+,|listen\.(?:queue(?:\.max|\.pused|\.peak)?|drops)\[)([0-9]+)\]"
)
_OF_UNIT = re.compile(r"tcp\.(?:service|(netns))\.(?:status\[[A-Z_0-9]+,|listen\.drops\[)([^]]+)\]")
_KINDS = ("remote ", "netns ")  # what stands before a remote port and a namespace, as `port_of` gives them
_NAMESPACE = re.compile(r"[^],\0-\x1f]+")  # what a key and a list of names can hold
_UNIT = re.compile(r"[^],\0-\x1f]*[^],\d\0-\x1f][^],\0-\x1f]*")  # the same, and no port

_LOCAL_PORT = re.compile("[1-9][0-9]{0,4}")
_LAST_PORT = 65535


@lru_cache(maxsize=4096)
def port_of(key: str) -> str:
    """Return of what an item key is, such as "443", "remote 5432", "nginx.service" or "netns web"; "" for the host as a whole."""
    match = _OF_PORT.fullmatch(key) or _OF_UNIT.fullmatch(key)
    return " ".join(filter(None, match.groups())) if match else ""


def local_port(port: str) -> int | None:
    """Return the number of a local port, from what `port_of` or a file says; None for a remote one and for nonsense."""
    return int(port) if _LOCAL_PORT.fullmatch(port) and int(port) <= _LAST_PORT else None


def unit_of(name: str) -> str | None:
    """Return the unit's name, from what `port_of` or a file says; None for a port, a namespace and nonsense."""
    return name if _UNIT.fullmatch(name) and not name.startswith(_KINDS) else None


def namespace_of(name: str) -> str | None:
    """Return the namespace's name, from what `port_of` or a file says; None for anything else."""
    found = name.removeprefix("netns ")
    return found if found != name and _NAMESPACE.fullmatch(found) else None


def named(names: Collection[str]) -> str:
    """Return ports, units and namespaces, as `port_of` gives them, as people say them: `port 443, remote 5432 and nginx.service`."""
    units = [name for name in names if unit_of(name) or namespace_of(name)]
    ports = [name for name in names if name not in units]
    parts = [f"port {some_of(ports)}"] if ports else []
    return " and ".join(parts + ([some_of(units)] if units else []))


def to_items(snapshot: Snapshot, vitals: Vitals, *, host: str, tracked: Reported | None = None) -> tuple[Item, ...]:
    """Return every value of one sample with the snapshot's own `clock` and `ns`; discovery stands before its ports."""
    tracked = tracked or Reported()
    values = chain(
        ((key, value(snapshot, vitals)) for key, value in KEYS.items()),
        tracked.texts.items(),
        tracked.discovery.items(),
        _port_values(snapshot, tracked),
        _unit_values(snapshot, tracked),
        _namespace_values(snapshot, tracked),
    )
    return tuple(
        Item(host=host, key=key, value=value, clock=snapshot.clock, ns=snapshot.ns, port=port_of(key))
        for key, value in values
        if value is not None
    )


def _port_values(snapshot: Snapshot, tracked: Reported) -> Iterator[tuple[str, str | None]]:
    for port in tracked.local:
        for state in tracked.states:
            yield f"tcp.status[{state.name},{port}]", _known(snapshot.local_count(port, state))
        listener = snapshot.listeners.get(port) or snapshot.gone.get(port, snapshot.nobody)
        for key, value in QUEUE_KEYS.items():
            yield key.replace(PORT, str(port)), value(listener)
    for port in tracked.remote:
        for state in tracked.states:
            yield f"tcp.remote.status[{state.name},{port}]", _known(snapshot.remote_count(port, state))


def _unit_values(snapshot: Snapshot, tracked: Reported) -> Iterator[tuple[str, str | None]]:
    for unit in tracked.units:
        for state in tracked.unit_states:
            owners = (snapshot.owners or {}).get(state)
            yield f"tcp.service.status[{state.name},{unit}]", _known(None if owners is None else owners.get(unit, 0))


def _namespace_values(snapshot: Snapshot, tracked: Reported) -> Iterator[tuple[str, str | None]]:
    for name in tracked.namespaces:
        counts = (snapshot.namespaces or {}).get(name)
        for state in tracked.namespace_states:
            if counts is not None:
                yield f"tcp.netns.status[{state.name},{name}]", _known(counts.get(state))
            elif name not in snapshot.uncounted and state != TcpState.CLOSE:  # it is gone
                yield f"tcp.netns.status[{state.name},{name}]", "0"
        yield NETNS_DROPS.replace(NETNS, name), _known(snapshot.namespace_drops.get(name))


def to_request(items: Sequence[Item]) -> dict[str, Any]:
    """Return the body of a "sender data" request (Zabbix manual: Appendix, Protocols, Zabbix sender protocol)."""
    data = [  # not asdict, which takes ten times as long
        {"host": item.host, "key": item.key, "value": item.value, "clock": item.clock, "ns": item.ns} for item in items
    ]
    return {"request": "sender data", "data": data}
