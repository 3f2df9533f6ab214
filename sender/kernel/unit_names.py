"""From a cgroup's path to whose it is: a systemd service, or what is put together so that names stay few and lasting. Pure."""

from __future__ import annotations

import re

from sender.model import OTHER

USER_SERVICES, USER_SESSIONS = "user services", "user sessions"

_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|socket)")  # systemd.unit(5)
_USER = re.compile(r"user@\d+\.service")  # a user's own service manager, with all that runs under it
_TRANSIENT = re.compile(r"run-.*\.service")  # systemd-run(1), where nobody has given a name
_ENGINES = (
    ("kubepods", re.compile(r"kubepods(?:[.-].*)?")),
    ("docker", re.compile(r"docker(?:-[0-9a-f]{12,}\.scope)?")),
    ("podman", re.compile(r"libpod(?:_parent|-.*)?")),
)
# An instance of a service with Accept=yes, one for each connection: systemd.socket(5). Its name is a number and both addresses,
# or a number, a process and a user: `sshd@3-192.0.2.1:22-192.0.2.9:50000.service`. It must not tell of clients.
_OF_CONNECTION = re.compile(r"@\d+-(?:\S*:\S*|\d+-[\d-]+)\.service")


def owner_of(path: str) -> str:
    """Return whose the sockets of a cgroup are, given its path below the root of cgroup2: `system.slice/nginx.service/worker`.

    A unit's .socket counts as its .service.
    """
    parts = [part for part in path.split("/") if part]
    for part in parts:
        for engine, pattern in _ENGINES:
            if pattern.fullmatch(part):
                return engine
        if _USER.fullmatch(part):
            return USER_SERVICES
        if part == "user.slice" and len(parts) > 1 and not any(map(_USER.fullmatch, parts)):
            return USER_SESSIONS
        if part == "init.scope":
            return part
        if _UNIT.fullmatch(part):
            return OTHER if _TRANSIENT.fullmatch(part) else _service(part)
    return OTHER


def _service(unit: str) -> str:
    unit = _OF_CONNECTION.sub(".service", unit)
    return f"{unit.removesuffix('.socket')}.service" if unit.endswith(".socket") else unit
