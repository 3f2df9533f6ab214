"""What the spool says in the log, for the admin. Knows nothing but words."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sender.text import moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.spool.cursors import Cursor

_LOG = logging.getLogger(__name__)


def was_empty(path: str) -> None:
    """A file of no size was there: a full disk leaves one, and so does somebody who truncates it."""
    _LOG.warning("spool %s was an empty file: if anything waited in it, it is lost", path)


def left_by(process: str) -> None:
    """The lock tells it."""
    _LOG.warning("the last daemon (process %s) did not end in order: killed, or a power failure", process)


def lost_journal(path: str, values: int) -> None:
    """The last daemon noted more values than are there."""
    _LOG.error("spool %s has lost its journal, and with it the newest values, up to %d", path, values)


def lacked_journal(path: str) -> None:
    """It was removed; what was in it could be saved."""
    _LOG.warning(
        "somebody has removed the journal of spool %s (-wal), which was in use; nothing in it is lost, as this daemon had "
        "it open",
        path,
    )


def waits(name: str, values: int, clock: int) -> None:
    """At a start, for one destination."""
    _LOG.info("%d values from %s on wait for %s", values, moment(clock), name)


def gone(destinations: Iterable[Cursor], last: int) -> None:
    """They are served no longer; value number `last` was the newest."""
    for each in destinations:
        if each.settled < last:
            _LOG.warning(
                "destination %s is not configured any more; the %d values that waited for it are given up, except where "
                "they wait for others",
                *(each.name, last - each.settled),
            )


def unusable(path: str, why: object, saved: str, aside: str) -> None:
    """The file is given up."""
    kept = f"; it is kept as {aside}" if aside else ""
    _LOG.error("spool %s is not usable: %s. A new one is begun%s%s", path, why, saved, kept)


def takes_nothing(why: object, max_held: int) -> None:
    """The disk does not take samples, from now on or for another reason than before."""
    is_denied = any(words in str(why) for words in ("ermission", "ead-only", "readonly", "unable to open"))
    hint = " (under the unit, only what is below its StateDirectory= can be written)" if is_denied else ""
    _LOG.error(
        "the spool takes no samples: %s%s. Until it does they are held in memory, up to %d MiB of them, are delivered "
        "from there, and would be lost with the daemon",
        *(why, hint, max_held >> 20),
    )


def takes_again(held: int) -> None:
    """The disk takes samples, and has those that memory held."""
    _LOG.info("the spool takes samples again, and the %d that memory held are in it", held)


def dropped(values: int) -> None:
    """A limit was reached."""
    _LOG.warning(
        "the spool has reached a limit (spool.max_age, spool.max_size, or that of memory while the disk takes nothing): the "
        "oldest samples are thrown away, %d values so far; the next such line comes in an hour",
        values,
    )
