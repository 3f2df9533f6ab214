"""A look into a spool, from outside: what waits in it, whether a daemon uses it or not. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sender.spool.cursors import Cursor
from sender.spool.database import NEWEST, SINCE, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits in a spool for one destination: values, and the moment of the oldest, s since 1970, None for none."""

    progress: Cursor
    values: int
    since: int | None


def read_status(path: str) -> dict[str, Waiting]:
    """What waits in the spool at `path`, by destination, whether a daemon uses it or not. Changes nothing.

    Raises SpoolError when the file cannot be read, DamagedError when it makes no sense.
    """
    with reading(path) as db:
        newest = db.execute(NEWEST).fetchone()[0]
        found = {}
        for row in db.execute("SELECT * FROM destination").fetchall():
            progress = Cursor(*row)
            oldest = db.execute(SINCE, [progress.settled]).fetchone()
            values = newest - progress.settled
            found[progress.name] = Waiting(progress=progress, values=values, since=oldest and oldest[0])
    return found
