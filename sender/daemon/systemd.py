"""Tells systemd what it wants to hear from a service: the protocol of sd_notify(3). Knows nothing of what we do."""

from __future__ import annotations

import logging
import os
import socket
import time

_LOG = logging.getLogger(__name__)
_MAX_BYTES = 4096  # NOTIFY_BUFFER_MAX, src/core/manager.c: what is longer is ignored, with a warning in the journal


def notify(*assignments: str) -> None:
    """Send assignments, such as "READY=1", in one datagram to whoever started us and asked for them; never wait."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):  # not set: nobody asked; what else may stand there (vsock) is for machines
        return
    lines = (" ".join(assignment.splitlines()) for assignment in assignments)  # a line break would begin another one
    message = "\n".join(lines).encode(errors="replace")[:_MAX_BYTES]
    message = message.decode(errors="ignore").encode()  # nor may half a character stand at the end
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace, unix(7)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.sendto(message, address)
    except OSError as error:  # systemd is late or gone: that must not become our trouble
        _LOG.debug("cannot tell systemd %r: %s", message, error)


def reloading() -> None:
    """Say that a reload begins; READY=1 ends it. Type=notify-reload (253) tells by the time which reload is meant."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_s() -> float | None:
    """Return how long systemd waits for WATCHDOG=1 before it ends and restarts us; None: for ever."""
    try:
        timeout_s = int(os.environ["WATCHDOG_USEC"]) / 1_000_000
        meant = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError, OverflowError):
        return None
    return timeout_s if timeout_s > 0 and meant == os.getpid() else None
