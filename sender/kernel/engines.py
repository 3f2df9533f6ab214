"""Which ports a container engine publishes: its own proxy listens on them, while clients are sent into containers by NAT.

Whose a listener is, /proc tells root alone. Without privilege its cgroup does, which the kernel has in its dump since Linux
5.8 (INET_DIAG_CGROUP_ID): the inode number of a directory of cgroup2. That names Docker's. Podman's listeners have the cgroup
of the user who started the container.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sender.kernel.cgroups import LOW, ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from sender.model import Listener

_ENGINES = ("system.slice/docker.service", "system.slice/snap.docker.dockerd.service")
_OWN_PORTS = frozenset({2375, 2376, 2377, 7946})  # of Docker itself: its API, and Swarm's
_PERIOD_S = 60.0


class PublishedPorts:
    """Tells published ports; `monotonic` is a clock that nobody sets. Engines come and go: they are looked for once a minute."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._due = float("-inf")
        self._engines: frozenset[int] = frozenset()

    def marked(
        self, listeners: Mapping[int, Listener], cgroups: Mapping[int, AbstractSet[int]]
    ) -> Mapping[int, Listener]:
        """Return the listeners by port, of which those are marked whose every socket is an engine's; `cgroups` are theirs."""
        now = self._monotonic()
        if now >= self._due:
            self._due, self._engines = now + _PERIOD_S, _of_engines()
        if not self._engines:
            return listeners
        # On a machine of 32 bits a directory's number is half of the id.
        published = {
            port
            for port, found in cgroups.items()
            if found <= self._engines or {each & LOW for each in found} <= self._engines
        } - _OWN_PORTS
        return {
            port: replace(listener, is_published=True) if port in published else listener
            for port, listener in listeners.items()
        }


def _of_engines() -> frozenset[int]:
    found = set()
    for path in (root / engine for root in ROOTS for engine in _ENGINES):
        with suppress(OSError):
            found.add(path.stat().st_ino)
    return frozenset(found)
