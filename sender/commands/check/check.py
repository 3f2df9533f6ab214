"""The command `check`: everything that must be so for values to arrive, from the configuration to every key; in this order."""

from __future__ import annotations

import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sender.commands.check.destination import Subject, check_destination
from sender.commands.check.kernel import TrialSampler, check_kernel
from sender.commands.check.namespace import check_namespace
from sender.commands.check.report import CheckResult
from sender.commands.check.spool import check_spool
from sender.commands.check.systemd import check_start
from sender.commands.check.unit import installed
from sender.commands.check.unit_user import check_unit_user
from sender.commands.daemon_state import daemon_state
from sender.errors import ConfigError
from sender.model import CountedPorts
from sender.settings.files import DEFAULT_PATH
from sender.settings.schema import load, sources

if TYPE_CHECKING:
    from pathlib import Path

    from sender.settings.schema import Settings


class _Warnings(logging.Handler):
    """What the daemon would log as a warning meanwhile, such as a key file that everybody can read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}  # each once, in order

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of `record`; as in logging.Handler."""
        self.texts[record.getMessage()] = None


def check_all(path: Path | None) -> list[CheckResult]:
    """Return the results of every check, with the configuration in `path`, or the one that the daemon would take."""
    log, warnings = logging.getLogger("sender"), _Warnings()
    log.addHandler(warnings)
    try:
        results = _check_all(path)
    finally:
        log.removeHandler(warnings)
    return [*results, *(CheckResult(check="note", result="warn", found=text) for text in warnings.texts)]


def _check_all(path: Path | None) -> list[CheckResult]:
    try:
        settings = load(path)
    except ConfigError as error:
        return _without_config(error)
    unit = installed()
    unit_user = check_unit_user(settings, sources(path), unit)  # before there are threads: it forks
    daemon = daemon_state(settings.spool.path)
    sampler = TrialSampler(settings, daemon)
    sample = sampler.take()
    results = [
        *_config(settings, path),
        *check_start(unit),
        *unit_user,
        *sampler.results,
        *check_namespace(daemon.process),
    ]
    results.append(check_spool(settings.spool.path, settings.spool.max_size, daemon))
    subject = Subject(
        host=settings.host,
        metadata=_metadata(settings),
        sample=sample,
        take=TrialSampler(settings, daemon).take,
        missing=sampler.missing,
    )
    with ThreadPoolExecutor(len(settings.destinations)) as pool:
        for found in pool.map(lambda each: check_destination(each, subject), settings.destinations):
            results += found
    return results


def _config(settings: Settings, path: Path | None) -> list[CheckResult]:
    source = str(path or (DEFAULT_PATH if os.path.lexists(DEFAULT_PATH) else f"the defaults: no {DEFAULT_PATH}"))
    origin = "" if settings.host != socket.gethostname() else ", this machine's name"
    found = f"{source}; host {settings.host!r}{origin}"
    return [
        CheckResult(check="config", result="ok", found=found),
        *(CheckResult(check="config", result="warn", found=warning) for warning in settings.warnings),
    ]


def _without_config(error: ConfigError) -> list[CheckResult]:
    """Return the problems of the configuration, and what can be checked all the same."""
    problems = [CheckResult(check="config", result="fail", found=problem) for problem in error.problems]
    kernel, _ = check_kernel(CountedPorts(), interval_s=30)
    why = "needs a configuration"
    return [
        *problems,
        *kernel,
        *check_namespace(None),
        *(CheckResult(check=each, result="skip", found=why) for each in ("spool", "destinations")),
    ]


def _metadata(settings: Settings) -> str:
    """Return the host metadata that the daemon would register with, "" where registration is off."""
    return settings.autoregistration.metadata if settings.autoregistration else ""
