"""What the spool says in the log, for the admin. Knows nothing but words."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sender.errors import DeniedError
from sender.text import moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.errors import SpoolError
    from sender.spool.cursors import Cursor

_LOG = logging.getLogger(__name__)


def unclean_shutdown(process: str) -> None:
    """Say that the last daemon did not release the lock."""
    _LOG.warning("the previous daemon (PID %s) did not shut down cleanly (killed, out of memory, power loss?)", process)


def newest_lost(path: str, values: int) -> None:
    """Say that fewer values are in the file than were written."""
    _LOG.error(
        "spool %s lost its newest values, up to %d: it or its journal (-wal) was deleted or damaged", path, values
    )


def journal_deleted(path: str) -> None:
    """Say that the journal was deleted, and that its content is in the file."""
    _LOG.warning(
        "%s-wal was deleted while in use; recreated without loss. Do not touch the spool while the daemon runs", path
    )


def queued(name: str, values: int, clock: int) -> None:
    """Say what one destination gets from the previous run."""
    _LOG.info("%s: %d values queued from the previous run, oldest %s", name, values, moment(clock))


def removed(destinations: Iterable[Cursor], last: int) -> None:
    """Say what is dropped with destinations that are not configured any more; value number `last` is the newest."""
    for each in destinations:
        if each.settled < last:
            _LOG.warning(
                "destination %s is not configured any more: dropped %d values queued only for it",
                *(each.name, last - each.settled),
            )


def damaged(path: str, why: object, *, recovered: int, queued: int | None, renamed: str) -> None:
    """Say that a new file takes the place of a damaged one, in which `queued` values were, None for an unknown number."""
    of = "" if queued is None else f" of {queued}"
    kept = f"; damaged file kept as {renamed}" if renamed else ""
    _LOG.error(
        "spool %s is damaged (%s). Started a new one, recovered %d%s queued values%s", path, why, recovered, of, kept
    )


def cannot_write(why: SpoolError, max_memory: int) -> None:
    """Say that samples are not on the disk, from now on or for another reason than before."""
    hint = ". Under the unit, only its StateDirectory= can be written" if isinstance(why, DeniedError) else ""
    _LOG.error(
        "cannot write the spool: %s%s. Samples are kept in memory (up to %d MiB) and still delivered; they are lost if the "
        "daemon stops",
        *(why, hint, max_memory >> 20),
    )


def writes_again(samples: int) -> None:
    """Say that samples are on the disk again, with those that were in memory."""
    _LOG.info("writing the spool works again; %d samples from memory are in it", samples)


def dropped(limit: str, values: int) -> None:
    """Say which limit was reached."""
    _LOG.warning("%s reached: dropping the oldest samples (%d values so far; repeated hourly)", limit, values)
