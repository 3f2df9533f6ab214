"""What has happened between two pages of `show --watch`, by the kernel's counters. Snapshots in, one line out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.model import Snapshot

_EVENTS = {
    "ListenDrops": ("request dropped", "requests dropped"),  # ListenOverflows are among these
    "TCPReqQFullDrop": ("half-open request dropped", "half-open requests dropped"),
    "SyncookiesSent": ("SYN cookie sent", "SYN cookies sent"),
    "RetransSegs": ("retransmission", "retransmissions"),  # as are TCPSynRetrans among these
    "AttemptFails": ("failed attempt", "failed attempts"),
    "EstabResets": ("connection reset", "connections reset"),
    "OutRsts": ("reset sent", "resets sent"),
    "InErrs": ("bad segment", "bad segments"),
    "TCPTimeWaitOverflow": ("over the limit of TIME_WAIT", "over the limit of TIME_WAIT"),
    "TCPAbortOnTimeout": ("connection timed out", "connections timed out"),
    "TCPAbortOnMemory": ("connection ended for want of memory", "connections ended for want of memory"),
    "TCPMemoryPressures": ("time under memory pressure", "times under memory pressure"),
}
"""The counters of what goes wrong, the gravest first, and what one and many of each are."""


def since_last_page(before: Snapshot, now: Snapshot) -> str:
    """Return which of these counters rose, and by how much; nothing of those that the kernel does not have."""
    rises = {
        name: now.counters[name] - before.counters[name]
        for name in _EVENTS
        if name in now.counters and name in before.counters
    }
    if not rises:
        return ""
    found = [f"{rise:,} {_EVENTS[name][rise > 1]}" for name, rise in rises.items() if rise > 0]
    return f"since the last page: {', '.join(found) or 'nothing dropped, nothing sent again'}"
