"""The verb `status`: what waits for whom, since when, and what was lost; from the spool's file, without the daemon's help."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import DamagedError, SpoolError
from sender.spool.database import MEMORY
from sender.spool.lock import daemon_of
from sender.spool.reader import read_status
from sender.text import moment, table

if TYPE_CHECKING:
    from sender.settings.schema import Destination, Settings
    from sender.spool.reader import Waiting


_SLACK_S = 10  # what a sample may be late


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One destination. Moments are s since 1970, None for never; `dropped` and `rejected` are since the daemon's start.

    `last_success` is when it accepted a value last; `last_error` why it takes nothing, or what it refuses, if it does.
    """

    name: str
    nodes: list[str]
    waiting: int = 0
    waiting_since: int | None = None
    last_success: int | None = None
    failing_since: int | None = None
    last_error: str | None = None
    dropped: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The spool's file, the process of the daemon that uses it (None: none does), and each configured destination.

    `is_stale`: though a daemon runs, nothing was written for so long that it probably cannot.
    """

    spool: str
    bytes: int
    written: int
    daemon_pid: int | None
    is_stale: bool
    destinations: list[Line]


def of(settings: Settings) -> Status:
    """How things are. Raises SpoolError when the spool cannot be read."""
    path = settings.spool.path
    if path == MEMORY:
        raise SpoolError(
            "spool.path is :memory:, which only the daemon itself can look into; its log says what it lost"
        )
    daemon = daemon_of(path)
    try:
        parts = [Path(path).stat(), *(each.stat() for each in [Path(f"{path}-wal")] if each.exists())]
        found = read_status(path)
    except FileNotFoundError as error:
        why = "the daemon cannot write it, see its log" if daemon else "has a daemon run with this configuration?"
        raise SpoolError(f"there is no spool {path}; {why}") from error
    except PermissionError as error:
        raise SpoolError(f"the spool {path} cannot be read by this user; run it as root") from error
    except DamagedError as error:
        raise SpoolError(f"the spool {path} is damaged ({error}); the daemon sets it aside when it starts") from error
    except SpoolError as error:
        hint = "" if os.geteuid() == 0 else "; run it as root"
        raise SpoolError(f"the spool cannot be read: {error}{hint}") from error
    written = max(part.st_mtime for part in parts)
    return Status(
        spool=path,
        bytes=sum(part.st_size for part in parts),
        written=int(written),
        daemon_pid=daemon,
        is_stale=daemon is not None and time.time() - written > 3 * settings.interval + _SLACK_S,
        destinations=[_line(destination, found.get(destination.name)) for destination in settings.destinations],
    )


def _line(destination: Destination, waiting: Waiting | None) -> Line:
    nodes = list(map(str, destination.nodes))
    if waiting is None:
        return Line(name=destination.name, nodes=nodes)
    progress = waiting.progress
    return Line(
        name=destination.name,
        nodes=nodes,
        waiting=waiting.values,
        waiting_since=waiting.since,
        last_success=progress.succeeded_at or None,
        failing_since=progress.failing_since or None,
        last_error=progress.error or None,
        dropped=progress.dropped,
        rejected=progress.rejected,
    )


def as_json(status: Status) -> str:
    """For other programs."""
    return json.dumps(asdict(status), indent=2)


def as_text(status: Status) -> str:
    """For people."""
    daemon = f"the daemon runs, process {status.daemon_pid}" if status.daemon_pid else "no daemon runs"
    head = ("DESTINATION", "WAITING", "SINCE", "LAST SUCCESS", "DROPPED", "REFUSED")
    rows = [
        (
            *(line.name, f"{line.waiting:,}", _moment(line.waiting_since), _moment(line.last_success)),
            *(f"{line.dropped:,}", f"{line.rejected:,}"),
        )
        for line in status.destinations
    ]
    size = f"{status.bytes / 2**20:,.1f} MiB" if status.bytes >= 2**20 else f"{status.bytes / 2**10:,.0f} KiB"
    wrong = [f"{line.name}{_trouble(line)}" for line in status.destinations if line.last_error]
    if status.is_stale:
        wrong.append(f"The spool was last written {_moment(status.written)}: the daemon cannot write it, see its log")
    return "\n".join(
        [
            f"spool {status.spool}, {size}; {daemon}",
            "",
            *table(head, rows, numbers=(1, 4, 5)),
            *([""] if wrong else []),
            *wrong,
        ]
    )


def _trouble(line: Line) -> str:
    return (
        f" takes nothing since {_moment(line.failing_since)}: {line.last_error}"
        if line.failing_since
        else (f": {line.last_error}")
    )


def _moment(clock: int | None) -> str:
    return moment(clock) if clock else "-"
