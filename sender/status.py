"""The verb `status`: what waits for whom, since when, and what was lost; from the spool's file, without the daemon's help."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import SpoolError
from sender.spool_file import MEMORY, inspect
from sender.spool_lock import daemon_of

if TYPE_CHECKING:
    from sender.config import Destination, Settings
    from sender.spool_file import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One destination. Moments are s since 1970, None for never; `dropped` and `rejected` are since the daemon's start."""

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
    """The spool's file, the process of the daemon that uses it (None: none does), and each configured destination."""

    spool: str
    bytes: int
    daemon_pid: int | None
    destinations: list[Line]


def of(settings: Settings) -> Status:
    """How things are. Raises SpoolError when the spool cannot be read."""
    path = settings.spool.path
    if path == MEMORY:
        raise SpoolError(
            "spool.path is :memory:, which only the daemon itself can look into; its log says what it lost"
        )
    try:
        size = Path(path).stat().st_size
        found = inspect(path)
    except FileNotFoundError as error:
        raise SpoolError(f"there is no spool {path}; has the daemon run with this configuration?") from error
    except (OSError, SpoolError) as error:
        raise SpoolError(f"the spool cannot be read: {error}; root, or the daemon's own user, can read it") from error
    lines = [_line(destination, found.get(destination.name)) for destination in settings.destinations]
    return Status(spool=path, bytes=size, daemon_pid=daemon_of(path), destinations=lines)


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
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    numbers = (1, 4, 5)
    table = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    failing = [
        f"{line.name} takes nothing since {_moment(line.failing_since)}: {line.last_error}"
        for line in status.destinations
        if line.failing_since
    ]
    lines = [f"spool {status.spool}, {status.bytes / 2**20:,.1f} MiB; {daemon}", "", *table]
    return "\n".join([*lines, *([""] if failing else []), *failing])


def _moment(clock: int | None) -> str:
    return datetime.fromtimestamp(clock).astimezone().strftime("%Y-%m-%d %H:%M:%S") if clock else "-"
