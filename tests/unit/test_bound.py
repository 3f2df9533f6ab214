"""When the kernel is asked for the sockets in CLOSE, and what stands in between. The kernel's answer is told here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sender.errors import KernelError
from sender.kernel.bound import PERIOD_S, BoundSockets, local_counts
from sender.kernel.counts import SocketCounts
from sender.kernel.sockstat import read_sockstat
from sender.model import CountedPorts, TcpState

if TYPE_CHECKING:
    from pathlib import Path


class Kernel:
    """Answers with one socket more each time; `now` is the moment."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 0.0
        self.error: KernelError | None = None

    def dump(self) -> SocketCounts:
        """Count the sockets."""
        self.asked += 1
        if self.error:
            raise self.error
        counts = SocketCounts.of_every_port()
        counts.states[TcpState.CLOSE] += self.asked
        return counts

    def latest(self, sockets: BoundSockets, now: float) -> int | None:
        """Return what is known at a moment."""
        self.now = now
        counts = sockets.latest(read_sockstat().of_machine)
        return counts.states[TcpState.CLOSE] if counts else None


@pytest.fixture
def kernel() -> Kernel:
    """Return a kernel that was never asked."""
    return Kernel()


@pytest.fixture
def sockets(kernel: Kernel) -> BoundSockets:
    """Its sockets in CLOSE."""
    return BoundSockets(kernel.dump, monotonic=lambda: kernel.now)


@pytest.fixture(autouse=True)
def sockstat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the file that says how many sockets there are: so many that CLOSE may just be asked for."""
    path = tmp_path / "sockstat"
    monkeypatch.setattr("sender.kernel.sockstat.SOCKSTAT", path)
    path.write_text("sockets: used 9\nTCP: inuse 5 orphan 0 tw 500 alloc 3500 mem 149\nUDP: inuse 0 mem 0\n")
    return path


def test_it_is_asked_once_a_minute(kernel: Kernel, sockets: BoundSockets) -> None:
    """The first sample asks; for a minute the last known count stands; then it is asked anew."""
    moments = [0, 1, PERIOD_S - 1, PERIOD_S, PERIOD_S + 1, 10 * PERIOD_S]
    assert [kernel.latest(sockets, now) for now in moments] == [1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "TCP: inuse 5 orphan 0 tw 500 alloc 3501 mem 149\n",
        "TCP: inuse 5 orphan 0 tw 1000000 alloc 5 mem 149\n",
        "TCP: inuse 5\n",
        "",
    ],
)
def test_many_sockets_are_not_walked(kernel: Kernel, sockets: BoundSockets, sockstat: Path, text: str) -> None:
    """One socket over the limit, or a number that is not told: it is not asked, and an old count is not known any more."""
    few = sockstat.read_text()
    assert kernel.latest(sockets, 0) == 1
    sockstat.write_text(text)
    assert kernel.latest(sockets, PERIOD_S) is None
    assert kernel.asked == 1
    sockstat.write_text(few)
    assert kernel.latest(sockets, PERIOD_S + 1) is None
    assert kernel.latest(sockets, 2 * PERIOD_S) == 2


def test_a_file_that_cannot_be_read(kernel: Kernel, sockets: BoundSockets, sockstat: Path) -> None:
    """Where /proc does not say how many sockets there are, the kernel is not asked."""
    sockstat.unlink()
    assert kernel.latest(sockets, 0) is None
    assert kernel.asked == 0


def test_a_refusal_is_no_count(kernel: Kernel, sockets: BoundSockets) -> None:
    """A kernel that refuses leaves CLOSE unknown until it is asked again, a minute later."""
    kernel.error = KernelError("refused")
    assert kernel.latest(sockets, 0) is None
    kernel.error = None
    assert kernel.latest(sockets, 1) is None
    assert kernel.latest(sockets, PERIOD_S) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CountedPorts(local=frozenset({443})), {443: 1}),
        (CountedPorts(local=frozenset({443}), listening=True), {443: 1, 22: 2}),
        (CountedPorts(), {}),
    ],
)
def test_only_ports_that_are_wanted(wanted: CountedPorts, expected: dict[int, int]) -> None:
    """Of all bound ports, those named and, where wanted, those listened on are reported."""
    counts = {(443, TcpState.CLOSE): 1, (22, TcpState.CLOSE): 2, (9, TcpState.CLOSE): 3}
    found = local_counts(counts, wanted, {22})
    assert found == {(port, TcpState.CLOSE): count for port, count in expected.items()}
