"""Names of cgroups by their ids, from the tree of cgroup2: which systemd unit a socket belongs to.

The id that the kernel gives for a socket is the number of its cgroup's directory. The tree is read when an unknown id shows up,
at most once a sample. Names of cgroups that are gone are kept for as long as their sockets are there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sender.kernel.container_ids import container_of
from sender.kernel.namespaces import container, is_there
from sender.kernel.unit_names import owner_of
from sender.model import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # cgroup2 alone, and beside cgroup v1
_OF_CGROUP2 = "cgroup.controllers"  # which no directory of cgroup v1 has
_ROOT_ID = 1  # of the whole machine's tree; what a container sees as the root has another
LOW = 2**32 - 1
_TO_SEE_THEM = (
    "Mount the host's /sys/fs/cgroup into this container, read-only and at the same place "
    "(--volume /sys/fs/cgroup:/sys/fs/cgroup:ro, or a hostPath)."
)


class _Owner(NamedTuple):
    """Whose the sockets of a cgroup are, and the id of the container that it is, "" where it is none."""

    name: str
    container: str

    def named(self, container_names: Mapping[str, str]) -> str:
        name = container_names.get(self.container)
        return f"container {name}" if name else self.name


_OTHER = _Owner(OTHER, "")


class CgroupNames:
    """Whose the sockets of each cgroup are, below the first of `roots` that is the machine's cgroup2."""

    def __init__(self, roots: Sequence[Path] = ROOTS) -> None:
        self._roots = roots
        self._known: dict[int, _Owner] | None = None

    def owners(self, ids: AbstractSet[int], container_names: Mapping[str, str]) -> Mapping[int, str] | None:
        """Return the owner of each cgroup; None where the machine's cgroups cannot be seen. Names of containers are by their id."""
        if self._known is None or not ids <= self._known.keys():
            root = find_root(self._roots)
            if root is None:
                return None
            tree, known = dict(_tree(root)), self._known or {}
            # On a machine of 32 bits a directory's number is half of the id.
            found = {each: tree.get(each) or tree.get(each & LOW) or known.get(each, _OTHER) for each in ids}
            self._known = {**tree, **found}
        return {each: self._known[each].named(container_names) for each in ids}


def find_root(roots: Sequence[Path] = ROOTS) -> Path | None:
    """Return where the machine's whole tree of cgroup2 is; None where there is none, or a container sees its own part alone."""
    for root in roots:
        with suppress(OSError):
            if _is_cgroup2(root) and root.stat().st_ino == _ROOT_ID:
                return root
    return None


def why_unknown(roots: Sequence[Path] = ROOTS) -> str | None:
    """Return why the owners of sockets are not known here, for people; None where they are."""
    if find_root(roots):
        return None
    if any(map(_is_cgroup2, roots)):
        return "this is a container that sees its own cgroups alone"
    if not any(map(_has_directories, roots)):
        return f"no cgroups are mounted at {roots[0]}, or this process may not see them"
    return "this machine has cgroup v1 alone: systemd's units have no id there"


def to_know_them(roots: Sequence[Path] = ROOTS) -> str:
    """Return what makes the owners of sockets known where a container hides them; "" where it does not, or is a whole system."""
    kind, is_system = container()
    is_hidden = not find_root(roots) and (kind or any(map(_is_cgroup2, roots)))
    return _TO_SEE_THEM if is_hidden and not is_system else ""


def _is_cgroup2(place: Path) -> bool:
    """Return whether cgroup2 is mounted there, as far as this process may look."""
    return is_there(place / _OF_CGROUP2)


def _has_directories(place: Path) -> bool:
    """Return whether there is something to see, as cgroups would be."""
    with suppress(OSError), os.scandir(place) as entries:
        return any(entry.is_dir() for entry in entries)
    return False


def _tree(root: Path) -> Iterator[tuple[int, _Owner]]:
    """Yield id and owner of every cgroup."""
    yield _ROOT_ID, _OTHER
    below = [(str(root), "")]
    while below:
        directory, path = below.pop()
        with suppress(OSError), os.scandir(directory) as entries:  # one that ends meanwhile has nothing to tell
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    within = f"{path}/{entry.name}"
                    below.append((entry.path, within))
                    container = container_of(f"0::{within}")
                    yield entry.inode(), _Owner(owner_of(within), container.id if container else "")
