"""One sample at a time: published whole, or not at all and said so."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from sender.errors import KernelError
from sender.model import Item, Listener, Snapshot, TcpState, Vitals
from sender.sampling.left_out import how_to_report_more
from sender.sampling.reporting import Reporting
from sender.sampling.sampler import Sampler
from sender.settings import section
from sender.settings.schema import NamespaceSettings, Settings
from sender.settings.values import MOST_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from sender.model import CountedPorts

SETTINGS = Settings(host="web-01", interval=10)
SNAPSHOT = Snapshot(clock=1, ns=1, duration_s=0.1, states=dict.fromkeys(TcpState, 3))
REFUSAL = "the kernel refused to list its TCP sockets (sock_diag): EPERM: a policy forbids it"


class Kernel:
    """Gives SNAPSHOT, unless told otherwise, or refuses."""

    refuses = False
    snapshot = SNAPSHOT

    def sample(self, _wanted: CountedPorts) -> Snapshot:
        """As SockDiag.sample."""
        if self.refuses:
            raise KernelError(REFUSAL)
        return self.snapshot


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """As boottime."""
        return self.now


def sampling(kernel: Kernel, published: list[Sequence[Item]], clock: Clock | None = None) -> Sampler:
    """Return a Sampling of host web-01 every 10 s that was started 75.9 s ago."""
    clock = clock or Clock(100.0)
    subject = Sampler(
        SETTINGS,
        sample=kernel.sample,
        vitals=lambda uptime_s: Vitals(uptime_s=uptime_s, backlog=7),
        publish=published.append,
        reporting=Reporting(SETTINGS, service=str),
        elapsed=clock,
    )
    clock.now += 75.9
    subject.apply(SETTINGS)
    return subject


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
    assert failed.getMessage() == f"no sample, retrying at every interval: {REFUSAL}"
    assert again.getMessage() == "sampling works again after 3 missed samples"


def test_a_pause_leaves_a_line(logged: Callable[[], list[str]]) -> None:
    """Where the process was stopped or the machine suspended, the log says how many samples are missing."""
    clock = Clock(0.0)
    subject = sampling(Kernel(), [], clock)
    for pause_s in (10.0, 9.99, 10.6, 19.0):  # ticks come late, and off their raster after the clock was set
        subject.tick()
        clock.now += pause_s
    subject.tick()
    assert logged() == []
    clock.now += 130.0
    subject.tick()
    (message,) = logged()
    assert message.startswith(
        "12 samples are missing: this process did not run for 130 s. It or the whole machine was "
    )


def test_samples_that_take_too_long_are_said_once(logged: Callable[[], list[str]]) -> None:
    """A sample longer than the interval is said when it begins to happen, and when it no longer does."""
    clock = Clock(0.0)

    class Slow(Kernel):
        takes_s = 25.0

        def sample(self, _wanted: CountedPorts) -> Snapshot:
            clock.now += self.takes_s
            return SNAPSHOT

    kernel = Slow()
    subject = sampling(kernel, [], clock)
    for _ in range(3):
        subject.tick()
        clock.now += 5.0  # to the next whole multiple
    kernel.takes_s = 1.0
    for _ in range(2):
        subject.tick()
        clock.now += 9.0
    slow, again = logged()
    assert slow.startswith("a sample took 25.0 s, longer than the interval of 10 s. ")
    assert again == "samples fit into the interval of 10 s again"


def test_ports_over_the_limit_are_said(logged: Callable[[], list[str]]) -> None:
    """How many and which, once an hour at most however they change; and at once when none is left out any more."""
    clock = Clock(0.0)
    kernel = Kernel()
    subject = sampling(kernel, [], clock)
    subject.apply(section.read(Settings, {"host": "web-01", "interval": 1800, "ports": {"limit": 1}}))

    def tick(ports: int) -> list[str]:
        kernel.snapshot = replace(SNAPSHOT, listeners={port: Listener(limit=1) for port in range(1, ports + 1)})
        subject.tick()
        clock.now += 1800.0
        return logged()

    over, said = "ports.limit of 1 reached:", "listening ports are not reported:"
    advice = "Raise ports.limit, or name some in ports.exclude"
    assert tick(23) == [f"{over} 22 {said} {', '.join(map(str, range(2, 22)))} and 2 more. {advice}"]
    assert tick(24) == []
    assert tick(3) == [f"{over} 2 {said} 2, 3. {advice}"]
    assert tick(1) == ["no listening port is over ports.limit any more"]


def test_the_limit_of_ports_at_its_most() -> None:
    """What cannot be raised is not advised: then ports have to be chosen."""
    most = section.read(Settings, {"host": "web-01", "ports": {"limit": MOST_NAMES}})
    assert "aise" not in how_to_report_more(most.ports.limit, "ports")
    assert "ports.exclude" in how_to_report_more(most.ports.limit, "ports")


def test_a_new_interval_is_no_gap(logged: Callable[[], list[str]]) -> None:
    """After a reload that shortens the interval, nothing is missing; the host is the new one from then on."""
    clock = Clock(0.0)
    published: list[Sequence[Item]] = []
    subject = sampling(Kernel(), published, clock)
    subject.tick()
    subject.apply(Settings(host="web-02", interval=1))
    clock.now += 10.0
    subject.tick()
    assert logged() == []
    assert [items[0].host for items in published] == ["web-01", "web-02"]


def test_a_reload_sends_every_value_again() -> None:
    """The rare ones too: a destination that the reload has added has none of them yet."""
    published: list[Sequence[Item]] = []
    subject = sampling(Kernel(), published)
    for _ in range(3):
        subject.once()
    subject.apply(SETTINGS)
    subject.once()
    first, _, third, last = ({item.key for item in items} for items in published)
    assert "tcp.sender.version" not in third
    assert first == last


def test_namespaces_that_are_not_wanted_are_not_counted_again(logged: Callable[[], list[str]]) -> None:
    """A reload that turns them off after trouble is no end of the trouble, and says nothing of it."""
    wanted = replace(SETTINGS, namespaces=NamespaceSettings(report=True))
    trouble = replace(SNAPSHOT, namespace_trouble="gone")
    snapshots = iter([trouble, SNAPSHOT])
    sampler = Sampler(
        wanted,
        sample=lambda _: next(snapshots),
        vitals=lambda _: Vitals(),
        publish=lambda _: None,
        reporting=Reporting(wanted, service=str),
    )
    sampler.tick()
    assert [line for line in logged() if "network namespaces are not counted: gone" in line]
    sampler.apply(SETTINGS)
    sampler.tick()
    assert not [line for line in logged() if "network namespaces" in line]
