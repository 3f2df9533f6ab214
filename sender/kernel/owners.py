"""Whose the sockets of a dump are: cgroups become owners, and sockets without one go to who listens on their port. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sender.model import KERNEL, TcpState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from sender.kernel.counts import SocketCounts


# Those whose sockets all have a cgroup.
_FULL = (TcpState.LISTEN, TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.SYN_SENT)


def cgroups_of(counts: SocketCounts) -> set[int] | None:
    """Return the ids of all cgroups that have sockets; None where the kernel has none, or nobody has asked."""
    if not counts.owners:
        return None
    found = {cgroup for cgroups in counts.owners.by_state.values() for cgroup in cgroups}
    return None if not found and any(counts.states[state] for state in _FULL) else found


def port_owners(cgroups: Mapping[int, AbstractSet[int]], names: Mapping[int, str]) -> dict[int, str]:
    """Return who listens on each port, where just one does; `cgroups` are those of the listeners, by port."""
    owners = {port: {names.get(cgroup, "") for cgroup in found} for port, found in cgroups.items()}
    return {port: next(iter(found)) for port, found in owners.items() if len(found) == 1 and "" not in found}


def owners_by_state(
    counts: SocketCounts, names: Mapping[int, str], owner_of_port: Mapping[int, str]
) -> dict[TcpState, dict[str, int]]:
    """Return the sockets by state and owner: together as many as the dump has in each state."""
    found: dict[TcpState, Counter[str]] = {state: Counter() for state in TcpState}
    for state, cgroups in (counts.owners.by_state if counts.owners else {}).items():
        for cgroup, count in cgroups.items():
            found[TcpState(state)][names[cgroup]] += count
    for (port, state), count in counts.without_owner.items():
        if port in owner_of_port:
            found[TcpState(state)][owner_of_port[port]] += count
    for state, owners in found.items():
        if rest := counts.states[state] - owners.total():
            owners[KERNEL] += rest
    return {state: dict(owners) for state, owners in found.items()}
