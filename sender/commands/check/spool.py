"""What `check` looks at in the spool: whether samples can wait there, and what it tells of the daemon. Changes nothing."""

from __future__ import annotations

import os
import pwd
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.commands.check.report import CheckResult
from sender.errors import DamagedError, SpoolError
from sender.model import Vitals
from sender.spool.database import MEMORY
from sender.spool.lock import daemon_of
from sender.spool.reader import read_status

if TYPE_CHECKING:
    from sender.commands.check.report import Result
    from sender.spool.reader import Waiting

_STATE = Path("/var/lib/tcp-status-sender")  # the unit's StateDirectory=
_UNIT = "tcp-status-sender.service"
_UNIT_PATHS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")  # systemd.unit(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What the spool's file and its lock tell of a daemon, so that a sample here says of it what is true.

    `ports` are those it has discovered. `vitals` are None where this user cannot see whether one runs.
    """

    ports: frozenset[int] = frozenset()
    vitals: Vitals | None = None


def look(path: str, max_bytes: int) -> tuple[CheckResult, Daemon]:
    """Whether samples can wait at `path`, up to `max_bytes` of them, and what is known of the daemon."""
    if path == MEMORY:
        found = "spool.path is :memory:, so what waits for a destination is lost when the daemon ends"
        return _finding("warn", found, "name a file in `spool.path`"), Daemon()
    process, place = daemon_of(path), _place(path)
    waiting: dict[str, Waiting] = {}
    finding = None
    try:
        if os.access(path, os.R_OK) and os.stat(path).st_size:  # noqa: PTH116
            waiting = read_status(path)
    except SpoolError as error:
        finding = _unreadable(path, error)
    except OSError:  # it was removed just now
        pass
    if process:
        finding = _finding("ok", f"{path} is in use by the daemon, process {process}")
    elif not _is_writable(path, place):
        finding = _denied(path, place)
    daemon = Daemon(ports=_ports_of(waiting), vitals=_vitals(waiting, process, place))
    return finding or _writable(path, place, max_bytes), daemon


def _finding(result: Result, found: str, advice: str = "") -> CheckResult:
    return CheckResult(check="spool", result=result, found=found, advice=advice)


def _unreadable(path: str, error: SpoolError) -> CheckResult:
    if isinstance(error, DamagedError):
        advice = "the daemon sets it aside when it starts, and begins a new one with what can be read in it"
        return _finding("warn", f"{path} is damaged: {error}", advice)
    return _finding("fail", str(error), "is it a database of another program? Then give spool.path a place of its own")


def _writable(path: str, place: Path, max_bytes: int) -> CheckResult:
    free = shutil.disk_usage(place).free
    found = f"{path} can be written by {_user()}; {free / 2**20:,.0f} MiB are free there"
    if free < max_bytes:
        return _finding(
            "warn", found, f"the disk will be full before spool.max_size ({max_bytes >> 20:,} MiB) is reached"
        )
    if os.geteuid() == 0 and not _is_the_units(path) and any(Path(each, _UNIT).exists() for each in _UNIT_PATHS):
        advice = f"the unit's user can write below {_STATE} only; `systemctl edit {_UNIT}` can add a ReadWritePaths="
        return _finding("warn", found, advice)
    return _finding("ok", found)


def _denied(path: str, place: Path) -> CheckResult:
    if _is_the_units(path):
        found = f"{path} cannot be looked into by {_user()}: it belongs to the unit's user"
        return _finding("skip", found, "run this as root")
    advice = "give that right, run this as the daemon's user, or choose another `spool.path`"
    return _finding("fail", f"{path} cannot be written by {_user()}: no right to write in {place}", advice)


def _place(path: str) -> Path:
    """The directory of the file, or the nearest one above it that exists."""
    place = Path(path).parent
    while not os.path.lexists(place):
        place = place.parent
    return place


def _is_writable(path: str, place: Path) -> bool:
    parts = [Path(path + end) for end in ("", "-wal", "-shm", ".lock")]
    is_open = os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)  # noqa: PTH112  as in fields.spool_path
    return is_open and all(os.access(part, os.R_OK | os.W_OK) for part in parts if os.path.lexists(part))


def _is_the_units(path: str) -> bool:
    return Path(path).is_relative_to(_STATE)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _ports_of(waiting: dict[str, Waiting]) -> frozenset[int]:
    known = {port for each in waiting.values() for port in each.progress.known.split(",")}
    return frozenset(int(port) for port in known if port.isdecimal())  # not the remote ones


def _vitals(waiting: dict[str, Waiting], process: int | None, place: Path) -> Vitals | None:
    """Those of the daemon, zeros where none runs, None where that is not to be seen."""
    if not process:
        return Vitals() if os.access(place, os.X_OK) else None
    with suppress(OSError, ValueError, IndexError):
        began = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])  # starttime, proc(5)
        return Vitals(
            uptime_s=int(boottime() - began / os.sysconf("SC_CLK_TCK")),
            backlog=max((each.values for each in waiting.values()), default=0),
            dropped=sum(each.progress.dropped for each in waiting.values()),
            rejected=sum(each.progress.rejected for each in waiting.values()),
        )
    return None
