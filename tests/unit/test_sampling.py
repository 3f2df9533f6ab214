"""One sample at a time: published whole, or not at all and said so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from sender.errors import KernelError
from sender.model import Item, Snapshot, TcpState, Vitals
from sender.sampling import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

SNAPSHOT = Snapshot(clock=1, ns=1, duration_s=0.1, states=dict.fromkeys(TcpState, 3))
REFUSAL = "the kernel refused to list its TCP sockets (sock_diag): EPERM: a policy forbids it"


class Kernel:
    """Gives SNAPSHOT, or refuses."""

    refuses = False

    def sample(self) -> Snapshot:
        """As SockDiag.sample."""
        if self.refuses:
            raise KernelError(REFUSAL)
        return SNAPSHOT


def sampling(kernel: Kernel, published: list[Sequence[Item]]) -> Sampling:
    """A Sampling of host web-01 that was started 75.9 s ago."""
    moments = iter([100.0, *[175.9] * 100])
    return Sampling(
        "web-01",
        sample=kernel.sample,
        vitals=lambda uptime_s: Vitals(uptime_s=uptime_s, backlog=7),
        publish=published.append,
        monotonic=lambda: next(moments),
    )


def test_a_sample_is_published_with_the_daemons_own_figures() -> None:
    """States and vitals go out together, for the configured host."""
    published: list[Sequence[Item]] = []
    sampling(Kernel(), published).tick()
    values = {item.key: item.value for item in published[0]}
    assert {item.host for item in published[0]} == {"web-01"}
    assert (values["tcp.status[TOTAL]"], values["tcp.sender.uptime"], values["tcp.sender.backlog"]) == ("33", "75", "7")


def test_a_refusal_is_a_hole_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Where the kernel refuses, nothing is published, least of all zeros; one line says so, one that it works again."""
    caplog.set_level(logging.INFO)
    kernel = Kernel()
    published: list[Sequence[Item]] = []
    subject = sampling(kernel, published)
    subject.tick()
    kernel.refuses = True
    for _ in range(3):
        subject.tick()
    assert len(published) == 1
    kernel.refuses = False
    for _ in range(2):
        subject.tick()
    assert len(published) == 3
    failed, again = caplog.records
    assert (failed.levelname, again.levelname) == ("ERROR", "INFO")
    assert failed.getMessage() == f"no sample: {REFUSAL}; asking again at every interval"
    assert again.getMessage() == "sampling works again after 3 missed samples"


def test_a_single_sample_lets_the_refusal_out() -> None:
    """`once` raises, so that a command can fail."""
    kernel = Kernel()
    kernel.refuses = True
    with pytest.raises(KernelError):
        sampling(kernel, []).once()
