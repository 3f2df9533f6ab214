"""How large a process is, and what it keeps on the disk, second by second. Knows /proc; knows nothing of `sender`."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of one process at one moment."""

    rss_kib: float
    peak_kib: float  # the most that it ever had
    descriptors: float
    threads: float
    files_kib: float


def sizes(pid: int, files: Iterable[Path]) -> Sizes:
    """Now. Raises OSError when it is gone."""
    status = dict(re.findall(r"^(\w+):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    on_disk = 0
    for file in files:
        with suppress(FileNotFoundError):
            on_disk += file.stat().st_size
    return Sizes(
        rss_kib=int(status["VmRSS"]),
        peak_kib=int(status["VmHWM"]),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
        files_kib=on_disk / 1024,
    )


def medians(many: Iterable[Sizes]) -> Sizes:
    """Return the median of each."""
    found = list(many)
    return Sizes(**{field.name: median(getattr(each, field.name) for each in found) for field in fields(Sizes)})


class Recorder(threading.Thread):
    """Notes the sizes of process `pid()`, if there is one, and of `files`, every second while the context lasts."""

    def __init__(self, pid: Callable[[], int | None], files: Iterable[Path]) -> None:
        super().__init__(daemon=True)
        self._pid, self._files = pid, list(files)
        self._over = threading.Event()
        self.noted: list[tuple[float, int, Sizes]] = []  # when (time.time()), of which process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until the context ends."""
        while not self._over.wait(1):
            if pid := self._pid():
                with suppress(OSError, KeyError):  # it has just ended
                    self.noted.append((time.time(), pid, sizes(pid, self._files)))
