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
OF_A_POD = "KUBERNETES_SERVICE_HOST"  # a variable that each of them has
KIND = "container"  # the one that Podman sets, whose file is not there below a root that is read-only

_NETWORKS = {
    "docker": "--network host, or network_mode: host",
    "podman": "--network host, or Network=host",
    "kubernetes": "hostNetwork: true",
}
_WITHOUT_A_CONTAINER = (
    "To count the host's sockets, run it on the host, or in a container with the host's network (docker run --network host); "
    "PrivateNetwork= and NetworkNamespacePath= of the unit must be off."
)

_MOUNTED = re.compile(r" (net:\[\d+\]) \S+ [^-]*- nsfs ")


def is_first() -> bool | None:
    """Return whether this is the machine's first network namespace, the host's; None where /proc hides what tells."""
    if is_there(IN_FIRST_ALONE):
        return True
    return False if is_there(IN_EVERY_ONE) else None


def container() -> tuple[str, bool]:
    """Return what kind of container this process is in, "" for none that shows, and whether a whole system is in it."""
    try:
        return WHOLE_SYSTEM.read_text().strip() or "container", True
    except OSError:
        if OF_A_POD in os.environ:
            return "kubernetes", False
        return next((kind for path, kind in SIGNS.items() if is_there(path)), os.environ.get(KIND, "")), False


def stranger() -> str | None:
    """Return the kind of container, "" for none that shows, whose network namespace this is though the host's is meant.

    None where all is well: it is the host's, or that of a whole system, which its users take for a host; or nothing tells.
    """
    if is_first() is not False:
        return None
    kind, is_system = container()
    return None if is_system else kind


def to_have_the_hosts(kind: str) -> str:
    """Return what gives a container of this kind the host's network namespace, in whole sentences."""
    network = _NETWORKS.get(kind)
    if network is None:
        return _WITHOUT_A_CONTAINER
    return f"To count the host's sockets, give this container the host's network ({network})."


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


def is_there(path: Path) -> bool:
    """Return whether a file is there, as far as this process may look."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists() raises where it may not, up to Python 3.13
