"""The place of a spool on the disk: its files are moved aside or deleted together. Knows their names, not their content."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from sender.errors import SpoolError


def rename_damaged(path: str) -> str:
    """Give the file at `path`, which must be closed, a name with the date in it; that name, "" where there is no file.

    Raises SpoolError.
    """
    aside = f"{path}.{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    if not os.path.lexists(path):
        return ""
    try:
        os.replace(path, aside)  # noqa: PTH105
        with suppress(FileNotFoundError):
            os.replace(f"{path}-wal", f"{aside}-wal")  # noqa: PTH105  its journal belongs to it
    except OSError as error:
        raise SpoolError(f"{path} cannot be moved aside: {error.strerror}") from error
    return aside


def remove(path: str) -> None:
    """Delete the file at `path`, which must be closed, and its journal; where that cannot be, both stay."""
    with suppress(OSError):
        for part in (path, f"{path}-wal"):
            Path(part).unlink(missing_ok=True)
