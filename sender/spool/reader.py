"""The spool as another process sees it: what is queued in it, whether a daemon uses it or not. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.spool.database import backlog_of, cursors_in, note_in, reading

if TYPE_CHECKING:
    from sender.spool.cursors import Backlog


def read_status(path: str) -> dict[str, Backlog]:
    """Return what is queued in the spool at `path`, by destination.

    Raises SpoolError when the file cannot be read, DamagedError when it makes no sense.
    """
    with reading(path) as db:
        return {cursor.name: backlog_of(cursor, db) for cursor in cursors_in(db)}


def read_note(path: str) -> str:
    """Return what sampling has noted in the spool at `path`. Raises SpoolError and DamagedError as `read_status` does."""
    with reading(path) as db:
        return note_in(db)
