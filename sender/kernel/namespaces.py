"""Which network namespace a sample is of, and whether there are others, whose sockets it does not have. Needs no privilege."""

from __future__ import annotations

import os
import re
from pathlib import Path

IN_FIRST_ALONE = Path("/proc/sys/net/ipv4/tcp_max_orphans")  # ipv4_table, net/ipv4/sysctl_net_ipv4.c: init_net's alone
IN_EVERY_ONE = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
MOUNTS = Path("/proc/self/mountinfo")
WHOLE_SYSTEM = Path("/run/systemd/container")  # made by a systemd that is a container's init
SIGNS = {Path("/.dockerenv"): "docker", Path("/run/.containerenv"): "podman"}

_MOUNTED = re.compile(r" (net:\[\d+\]) \S+ [^-]*- nsfs ")


def is_first() -> bool | None:
    """Return whether this is the machine's first network namespace, the host's; None where /proc hides what tells."""
    if IN_FIRST_ALONE.exists():
        return True
    return False if IN_EVERY_ONE.exists() else None


def container() -> tuple[str, bool]:
    """Return what kind of container this process is in, "" for none that shows, and whether a whole system is in it."""
    try:
        return WHOLE_SYSTEM.read_text().strip() or "container", True
    except OSError:
        return next((kind for path, kind in SIGNS.items() if path.exists()), ""), False


def mounted() -> int:
    """Return how many network namespaces are kept by mounts, as those of Docker's, Podman's and Kubernetes' containers are."""
    try:
        return len(set(_MOUNTED.findall(MOUNTS.read_text())))
    except OSError:
        return 0


def is_elsewhere(process: int) -> bool:
    """Return whether a process is seen to be in another network namespace than this one."""
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116  as it is
    except OSError:
        return False
