"""What the kernel has counted of TCP since it started, in this network namespace: /proc/net/snmp and /proc/net/netstat.

Each file has two lines for a group, one of names and one of numbers (net/ipv4/proc.c). Names come and go with kernels: they
alone say which number is which, and one that is missing has no figure.
"""

from __future__ import annotations

from pathlib import Path

from sender.items import TCP_COUNTERS, TCP_EXT_COUNTERS

SNMP, NETSTAT = Path("/proc/net/snmp"), Path("/proc/net/netstat")


def read_counters() -> dict[str, int]:
    """Return the counters that are reported, by the kernel's name; those that it lacks are left out."""
    return {**_group(SNMP, "Tcp:", TCP_COUNTERS), **_group(NETSTAT, "TcpExt:", TCP_EXT_COUNTERS)}


def _group(path: Path, group: str, wanted: tuple[str, ...]) -> dict[str, int]:
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.startswith(group)]
        names, numbers = lines
        found = dict(zip(names[1:], numbers[1:], strict=True))
        return {name: int(found[name]) for name in wanted if name in found}
    except (OSError, ValueError):
        return {}
