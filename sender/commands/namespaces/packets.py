"""What the helper says to the daemon: one JSON object in each packet. Pure.

`{"namespace": "4026532177", "name": "web", "container": "<64 hex digits, or empty>"}` comes with a descriptor, that of a netlink
socket in there. `{"gone": "4026532177"}` says that the socket is to be closed: it keeps the namespace from ending. The number is
the namespace's inode, which no other has for as long as the socket is open. `{"container": "<64 hex digits>", "name": "web"}`
names a container on the host's own network, until `{"gone": "<64 hex digits>"}`. What has got another name is gone, and comes
anew. `{"listed": 3}` ends the first list. The daemon need say nothing.
"""

from __future__ import annotations

import json

MOST_HEARD = 256  # bytes; what is longer is not read
MOST_SAID = 4096


def handed_over(inode: int, name: str, container: str) -> bytes:
    """Return the packet that comes with a socket. Names are short: it has at most MOST_SAID bytes."""
    return _packet({"namespace": str(inode), "name": name, "container": container})


def named(container: str, name: str) -> bytes:
    """Return the packet that names a container on the host's own network."""
    return _packet({"container": container, "name": name})


def gone(what: int | str) -> bytes:
    """Return the packet that says that a namespace, by its inode, or a container, by its id, is to be let go."""
    return _packet({"gone": str(what)})


def listed(count: int) -> bytes:
    """Return the packet that ends the first list, of so many namespaces."""
    return _packet({"listed": count})


def is_sound(heard: bytes) -> bool:
    """Return whether this is a packet at all: a short JSON object. What it says does not matter."""
    try:
        return len(heard) <= MOST_HEARD and isinstance(json.loads(heard), dict)
    except (ValueError, RecursionError):
        return False


def _packet(content: dict[str, str | int]) -> bytes:
    return json.dumps(content).encode()
