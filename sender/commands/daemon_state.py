"""What the daemon of this host is doing, as its spool, its lock and its process show it. Changes nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.errors import SpoolError
from sender.model import Vitals
from sender.sampling.memory import Memory
from sender.spool.database import MEMORY
from sender.spool.lock import daemon_of
from sender.spool.reader import read_note, read_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.spool.cursors import Backlog


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """A daemon as it is seen from outside, so that a sample here says of it what is true.

    `process` is None where none runs. `memory` is what it remembers of ports, units and namespaces. `vitals` are zeros where none
    runs, and None where this user cannot see whether one does. `trouble` is why its spool cannot be read.
    """

    process: int | None = None
    memory: Memory = field(default_factory=Memory)
    vitals: Vitals | None = None
    trouble: SpoolError | None = None


def daemon_state(path: str) -> DaemonState:
    """Return the state of the daemon whose spool is `path`, whether one runs or not."""
    if path == MEMORY:
        return DaemonState()
    process, waiting, note, trouble = daemon_of(path), dict[str, "Backlog"](), "", None
    try:
        if os.access(path, os.R_OK) and Path(path).stat().st_size:
            waiting, note = read_status(path), read_note(path)
    except SpoolError as error:
        trouble = error
    except OSError:  # it was removed just now
        pass
    return DaemonState(
        process=process,
        memory=Memory.parse(note, _known(waiting)),
        vitals=_vitals(waiting, process, path),
        trouble=trouble,
    )


def nearest_directory(path: str) -> Path:
    """Return the directory of the file, or the nearest one above it that exists."""
    place = Path(path).parent
    while not os.path.lexists(place):
        place = place.parent
    return place


def _known(waiting: Mapping[str, Backlog]) -> set[str]:
    """Return the ports, units and namespaces that have items at a destination, as `Item.port` has them."""
    return {name for each in waiting.values() for name in each.cursor.known.split(",")}


def _vitals(waiting: Mapping[str, Backlog], process: int | None, path: str) -> Vitals | None:
    if not process:
        return Vitals() if os.access(nearest_directory(path), os.X_OK) else None
    with suppress(OSError, ValueError, IndexError):
        began = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])  # starttime, proc(5)
        return Vitals(
            uptime_s=int(boottime() - began / os.sysconf("SC_CLK_TCK")),
            backlog=max((each.values for each in waiting.values()), default=0),
            dropped=sum(each.cursor.dropped for each in waiting.values()),
            rejected=sum(each.cursor.rejected for each in waiting.values()),
        )
    return None
