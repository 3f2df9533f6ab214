"""What `show --json` prints: a snapshot as plain values, for programs. Pure but for the names of services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.items import TCP_COUNTERS, TCP_EXT_COUNTERS
from sender.sampling.services import service_of
from sender.states import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.model import EphemeralPorts, Reported, Snapshot, TcpState, Usage


def plain(host: str, snapshot: Snapshot, tracked: Reported) -> dict[str, object]:
    """Return the sample for programs."""
    return {
        "host": host,
        "clock": snapshot.clock,
        "ns": snapshot.ns,
        "duration_s": snapshot.duration_s,
        "total": sum(snapshot.states.values()),
        "states": {state.name: snapshot.states.get(state) for state in STATES},
        "syn_sent_hosts": snapshot.syn_sent_hosts,
        "time_wait_limit": snapshot.time_wait_limit,
        "time_wait_sockets": snapshot.time_wait_sockets,
        "unhashed": snapshot.unhashed,
        "mptcp": snapshot.mptcp and {state.name: snapshot.mptcp.get(state) for state in STATES},
        "counters": {name: snapshot.counters.get(name) for name in (*TCP_COUNTERS, *TCP_EXT_COUNTERS)},
        "orphans": _plain_usage(snapshot.orphans),
        "memory": _plain_usage(snapshot.memory),
        "owners": snapshot.owners
        and {state.name: dict(snapshot.owners[state]) for state in STATES if state in snapshot.owners},
        "namespaces": snapshot.namespaces
        and {
            name: {
                "drops": snapshot.namespace_drops.get(name),
                **{state.name: counts[state] for state in STATES if state in counts},
            }
            for name, counts in snapshot.namespaces.items()
        },
        "syn_sent_destinations": dict(snapshot.destinations),
        "ephemeral": snapshot.ephemeral and _plain_ephemeral(snapshot.ephemeral),
        "ports": [_plain_port(port, snapshot, tracked) for port in tracked.local],
        "remote_ports": [
            {
                "port": port,
                "service": service_of(port) or None,
                "states": _plain_states(port, snapshot.remote_count, tracked),
            }
            for port in tracked.remote
        ],
    }


def _plain_port(port: int, snapshot: Snapshot, tracked: Reported) -> dict[str, object]:
    listener = snapshot.listeners.get(port)
    queue = listener and {
        "waiting": listener.waiting,
        "limit": listener.limit,
        "pused": round(listener.pused, 2),
        "peak": listener.peak,
    }
    return {
        "port": port,
        "service": service_of(port) or None,
        "unit": snapshot.unit_on(port) or None,
        "scope": listener and listener.scope,
        "states": _plain_states(port, snapshot.local_count, tracked),
        "queue": queue,
        "drops": listener and listener.drops,
    }


def _plain_ephemeral(ports: EphemeralPorts) -> dict[str, object]:
    pused = None if ports.pused is None else round(ports.pused, 2)
    return {"used": ports.used, "usable": ports.usable, "pused": pused, "destination": ports.destination or None}


def _plain_usage(usage: Usage) -> dict[str, float | None]:
    pused = None if usage.pused is None else round(usage.pused, 2)
    return {"used": usage.used, "limit": usage.limit, "pused": pused}


def _plain_states(port: int, count: Callable[[int, TcpState], int | None], tracked: Reported) -> dict[str, int | None]:
    return {state.name: count(port, state) for state in tracked.states}
