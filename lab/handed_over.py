"""A client of the helper for network namespaces: what it was told and was given. Knows the packets as they are documented."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from socket import AF_UNIX, SOCK_SEQPACKET, recv_fds, socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

MOST = 4096


class HandedOver:
    """Connects to the helper at `path`. `sockets` are those that it has now, by inode; `names` the namespaces' names."""

    def __init__(self, path: Path | str) -> None:
        self.connection = socket(AF_UNIX, SOCK_SEQPACKET)
        self.connection.settimeout(30)
        self.sockets: dict[int, socket] = {}
        self.names: dict[int, str] = {}
        self.containers: dict[int, str] = {}
        self.on_host: dict[str, str] = {}  # names of containers on the host's network, by id
        self.said: list[dict[str, Any]] = []
        try:
            self.connection.connect(str(path))
        except OSError:
            self.connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self.connection, *self.sockets.values()):
            sock.close()

    def hear(self) -> dict[str, Any] | None:
        """Return the next packet, and do as it says; None where the helper has closed the connection."""
        packet, descriptors, _, _ = recv_fds(self.connection, MOST, 8)
        if not packet:
            return None
        said: dict[str, Any] = json.loads(packet)
        self.said.append(said)
        assert len(descriptors) == ("namespace" in said)
        if "namespace" in said:
            inode = int(said["namespace"])
            assert inode not in self.sockets
            self.sockets[inode] = socket(fileno=descriptors[0])
            self.names[inode], self.containers[inode] = said["name"], said["container"]
        elif "container" in said:
            assert said["container"] not in self.on_host
            self.on_host[said["container"]] = said["name"]
        elif "gone" in said and said["gone"] in self.on_host:
            del self.on_host[said["gone"]]
        elif "gone" in said:
            inode = int(said["gone"])
            self.sockets.pop(inode).close()
            del self.names[inode], self.containers[inode]
        return said

    def hear_list(self) -> Self:
        """Hear all of the first list."""
        while (said := self.hear()) and "listed" not in said:
            pass
        assert said
        assert said == {"listed": len(self.sockets)}
        return self

    def hear_all(self) -> Self:
        """Hear what has been said by now."""
        self.connection.settimeout(0)
        with suppress(BlockingIOError):
            while self.hear():
                pass
        self.connection.settimeout(30)
        return self

    @property
    def is_closed(self) -> bool:
        """Whether the helper has closed the connection, once all is heard."""
        try:
            while self.hear():
                pass
        except ConnectionResetError:
            pass
        return True


def network_namespace(process: int | str = "self") -> int:
    """Return the inode of a process's network namespace."""
    return os.stat(f"/proc/{process}/ns/net").st_ino  # noqa: PTH116  as it is
