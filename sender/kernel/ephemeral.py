"""The local ports that the kernel takes for this network namespace's connections: two files in /proc/sys/net/ipv4."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from sender.kernel.destinations import UsablePorts

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")  # such as "8080,9148-9150"
_PORTS = re.compile(r"(\d+)(?:-(\d+))?")


def ephemeral_ports() -> range:
    """Return the kernel's range; an empty one where it does not say."""
    return _range(_text(RANGE))


def usable_ports() -> UsablePorts | None:
    """Return the range less what is reserved; None where the kernel does not say."""
    return _usable(_text(RANGE), _text(RESERVED))


@lru_cache(maxsize=1)
def _usable(bounds: str, reserved: str) -> UsablePorts | None:
    """Return them, made anew only when an administrator has changed something."""
    ports = _range(bounds)
    if not ports:
        return None
    pairs = [(int(first), int(last or first)) for first, last in _PORTS.findall(reserved)]
    return UsablePorts(ports, {port for first, last in pairs for port in range(first, last + 1)})


def _range(bounds: str) -> range:
    try:
        first, last = map(int, bounds.split())
    except ValueError:
        return range(0)
    return range(first, last + 1)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
