"""Which container a process is in, by the cgroups in its /proc/PID/cgroup; and names in the form in which they are sent. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_CHARACTERS = 64
UNNAMED = "unnamed"

_ENGINES = {
    "docker": "docker",
    "libpod": "podman",
    "cri-containerd": "containerd",
    "crio": "crio",
    "nerdctl": "containerd",
}
_SOME_ENGINE = "container"  # the cgroup has an id and nothing else
# `docker-ID.scope`, `libpod-ID`, or the id alone, as cgroups are named by systemd and by engines themselves. Not so
# `libpod-conmon-ID.scope`: that is Podman's own process, outside of the container.
_PART = re.compile(rf"(?:({'|'.join(_ENGINES)})-)?([0-9a-f]{{64}})(?:\.scope)?")
_UNFIT = re.compile(r"[^A-Za-z0-9_.:@/-]")


class Container(NamedTuple):
    """A container's id, and what runs it: docker, podman, containerd, crio, or container where that does not show."""

    engine: str
    id: str

    @property
    def short_name(self) -> str:
        """Return what it is called where no name is known."""
        return f"{self.engine}-{self.id[:12]}"


def container_of(cgroups: str) -> Container | None:
    """Return the innermost container in the text of a /proc/PID/cgroup; None where there is none."""
    for line in cgroups.splitlines():
        path = line.split(":", 2)[-1]
        # A colon where runc is given the names that are meant for systemd: `kubepods-pod1.slice:cri-containerd:ID`.
        parts = re.split("[/:]", path)
        for above, part in zip(reversed(parts[:-1]), reversed(parts), strict=False):
            if match := _PART.fullmatch(part):
                return Container(_ENGINES.get(match[1] or above, _SOME_ENGINE), match[2])
    return None


def fit(name: str) -> str:
    """Return a name of which every character can be in a key, cut to the length that it may have; "" becomes `unnamed`."""
    return _UNFIT.sub("_", name)[:MOST_CHARACTERS] or UNNAMED
