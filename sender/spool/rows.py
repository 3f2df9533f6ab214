"""Rows of the spool's file as values, read with distrust: SQLite gives back whatever somebody has written there.

What cannot be true raises DamagedError. Knows no SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.errors import DamagedError
from sender.spool.cursors import Cursor
from sender.spool.sample import Sample
from sender.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = "name, settled, dropped, rejected, succeeded_at, failing_since, error, known"  # the fields of Cursor
_LAST_MOMENT = 2**37  # s since 1970, in the year 6325; calendars end in 9999


def cursor_of(row: Sequence[Any]) -> Cursor:
    """Return the cursor of one destination, from its COLUMNS. Raises DamagedError."""
    name, settled, dropped, rejected, succeeded_at, failing_since, error, known = row
    if not all(isinstance(text, str) for text in (name, error, known)):
        raise DamagedError("what it says of a destination makes no sense")
    return Cursor(
        name=name,
        settled=number(settled),
        dropped=number(dropped),
        rejected=number(rejected),
        succeeded_at=moment(succeeded_at),
        failing_since=moment(failing_since),
        error=printable(error),
        known=known,
    )


def sample_of(row: Sequence[Any]) -> Sample:
    """Return the sample of a row, whose last column is its checksum. Raises DamagedError: SQLite misses changed bytes."""
    *fields, crc = row
    sample = Sample(*fields)
    if not isinstance(sample.body, bytes) or sample.crc != crc:
        raise DamagedError("a sample in it is not what was written")
    return sample


def number(value: object) -> int:
    """Return a number of values. Raises DamagedError."""
    if not isinstance(value, int) or value < 0:
        raise DamagedError("a number of values in it makes no sense")
    return value


def moment(value: object) -> int:
    """Return a moment, s since 1970. Raises DamagedError."""
    if not isinstance(value, int) or not 0 <= value < _LAST_MOMENT:
        raise DamagedError("a moment in it makes no sense")
    return value
