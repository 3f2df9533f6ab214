"""Whose the sockets of a dump are: cgroups become owners, and sockets without one go to who listens on their port. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sender.kernel.unit_names import KERNEL
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from sender.kernel.counts import SocketCounts


def cgroups_of(counts: SocketCounts) -> set[int]:
    """Return the ids of all cgroups that have sockets; nothing where the kernel does not say."""
    by_state = counts.owners.by_state.values() if counts.owners else ()
    return {cgroup for found in by_state for cgroup in found}


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
