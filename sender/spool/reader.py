"""A look into a spool, from outside: what waits in it, whether a daemon uses it or not. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.spool.database import NEWEST, SINCE, reading
from sender.spool.rows import COLUMNS, cursor_of, moment, number

if TYPE_CHECKING:
    from sender.spool.cursors import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits in a spool for one destination: values, and the moment of the oldest, s since 1970, None for none."""

    progress: Cursor
    values: int
    since: int | None


def read_status(path: str) -> dict[str, Waiting]:
    """Return what waits in the spool at `path`, by destination, whether a daemon uses it or not. Changes nothing.

    Raises SpoolError when the file cannot be read, DamagedError when it makes no sense.
    """
    with reading(path) as db:
        rows = db.execute(f"SELECT {COLUMNS} FROM destination").fetchall()  # noqa: S608
        found = {}
        for progress in map(cursor_of, rows):
            oldest = db.execute(SINCE, [progress.settled]).fetchone()
            values = number(db.execute(NEWEST).fetchone()[0]) - progress.settled
            since = moment(oldest[0]) if oldest else None
            found[progress.name] = Waiting(progress=progress, values=values, since=since)
    return found
