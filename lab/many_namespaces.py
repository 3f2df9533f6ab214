"""Many network namespaces at a time, and whether the kernel still has them. Needs root."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.handed_over import network_namespace
from lab.watched_daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespace import Namespace


@contextmanager
def many(outer: Namespace, count: int) -> Iterator[list[int]]:
    """Yield the inodes of so many namespaces, each with one end of a pair of interfaces, whose other end is in `outer`.

    When such a namespace ends, so do both ends: no other trace is left of one that has no process.
    """
    holders: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            holders.append(subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE))  # noqa: PERF401
        own = network_namespace()
        for each in holders:
            wait_until(lambda each=each: network_namespace(each.pid) != own, "there is a new namespace")  # type: ignore[misc]
        pairs = [f"link add v{number} type veth peer name w netns {each.pid}" for number, each in enumerate(holders)]
        command = outer.inside("ip", "-batch", "-")
        subprocess.run(command, input="\n".join(pairs), text=True, check=True)
        yield [network_namespace(each.pid) for each in holders]
    finally:
        for each in holders:
            each.communicate()


def links(outer: Namespace) -> int:
    """Return how many of the pairs are left."""
    return len(re.findall(r"^\d+: v\d+@", outer.run("ip", "-oneline", "link"), re.MULTILINE))
