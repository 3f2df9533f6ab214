"""Watches the accept queues between two samples: the longest of each port, and what was dropped there.

Knows no kernel and no scheduler: the daemon calls `look` every second, `look_at` asks the kernel.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from sender.errors import KernelError
from sender.model import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sender.model import CountedPorts, Look, Snapshot

LOOK_S = 1  # between two looks


class ListenerWatch:
    """Samples taken by `sample`, with what was seen since the one before. `look` may be called from a thread of its own."""

    def __init__(
        self, sample: Callable[[CountedPorts], Snapshot], look_at: Callable[[], Mapping[int, Look]], *, has_peaks: bool
    ) -> None:
        self._sample = sample
        self._look_at = look_at
        self._lock = threading.Lock()  # over what follows: a sample and a look may come at once
        self._peaks: dict[int, int] = {}
        self.has_peaks = has_peaks

    def look(self) -> None:
        """Look at the accept queues between two samples, where peaks are wanted."""
        if self.has_peaks:
            self._look()

    def sample(self, wanted: CountedPorts) -> Snapshot:
        """Return a sample with drops and, where they are wanted, peaks, which need a last look. Raises KernelError."""
        snapshot = self._sample(wanted)
        found = self._look() if snapshot.listeners else {}
        with self._lock:
            peaks, self._peaks = self._peaks, {}
        listeners = dict(snapshot.listeners)
        for port in listeners.keys() & found.keys():
            listener = listeners[port]
            peak = max(peaks.get(port, 0), listener.waiting) if self.has_peaks else None
            listeners[port] = replace(listener, peak=peak, drops=found[port].drops)
        if not self.has_peaks:
            return replace(snapshot, listeners=listeners)
        gone = {port: Listener(peak=peak) for port, peak in peaks.items() if port not in listeners}
        return replace(snapshot, listeners=listeners, nobody=Listener(peak=0), gone=gone)

    def _look(self) -> Mapping[int, Look]:
        """Return what there is to see; nothing where the kernel refuses, which the next sample says of itself."""
        with self._lock:
            try:
                found = self._look_at()
            except KernelError:
                return {}
            for port, look in found.items():
                self._peaks[port] = max(look.waiting, self._peaks.get(port, 0))
        return found
