"""The sockets in CLOSE: bound to a port, neither listening nor connected. Owns when the kernel is asked for them.

State bit 13 makes the kernel walk its table of bound ports with each bucket locked (inet_diag_dump_icsk(),
net/ipv4/inet_diag.c), and every connection accepted on a port stands in that port's bucket. New connections to the port
wait meanwhile. So these sockets are asked for apart, rarely, and only while there are few sockets.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sender.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from sender.kernel.counts import SocketCounts
    from sender.model import CountedPorts, TcpState

    ByPort = Mapping[tuple[int, TcpState], int]

# Each bound to one port is 0.2 us under that bucket's lock (docs/benchmarks.md): together less than 1 ms.
SOCKETS_LIMIT = 4000
PERIOD_S = 60.0


class BoundSockets:
    """The sockets in CLOSE, as they were when the kernel was last asked.

    `dump` asks the kernel for them and returns the counts; `monotonic` is a clock that nobody sets.
    """

    def __init__(self, dump: Callable[[], SocketCounts], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._dump = dump
        self._monotonic = monotonic
        self._due = float("-inf")
        self._counts: SocketCounts | None = None

    def latest(self, of_machine: int | None) -> SocketCounts | None:
        """Return the counts, at most PERIOD_S and one sample old; None where they are unknown.

        The machine has `of_machine` TCP sockets, in all network namespaces together, for they share the table; None for unknown.
        """
        now = self._monotonic()
        if now >= self._due:
            self._due = now + PERIOD_S
            is_cheap = of_machine is not None and of_machine <= SOCKETS_LIMIT
            self._counts = self._asked() if is_cheap else None
        return self._counts

    def _asked(self) -> SocketCounts | None:
        """Return the kernel's answer. One before Linux 6.8 knows no bit 13: it finds no socket in that state, so none is counted."""
        try:
            return self._dump()
        except KernelError:  # the sample itself is good
            return None


def local_counts(counts: ByPort, wanted: CountedPorts, listening: AbstractSet[int]) -> dict[tuple[int, TcpState], int]:
    """Return those of the counts whose port is `wanted`; the ports in `listening` are listened on."""
    ports = wanted.local | listening if wanted.listening else wanted.local
    return {place: count for place, count in counts.items() if place[0] in ports}
