"""What is seen of accept queues between two samples. The kernel's answers are told here; they come from two threads."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from sender.errors import KernelError
from sender.items import to_items
from sender.model import CountedPorts, Listener, Look, Reported, Snapshot, TcpState, Vitals
from sender.sampling.watch import ListenerWatch

WANTED = CountedPorts(listening=True)
SNAPSHOT = Snapshot(clock=1_700_000_000, ns=5, duration_s=0.1, states=dict.fromkeys(TcpState, 0))


class Kernel:
    """A port 80 with so many connections waiting and dropped; `others` are looks at other ports."""

    def __init__(self) -> None:
        self.waiting = 0
        self.drops: int | None = 0
        self.others: dict[int, Look] = {}
        self.refuses = False
        self.looks = 0
        self.listeners = {80: Listener(limit=128)}

    def sample(self, wanted: CountedPorts) -> Snapshot:
        """Return a sample of this moment."""
        assert wanted is WANTED
        listeners = {port: replace(each, waiting=self.waiting) for port, each in self.listeners.items()}
        return replace(SNAPSHOT, listeners=listeners)

    def look(self) -> dict[int, Look]:
        """Return a look of this moment."""
        self.looks += 1
        if self.refuses:
            raise KernelError("no")
        return {80: Look(waiting=self.waiting, drops=self.drops), **self.others}


@pytest.fixture
def kernel() -> Kernel:
    """Return a quiet kernel."""
    return Kernel()


@pytest.fixture
def watch(kernel: Kernel) -> ListenerWatch:
    """Return what watches it."""
    return ListenerWatch(kernel.sample, kernel.look, has_peaks=True)


def seen(watch: ListenerWatch, port: int = 80) -> tuple[int | None, int | None]:
    """Return peak and drops of a port in a sample taken now."""
    listener = watch.sample(WANTED).listeners[port]
    return listener.peak, listener.drops


def test_the_peak_is_the_longest_of_all_looks(kernel: Kernel, watch: ListenerWatch) -> None:
    """A queue that was long between two samples, and is short in both, is seen; the drops are those of the sample."""
    for kernel.waiting, kernel.drops in ((3, 1), (90, 2), (7, 5)):
        watch.look()
    kernel.waiting = 0
    assert seen(watch) == (90, 5)


def test_the_peak_begins_anew_with_each_sample(kernel: Kernel, watch: ListenerWatch) -> None:
    """A peak is told once: the next sample's is of what came after."""
    kernel.waiting = 90
    watch.look()
    kernel.waiting = 4
    assert seen(watch)[0] == 90
    assert seen(watch)[0] == 4
    kernel.waiting = 2
    watch.look()
    assert seen(watch)[0] == 2


def test_a_sample_is_a_look_too(kernel: Kernel, watch: ListenerWatch) -> None:
    """The peak is never less than the queue in the sample itself."""
    kernel.waiting = 50
    assert seen(watch) == (50, 0)


def test_without_peaks_nothing_is_looked_at_in_between(kernel: Kernel, watch: ListenerWatch) -> None:
    """Switched off, there is no peak, and the drops, which need one look with the sample, are there; on again, so is it."""
    watch.has_peaks = False
    kernel.waiting, kernel.drops = 50, 7
    watch.look()
    assert kernel.looks == 0
    assert seen(watch) == (None, 7)
    watch.has_peaks = True
    kernel.waiting = 1
    assert seen(watch) == (1, 7)


def test_a_kernel_that_refuses_costs_no_sample(kernel: Kernel, watch: ListenerWatch) -> None:
    """Peak and drops are unknown then, never 0; a refusal between two samples alone costs neither."""
    kernel.waiting = 9
    watch.look()
    kernel.refuses = True
    watch.look()
    assert seen(watch) == (None, None)
    kernel.waiting = 30
    kernel.refuses = False
    watch.look()
    kernel.refuses = True
    watch.look()
    kernel.refuses, kernel.waiting = False, 0
    assert seen(watch) == (30, 0)


