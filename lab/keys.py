"""How many values a sample has: those of every sample, and those of a first one. Knows what the daemon sends."""

from __future__ import annotations

from sender.items import EPHEMERAL_TOP, KEYS, LOCAL, REMOTE, TOPS, is_rare
from sender.model import TcpState

STEADY = [key for key in KEYS if not is_rare(key)]
STORED = [*KEYS, TOPS[TcpState.SYN_SENT], EPHEMERAL_TOP]
FIRST_KEYS = [*STORED, LOCAL, REMOTE]
FIRST = len(FIRST_KEYS)
"""Of a sample without ports, with `services: {report: false}`: whose the sockets are depends on the machine."""
CLOSE = "tcp.status[CLOSE]"
"""Not sent while the machine has more than 4,000 sockets, as tests that run side by side make them at times."""
WHOLE_MACHINE = {"tcp.orphans.pused", "tcp.memory.pused"}
"""What a network namespace of its own does not tell: it does not have the kernel's limits."""
