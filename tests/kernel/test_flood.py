"""A SYN flood, as the kernel lets it be seen, in a network namespace of the test's own. Needs root."""

from __future__ import annotations

import sys

from lab import flood
from lab.namespace import Namespace
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, TcpState
from templates.macros import MACROS


def test_a_flood_is_near_the_listeners_limit_and_far_below_the_hosts_threshold() -> None:
    """The kernel caps half-open connections near the backlog: the port's trigger sees them, a fixed number does not."""
    with Namespace((sys.executable, "-m", "lab.flood")) as namespace:
        found = namespace.call(lambda: SockDiag().sample(CountedPorts(listening=True)))
        counters = namespace.run("nstat", "-az", "TcpExtSyncookiesSent").split()
    half_open, limit = found.local[flood.PORT, TcpState.SYN_RECV], found.listeners[flood.PORT].limit
    assert limit == flood.BACKLOG
    assert half_open > limit * int(MACROS["{$TCP.SYN_RECV.PUSED.MAX.WARN}"].value) / 100
    assert found.states[TcpState.SYN_RECV] == half_open <= limit + 1
    assert half_open < int(MACROS["{$TCP.SYN_RECV.MAX.CRIT}"].value)
    assert float(counters[counters.index("TcpExtSyncookiesSent") + 1]) >= flood.REQUESTS - half_open