def test_a_kernel_without_drops_has_peaks(kernel: Kernel, watch: ListenerWatch) -> None:
    """Old kernels know how long a queue is."""
    kernel.waiting, kernel.drops = 9, None
    assert seen(watch) == (9, None)


def test_ports_come_and_go(kernel: Kernel, watch: ListenerWatch) -> None:
    """What only the looks saw is no listener of the sample; what the last look did not see has neither peak nor drops."""
    kernel.others = {443: Look(waiting=99, drops=99)}
    watch.look()
    kernel.others = {}
    kernel.listeners[8080] = Listener(limit=1)
    found = watch.sample(WANTED).listeners
    assert found.keys() == {80, 8080}
    assert (found[8080].peak, found[8080].drops) == (None, None)


def test_a_listener_that_is_gone_leaves_its_peak(kernel: Kernel, watch: ListenerWatch) -> None:
    """A service that died with a full queue: the peak is in this sample's values, and 0 in the next, with others or alone."""

    def peaks() -> list[str]:
        tracked = Reported(local=[80, 443])
        items = to_items(watch.sample(WANTED), Vitals(), host="web-01", tracked=tracked)
        return [item.value for item in items if item.key.startswith("tcp.listen.queue.peak")]

    kernel.others = {443: Look(waiting=129, drops=9)}
    watch.look()
    kernel.others = {}
    assert peaks() == ["0", "129"]
    assert peaks() == ["0", "0"]
    kernel.waiting = 50
    watch.look()
    listeners, kernel.listeners = kernel.listeners, {}
    assert peaks() == ["50", "0"]
    assert peaks() == ["0", "0"]
    kernel.waiting, kernel.listeners = 1, listeners
    assert peaks() == ["1", "0"]
    watch.has_peaks = False
    kernel.others = {443: Look(waiting=129, drops=9)}
    assert peaks() == []


def test_where_nobody_listens_nothing_is_looked_at(kernel: Kernel, watch: ListenerWatch) -> None:
    """A sample without listeners, or one that wants no ports, is as it was."""
    kernel.listeners = {}
    assert watch.sample(WANTED).listeners == {}
    assert kernel.looks == 0


def test_a_sample_that_fails_keeps_the_peak(kernel: Kernel, watch: ListenerWatch) -> None:
    """The next one has it: it was not sent."""
    kernel.waiting = 90
    watch.look()
    kernel.waiting = 0

    def refuse(_: CountedPorts) -> Snapshot:
        raise KernelError("no")

    watch._sample = refuse  # noqa: SLF001
    with pytest.raises(KernelError):
        watch.sample(WANTED)
    watch._sample = kernel.sample  # noqa: SLF001
    assert seen(watch)[0] == 90


def test_a_look_and_a_sample_at_once(kernel: Kernel, watch: ListenerWatch) -> None:
    """Of two threads each has the kernel alone, and no peak is lost: each is in one sample, and in one only."""
    rounds, inside, peaks = 2000, threading.Lock(), list[int]()
    answer = kernel.look

    def alone() -> dict[int, Look]:
        assert inside.acquire(blocking=False), "two threads ask the kernel at once"
        try:
            time.sleep(0)  # the other thread's turn
            return answer()
        finally:
            inside.release()

    watch._look_at = alone  # noqa: SLF001
    kernel.listeners = {80: Listener(limit=10**6)}
    failures = list[BaseException]()

    def look() -> None:
        try:
            for number in range(1, rounds + 1):
                kernel.others = {80: Look(waiting=number, drops=0)}
                watch.look()
        except BaseException as error:  # noqa: BLE001  for the main thread
            failures.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    while thread.is_alive():
        peaks.append(seen(watch)[0] or 0)
    thread.join()
    peaks.append(seen(watch)[0] or 0)
    assert failures == []
    assert peaks == sorted(peaks)
    assert peaks[-1] == rounds
