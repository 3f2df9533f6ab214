"""The verb `check`: everything that must be so for values to arrive, from the configuration to every key; in this order."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sender.commands.check import destination as check_there
from sender.commands.check import kernel as check_here
from sender.commands.check import spool as check_spool
from sender.commands.check.report import CheckResult
from sender.errors import ConfigError
from sender.model import CountedPorts
from sender.settings.schema import DEFAULT_PATH, load

if TYPE_CHECKING:
    from pathlib import Path

    from sender.settings.schema import Settings


class _Notes(logging.Handler):
    """What the daemon would log as a warning meanwhile, such as a key file that everybody can read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}  # each once, in order

    def emit(self, record: logging.LogRecord) -> None:
        """As in logging.Handler."""
        self.texts[record.getMessage()] = None


def look(path: Path | None) -> list[CheckResult]:
    """All that is to be found, with the configuration in `path`, or the one that the daemon would take."""
    log, notes = logging.getLogger("sender"), _Notes()
    log.addHandler(notes)
    try:
        found = _look(path)
    finally:
        log.removeHandler(notes)
    return [*found, *(CheckResult(check="note", result="warn", found=text) for text in notes.texts)]


def _look(path: Path | None) -> list[CheckResult]:
    try:
        settings = load(path)
    except ConfigError as error:
        return _without_config(error)
    source = str(path or (DEFAULT_PATH if os.path.lexists(DEFAULT_PATH) else f"the defaults: no {DEFAULT_PATH}"))
    origin = "" if "host" in settings.model_fields_set else ", this machine's name"
    found = [CheckResult(check="config", result="ok", found=f"{source}; host {settings.host!r}{origin}")]
    found += [CheckResult(check="config", result="warn", found=remark) for remark in settings.remarks]
    spool, daemon = check_spool.look(settings.spool.path, settings.spool.max_size)
    samples = check_here.Samples(settings, daemon)
    sample = samples.take()
    found += [*samples.findings, spool]
    subject = check_there.Subject(
        host=settings.host,
        metadata=_metadata(settings),
        sample=sample,
        take=check_here.Samples(settings, daemon).take,
        missing=samples.missing,
    )
    with ThreadPoolExecutor(len(settings.destinations)) as pool:
        for there in pool.map(lambda each: check_there.look(each, subject), settings.destinations):
            found += there
    return found


def _without_config(error: ConfigError) -> list[CheckResult]:
    """What can be looked at all the same."""
    problems = [CheckResult(check="config", result="fail", found=problem) for problem in error.problems]
    kernel, _ = check_here.kernel(CountedPorts(), interval_s=30)
    why = "needs a configuration"
    return [
        *problems,
        *kernel,
        *(CheckResult(check=each, result="skip", found=why) for each in ("spool", "destinations")),
    ]


def _metadata(settings: Settings) -> str:
    """With which the daemon itself asks for active checks, if it is to."""
    return settings.autoregistration.metadata if settings.autoregistration else ""
