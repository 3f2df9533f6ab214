"""What goes to standard error: the log of `run`, and complaints of every command, in the form that systemd's journal reads."""

from __future__ import annotations

import logging
import os
import sys
from typing import ClassVar


class _JournalFormatter(logging.Formatter):
    """For systemd's journal, which has the time, and takes the level from a number before each line (sd-daemon(3))."""

    _NUMBERS: ClassVar = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}

    def format(self, record: logging.LogRecord) -> str:
        """Do as logging.Formatter does."""
        number = self._NUMBERS.get(record.levelname, 6)
        return "\n".join(f"<{number}>{line}" for line in super().format(record).splitlines())


def _is_journal() -> bool:
    """Return whether standard error is what JOURNAL_STREAM says that systemd reads (systemd.exec(5))."""
    try:
        error = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{error.st_dev}:{error.st_ino}"


def complain(*lines: str) -> None:
    """Write each line to standard error, as an error where the journal reads it."""
    for line in lines:
        print(f"<3>{line}" if _is_journal() else line, file=sys.stderr)


def begin() -> None:
    """Send the log to standard error."""
    output = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    output.setFormatter(_JournalFormatter() if _is_journal() else plain)
    logging.basicConfig(handlers=[output])
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # its everyday news are none to an admin
