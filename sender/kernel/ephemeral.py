"""The local ports that the kernel takes for this network namespace's connections: some files in /proc/sys/net/ipv4."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from sender.kernel.destinations import Reuse, UsablePorts

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")  # such as "8080,9148-9150"
TW_REUSE = Path("/proc/sys/net/ipv4/tcp_tw_reuse")  # 0, 1, or since Linux 4.19 ordinarily 2: on loopback
TW_REUSE_DELAY = Path("/proc/sys/net/ipv4/tcp_tw_reuse_delay")  # since Linux 6.14; a second before
TIMESTAMPS = Path("/proc/sys/net/ipv4/tcp_timestamps")  # without which it takes none again
_A_SECOND_MS = 1000
_PORTS = re.compile(r"(\d+)(?:-(\d+))?")


def ephemeral_ports() -> range:
    """Return the kernel's range; an empty one where it does not say."""
    return _range(_text(RANGE))


def usable_ports() -> UsablePorts | None:
    """Return the range less what is reserved; None where the kernel does not say."""
    return _usable(_text(RANGE), _text(RESERVED), _reuse())


@lru_cache(maxsize=1)
def _usable(bounds: str, reserved: str, reuse: Reuse) -> UsablePorts | None:
    """Return them, made anew only when an administrator has changed something."""
    ports = _range(bounds)
    if not ports:
        return None
    pairs = [(int(first), int(last or first)) for first, last in _PORTS.findall(reserved)]
    return UsablePorts(ports, {port for first, last in pairs for port in range(first, last + 1)}, reuse)


def _reuse() -> Reuse:
    how, delay = _text(TW_REUSE).strip(), _text(TW_REUSE_DELAY).strip()
    if how not in ("1", "2") or _text(TIMESTAMPS).strip() == "0":
        return Reuse()
    after_ms = int(delay) if delay.isdecimal() else _A_SECOND_MS
    return Reuse(everywhere=how == "1", on_loopback=how == "2", after_ms=after_ms)


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
