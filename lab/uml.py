"""A machine of its own: a whole Linux kernel as one process, which is Debian's user-mode-linux. Needs root.

What is one figure for a whole machine can be brought about in it without harm to this one. It has this machine's files, which it
cannot change, one processor, and a network to the namespace in which it runs.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from lab.program import caged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.namespace import Namespace

OUTSIDE, INSIDE = "192.0.2.1", "192.0.2.2"
"""The addresses of the namespace and of the machine, to each other."""
_TAP = "machine"
_INIT = f"""#!/bin/sh -e
mount -t proc proc /proc
mount -t tmpfs run /run
ip link set lo up
ip addr add {INSIDE}/24 dev vec0
ip link set vec0 up
{{background}} &
{{foreground}}
wait
"""


def cable(namespace: Namespace) -> None:
    """Make the namespace's end of the network, before anything listens on its address there."""
    namespace.run("ip", "tuntap", "add", "dev", _TAP, "mode", "tap")
    namespace.run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", _TAP)
    namespace.run("ip", "link", "set", _TAP, "up")


def machine(directory: Path, background: Sequence[str], foreground: Sequence[str]) -> list[str]:
    """Return the command line that is such a machine, with two programs; the second has its standard input and output.

    The machine goes on when they have ended, until it is killed.
    """
    init = directory / "init"
    init.write_text(_INIT.format(background=shlex.join(background), foreground=shlex.join(foreground)))
    init.chmod(0o755)
    kernel = ["rootfstype=hostfs", "rootflags=/", "ro", "quiet", f"init={init}", "mem=256M", f"uml_dir={directory}"]
    devices = ["con=null", "con0=fd:0,fd:1", f"vec0:transport=tap,ifname={_TAP},depth=64"]
    return caged(["linux.uml", *kernel, *devices])
