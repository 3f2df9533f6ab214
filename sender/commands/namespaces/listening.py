"""Where the helper listens: the socket that systemd hands it (sd_listen_fds(3)), or one of its own at a path. Knows no client."""

from __future__ import annotations

import errno
import os
import stat
from socket import AF_UNIX, SO_ACCEPTCONN, SOCK_SEQPACKET, SOL_SOCKET, socket
from typing import TYPE_CHECKING

from sender.errors import SenderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNIT = "tcp-status-sender-namespaces.socket"

_FIRST_GIVEN = 3  # SD_LISTEN_FDS_START
_FOR_ALL = 0o666  # who is served is decided when they have connected


def given(environment: Mapping[str, str]) -> socket:
    """Return the socket that systemd has handed over. Raises SenderError where there is none."""
    is_ours = environment.get("LISTEN_PID") == str(os.getpid())
    if not is_ours or environment.get("LISTEN_FDS") != "1":
        raise SenderError(
            "systemd has not handed over a socket to listen on",
            advice=f"To start this, run `systemctl enable --now {UNIT}`. Without systemd, use --listen.",
        )
    strange = SenderError(
        f"what systemd has handed over is no ListenSequentialPacket= as in {UNIT}", advice=f"Start this by {UNIT}."
    )
    try:
        listening = socket(fileno=_FIRST_GIVEN)
    except OSError as error:
        raise strange from error
    is_listening = listening.getsockopt(SOL_SOCKET, SO_ACCEPTCONN)
    if (listening.family, listening.type, is_listening) != (AF_UNIX, SOCK_SEQPACKET, 1):
        listening.close()
        raise strange
    listening.settimeout(0)
    return listening


def own(path: Path) -> socket:
    """Return a socket that listens at `path`; one that is there from before is removed. Raises OSError."""
    if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
        path.unlink()
    listening = socket(AF_UNIX, SOCK_SEQPACKET)
    listening.settimeout(0)
    try:
        listening.bind(str(path))
        path.chmod(_FOR_ALL)
        listening.listen()
    except OSError as error:
        listening.close()
        # A path that is too long has no errno: it never gets to the kernel.
        raise OSError(error.errno or errno.ENAMETOOLONG, error.strerror or str(error), str(path)) from error
    return listening
