"""The installed command as an admin runs it. Knows how to start and end it; knows nothing of what it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.command import COMMAND, unit_environment

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from lab.disk import Disk

STOP_S = 5.0  # within which SIGTERM ends it, whatever hangs
_STARTED = " started: host "  # in the line of the log that says so, and in none about a reload


@dataclass(slots=True, kw_only=True)
class Life:
    """From when to when (time.time()) the daemon was alive and sampling."""

    began: float
    ended: float


class Daemon:
    """The daemon on `config`, started and ended by the test as often as it likes; none is left when the context ends.

    With `disk`, it runs where that is mounted.
    """

    def __init__(self, config: Path, disk: Disk | None = None) -> None:
        self.lives: list[Life] = []
        self._config = config
        self._disk = disk
        self._log = config.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self.kill()
        if error:
            sys.stderr.write(self.log)  # pytest shows it beneath the failure

    @property
    def log(self) -> str:
        """What it has logged, over all its lives."""
        return self._log.read_text()

    @property
    def pid(self) -> int | None:
        """The process; None while there is none."""
        return self._process.pid if self._process else None

    def start(self, timeout_s: float = 20) -> None:
        """Return when it has said that it samples."""
        with self._log.open("ab") as log:
            # It dies with the test, even where the test has no time to end it.
            command = ["setpriv", "--pdeathsig", "KILL", COMMAND, "run", "--config", str(self._config)]
            environment = {**os.environ, **unit_environment()}
            inside = self._disk.inside(*command) if self._disk else command
            self._process = subprocess.Popen(inside, stderr=log, env=environment)
        deadline = time.monotonic() + timeout_s
        while self.log.count(_STARTED) <= len(self.lives):
            assert self._process.poll() is None, f"it ended ({self._process.returncode})"
            assert time.monotonic() < deadline, "it does not start"
            time.sleep(0.02)
        self.lives.append(Life(began=time.time(), ended=0))

    def send(self, number: signal.Signals) -> None:
        """Any other signal."""
        assert self._process, "it does not run"
        self._process.send_signal(number)

    def until(self, words: str, since: int, timeout_s: float) -> None:
        """Return when the log, after its first `since` characters, holds `words`, of whichever life."""
        deadline = time.monotonic() + timeout_s
        while words not in self.log[since:]:
            assert time.monotonic() < deadline, f"{words!r} never came"
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, on which it must end in order and in time."""
        self._end(signal.SIGTERM, code=0)

    def kill(self) -> None:
        """SIGKILL, as it is."""
        self._end(signal.SIGKILL, code=-signal.SIGKILL)

    def _end(self, how: signal.Signals, code: int) -> None:
        assert self._process, "it does not run"
        self.lives[-1].ended = time.time()
        self._process.send_signal(how)
        try:
            assert self._process.wait(STOP_S) == code
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None
