"""The installed daemon as a process, its log read as it comes, so that it never waits for a reader."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WAIT_S = 20


class Daemon:
    """The installed daemon, started by `command`; its log, line by line, as it comes."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._news:
                self.log.append(line)
                self._news.notify_all()

    def said(self, words: str) -> int:
        """How many lines hold `words`."""
        return sum(words in line for line in self.log)

    def until(self, words: str, count: int = 1) -> None:
        """Wait for a line that holds `words`, or for the `count`th one."""
        with self._news:
            assert self._news.wait_for(lambda: self.said(words) >= count, WAIT_S), f"{words!r} never came: {self.log}"

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def kill(self) -> None:
        """SIGKILL, whatever state it is in."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Wait for it; the exit code."""
        code = self.process.wait(WAIT_S)
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()
        assert not self.said("Traceback"), "".join(self.log)
        return code


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as `condition` holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)
