"""What `check` finds about the spool: whether samples can be queued there. Changes nothing."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sender.commands.check.report import CheckResult
from sender.commands.check.unit import UNIT, installed
from sender.commands.daemon_state import nearest_directory
from sender.errors import DamagedError
from sender.spool.database import MEMORY
from sender.spool.lock import is_anothers

if TYPE_CHECKING:
    from sender.commands.check.report import Result
    from sender.commands.daemon_state import DaemonState
    from sender.errors import SpoolError

_STATE = Path("/var/lib/tcp-status-sender")  # the unit's StateDirectory=


def check_spool(path: str, max_bytes: int, daemon: DaemonState) -> CheckResult:
    """Return whether samples can be queued at `path`, up to `max_bytes` of them, by a daemon or the one that runs."""
    if path == MEMORY:
        found = "spool.path is :memory:, so queued values are lost when the daemon stops"
        return _result("warn", found, "Name a file in `spool.path`.")
    if daemon.process:
        return _result("ok", f"{path} is in use by the daemon, process {daemon.process}")
    file = os.path.realpath(path)  # where the daemon has it, and what stands beside it
    place = nearest_directory(file)
    if not _is_writable(file, place):
        return _denied(path, place)
    if is_anothers(file):
        return _result("fail", f"{path} is a file of another kind", "Give `spool.path` a place of its own.")
    return _unreadable(path, daemon.trouble) if daemon.trouble else _writable(path, place, max_bytes)


def _result(result: Result, found: str, advice: str = "") -> CheckResult:
    return CheckResult(check="spool", result=result, found=found, advice=advice)


def _unreadable(path: str, error: SpoolError) -> CheckResult:
    if isinstance(error, DamagedError):
        advice = "At its next start the daemon renames it, and begins a new one with what can be read in it."
        return _result("warn", f"{path} is damaged: {error.found}", advice)
    advice = error.advice or "Is it a database of another program? Then give `spool.path` a place of its own."
    return _result("fail", error.found, advice)


def _writable(path: str, place: Path, max_bytes: int) -> CheckResult:
    free = shutil.disk_usage(place).free
    found = f"{path} can be written by {_user()}; {free / 2**20:,.0f} MiB are free there"
    if free < max_bytes:
        advice = f"The disk will be full before spool.max_size ({max_bytes >> 20:,} MiB) is reached. Lower that."
        return _result("warn", found, advice)
    if os.geteuid() == 0 and not _is_the_units(path) and installed():
        advice = f"The unit's user can write below {_STATE} only. Add a ReadWritePaths= with `systemctl edit {UNIT}`."
        return _result("warn", found, advice)
    return _result("ok", found)


def _denied(path: str, place: Path) -> CheckResult:
    if _is_the_units(path):
        found = f"{path} cannot be read by {_user()}: it belongs to the unit's user"
        return _result("skip", found, "Run this as root.")
    advice = "Give that right, run this as the daemon's user, or choose another `spool.path`."
    return _result("fail", f"{path} cannot be written by {_user()}: no right to write in {place}", advice)


def _is_writable(path: str, place: Path) -> bool:
    parts = [Path(path + end) for end in ("", "-wal", "-shm", ".lock")]
    is_open = os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)  # noqa: PTH112  as in values.spool_path
    return is_open and all(os.access(part, os.R_OK | os.W_OK) for part in parts if os.path.lexists(part))


def _is_the_units(path: str) -> bool:
    return Path(path).is_relative_to(_STATE)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
