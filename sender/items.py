"""From a snapshot to Zabbix items: the one table of keys. Pure; knows no clock, no kernel, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender import __version__
from sender.model import Item, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.model import Snapshot, Vitals


def _count(state: TcpState) -> Callable[[Snapshot, Vitals], str]:
    return lambda snapshot, _vitals: str(snapshot.states[state])


KEYS: Mapping[str, Callable[[Snapshot, Vitals], str]] = {
    **{f"tcp.status[{state.name}]": _count(state) for state in TcpState},
    "tcp.status[TOTAL]": lambda snapshot, _vitals: str(sum(snapshot.states.values())),
    "tcp.syn_sent.hosts": lambda _snapshot, _vitals: "0",
    "tcp.limit[TIME_WAIT]": lambda _snapshot, _vitals: "0",
    "tcp.sender.version": lambda _snapshot, _vitals: __version__,
    "tcp.sender.uptime": lambda _snapshot, vitals: str(vitals.uptime_s),
    "tcp.sender.sample.time": lambda snapshot, _vitals: f"{snapshot.duration_s:.6f}",
    "tcp.sender.backlog": lambda _snapshot, vitals: str(vitals.backlog),
    "tcp.sender.dropped": lambda _snapshot, vitals: str(vitals.dropped),
    "tcp.sender.rejected": lambda _snapshot, vitals: str(vitals.rejected),
}
"""Every key that the daemon sends, in the order in which it sends them, and the value of each as Zabbix takes it."""


DISCOVERIES: Mapping[str, Sequence[str]] = {
    "tcp.port.discovery": (
        *(f"tcp.status[{state.name},{{#PORT}}]" for state in TcpState),
        "tcp.listen.queue[{#PORT}]",
        "tcp.listen.queue.max[{#PORT}]",
        "tcp.listen.queue.pused[{#PORT}]",
    ),
    "tcp.remote.discovery": tuple(f"tcp.remote.status[{state.name},{{#PORT}}]" for state in TcpState),
}
"""Key of each low-level discovery rule to the keys of its prototypes."""


def to_items(snapshot: Snapshot, vitals: Vitals, *, host: str) -> tuple[Item, ...]:
    """One item per key of `KEYS`, each with the snapshot's own `clock` and `ns`."""
    return tuple(
        Item(host=host, key=key, value=value(snapshot, vitals), clock=snapshot.clock, ns=snapshot.ns)
        for key, value in KEYS.items()
    )


def to_request(items: Sequence[Item]) -> dict[str, Any]:
    """The body of a "sender data" request (Zabbix manual: Appendix, Protocols, Zabbix sender protocol)."""
    data = [  # not asdict, which takes ten times as long
        {"host": item.host, "key": item.key, "value": item.value, "clock": item.clock, "ns": item.ns} for item in items
    ]
    return {"request": "sender data", "data": data}
