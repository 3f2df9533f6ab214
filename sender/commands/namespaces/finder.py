"""Which network namespaces this machine has, beside its first one, and what each is called. Needs root; enters none.

A namespace is there while a process is in it, or while `ip netns` has it mounted. That it merely exists says nothing: it does for
as long as somebody has a socket in it, and those whom we serve do. So Docker's own mounts do not count; Docker keeps them for no
longer than its containers run, except for networks of its own in which nobody is.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import KernelError
from sender.kernel.container_ids import container_of, fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sender.commands.namespaces.container_names import ContainerNames

_LINK = re.compile(r"net:\[(\d+)\]")
_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ENGINES_MOUNT = re.compile(f"(?:(?:cni|netns)-)?{_ID}")  # Kubernetes', Podman's: another one at each start


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A network namespace. `path` opens it; `rank` is lower for one that is less likely to be an ordinary user's."""

    inode: int
    name: str
    container: str = ""
    path: str = field(compare=False)
    rank: tuple[bool, bool, int] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What there is: network namespaces by inode, in the order of their `rank`; names of containers on the host's network, by id."""

    namespaces: Mapping[int, Found]
    containers: Mapping[str, str]


class Finder:
    """Looks into `proc` and `mounts`, and asks `names` about containers. Raises KernelError without root's view of processes."""

    def __init__(self, names: ContainerNames, *, proc: Path = Path("/proc"), mounts: Path = Path("/run/netns")) -> None:
        self._names, self._proc, self._mounts = names, proc, mounts
        try:
            self._ours = {self._namespace_of("self"), self._first()}
            self._device = os.stat(f"{proc}/self/ns/net").st_dev  # noqa: PTH116  a string, as below
        except OSError as error:
            found = f"the network namespace of the first process cannot be seen: {error.strerror}"
            raise KernelError(found, advice="Run this as root, as its unit does.") from error

    def _first(self) -> int:
        """Return the inode of the machine's first network namespace. Raises OSError."""
        try:
            return self._namespace_of("1")
        except OSError:
            # A security module may hide the first process from root, too. The kernel's own threads are where it is.
            if self._text("2", "stat").startswith("2 (kthreadd) S 0 "):
                return self._namespace_of("2")
            raise

    def find(self) -> Sight:
        """Return what there is: namespaces that the administrator or an engine has made first, then the older ones."""
        mounted, inside = self._mounted(), self._inside()
        ours = [process for inode in self._ours for process in inside.pop(inode, ())]
        found = [self._describe(inode, mounted.get(inode, ""), inside.get(inode, ())) for inode in mounted | inside]
        ranked = sorted(filter(None, found), key=lambda each: each.rank)
        return Sight(namespaces={each.inode: each for each in ranked}, containers=self._named(ours))

    def _mounted(self) -> dict[int, str]:
        """Return what `ip netns` calls the namespaces that it has mounted."""
        found: dict[int, str] = {}
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._mounts)):  # noqa: PTH208  strings: as many as there are pods
                with suppress(OSError):
                    stat = os.stat(f"{self._mounts}/{name}")  # noqa: PTH116
                    if stat.st_dev == self._device and stat.st_ino not in self._ours:  # else nothing is mounted on it
                        found.setdefault(stat.st_ino, name)
        return found

    def _inside(self) -> dict[int, list[str]]:
        """Return the processes in each namespace, ours among them."""
        found: dict[int, list[str]] = {}
        for process in filter(str.isdigit, os.listdir(self._proc)):  # noqa: PTH208
            with suppress(OSError):  # it has ended
                found.setdefault(self._namespace_of(process), []).append(process)
        return found

    def _namespace_of(self, process: str) -> int:
        """Return the inode of a process's network namespace. Raises OSError."""
        link = os.readlink(f"{self._proc}/{process}/ns/net")  # noqa: PTH115  one for each process there is
        match = _LINK.fullmatch(link)
        return int(match[1]) if match else 0

    def _describe(self, inode: int, mount: str, processes: Sequence[str]) -> Found | None:
        """Return what is known of a namespace, by its oldest process; None where it has none left, and no mount."""
        started, process = min(self._starts(processes), default=(0, ""))
        if not mount and not process:
            return None
        container = container_of(self._text(process, "cgroup"))
        name = "" if _ENGINES_MOUNT.fullmatch(mount) else mount
        if not name and container:
            name = self._names.name_of(container) or container.short_name
        return Found(
            inode=inode,
            name=fit(name or mount or self._text(process, "comm").strip()),
            container=container.id if container else "",
            path=f"{self._mounts}/{mount}" if mount else f"{self._proc}/{process}/ns/net",
            rank=(not mount, not container, started),
        )

    def _named(self, processes: Sequence[str]) -> dict[str, str]:
        """Return the names of the containers that these processes are in, by id; of a container without a name nothing."""
        containers = set(filter(None, (container_of(self._text(process, "cgroup")) for process in processes)))
        names = {each.id: self._names.name_of(each) for each in sorted(containers)}
        return {container: fit(name) for container, name in names.items() if name}

    def _starts(self, processes: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield when each process that is still there was started, in ticks since the machine was: proc_pid_stat(5)."""
        for process in processes:
            with suppress(IndexError):
                yield int(self._text(process, "stat").rpartition(")")[2].split()[19]), process

    def _text(self, process: str, file: str) -> str:
        """Return what a file about a process says; "" where the process has ended."""
        try:
            return (self._proc / process / file).read_text(errors="replace") if process else ""
        except OSError:
            return ""
