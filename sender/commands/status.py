"""The command `status`: what is queued for each destination; from the spool's file, without the daemon's help."""

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
    from sender.spool.cursors import Backlog

_SLACK_S = 10  # by which a sample may be late


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationStatus:
    """One destination. Moments are s since 1970, None for never; `dropped` and `rejected` are since the daemon's start.

    `queued` values are in the spool for it, the oldest from `queued_since`; `last_success` is when it last accepted a
    value; `last_error` is why delivery fails, or what it rejects, if it does.
    """

    name: str
    nodes: list[str]
    queued: int = 0
    queued_since: int | None = None
    last_success: int | None = None
    failing_since: int | None = None
    last_error: str | None = None
    dropped: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatus:
    """The spool's file, the process of the daemon that uses it (None: none does), and each configured destination.

    `is_stale`: though a daemon runs, nothing was written for so long that it probably cannot.
    """

    spool: str
    bytes: int
    written: int
    daemon_pid: int | None
    is_stale: bool
    destinations: list[DestinationStatus]


def read(settings: Settings) -> SpoolStatus:
    """Return the spool's status. Raises SpoolError when the spool cannot be read."""
    path = settings.spool.path
    if path == MEMORY:
        raise SpoolError(
            "spool.path is :memory:, which only the daemon itself can read", advice="See the daemon's log."
        )
    daemon = daemon_of(path)
    parts, found = _read_file(path, is_in_use=daemon is not None)
    written = max(part.st_mtime for part in parts)
    return SpoolStatus(
        spool=path,
        bytes=sum(part.st_size for part in parts),
        written=int(written),
        daemon_pid=daemon,
        is_stale=daemon is not None and time.time() - written > 3 * settings.interval + _SLACK_S,
        destinations=[_of(destination, found.get(destination.name)) for destination in settings.destinations],
    )


def _read_file(path: str, *, is_in_use: bool) -> tuple[list[os.stat_result], dict[str, Backlog]]:
    """Return what the file system says of the spool's files, and what is queued in them. Raises SpoolError."""
    try:
        parts = [Path(path).stat(), *(each.stat() for each in [Path(f"{path}-wal")] if each.exists())]
        return parts, read_status(path)
    except FileNotFoundError as error:
        advice = "The daemon cannot write it: see its log." if is_in_use else "Run the daemon with this configuration."
        raise SpoolError(f"there is no spool {path}", advice=advice) from error
    except PermissionError as error:
        raise SpoolError(f"the spool {path} cannot be read by this user", advice="Run `status` as root.") from error
    except DamagedError as error:
        advice = "The daemon renames it when it starts, and begins a new one."
        raise SpoolError(f"the spool {path} is damaged ({error})", advice=advice) from error
    except SpoolError as error:
        advice = "" if os.geteuid() == 0 else "Run `status` as root."
        raise SpoolError(f"the spool cannot be read: {error}", advice=advice) from error
    except OSError as error:
        advice = "Correct spool.path in the configuration."
        raise SpoolError(f"the spool {path} cannot be read: {error.strerror}", advice=advice) from error


def _of(destination: Destination, queued: Backlog | None) -> DestinationStatus:
    nodes = list(map(str, destination.nodes))
    if queued is None:
        return DestinationStatus(name=destination.name, nodes=nodes)
    cursor = queued.cursor
    return DestinationStatus(
        name=destination.name,
        nodes=nodes,
        queued=queued.values,
        queued_since=queued.since,
        last_success=cursor.succeeded_at or None,
        failing_since=cursor.failing_since or None,
        last_error=cursor.error or None,
        dropped=cursor.dropped,
        rejected=cursor.rejected,
    )


def as_json(status: SpoolStatus) -> str:
    """Return the status for other programs."""
    return json.dumps(asdict(status), indent=2)


def as_text(status: SpoolStatus) -> str:
    """Return the status for people: a table of destinations, and a line for each that needs attention."""
    daemon = f"the daemon runs, process {status.daemon_pid}" if status.daemon_pid else "no daemon runs"
    size = f"{status.bytes / 2**20:,.1f} MiB" if status.bytes >= 2**20 else f"{status.bytes / 2**10:,.0f} KiB"
    head = ("DESTINATION", "QUEUED", "SINCE", "LAST SUCCESS", "DROPPED", "REJECTED")
    rows = [
        (
            *(each.name, f"{each.queued:,}", _moment(each.queued_since), _moment(each.last_success)),
            *(f"{each.dropped:,}", f"{each.rejected:,}"),
        )
        for each in status.destinations
    ]
    wrong = [_trouble(each) for each in status.destinations if each.last_error]
    if status.is_stale:
        wrong.append(f"The spool was last written {_moment(status.written)}. The daemon cannot write it: see its log.")
    return "\n".join(
        [
            f"spool {status.spool}, {size}; {daemon}",
            "",
            *table(head, rows, numbers=(1, 4, 5)),
            *([""] if wrong else []),
            *wrong,
        ]
    )


def _trouble(destination: DestinationStatus) -> str:
    since = f" delivery fails since {_moment(destination.failing_since)}:" if destination.failing_since else ""
    return f"{destination.name}:{since} {destination.last_error}"


def _moment(clock: int | None) -> str:
    return moment(clock) if clock else "-"
