"""What `check` looks at on this host: the kernel and the ports, by samples as the daemon takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.commands.check.report import CheckResult, split
from sender.errors import KernelError, RefusedError
from sender.items import to_items
from sender.kernel.sock_diag import WAYS, SockDiag
from sender.model import Vitals
from sender.sampling.ports import PortTracker
from sender.text import some_of

if TYPE_CHECKING:
    from sender.commands.check.spool import Daemon
    from sender.model import CountedPorts, Item, Snapshot
    from sender.settings.schema import Settings

_OF_THE_DAEMON = ("tcp.sender.uptime", "tcp.sender.backlog", "tcp.sender.dropped", "tcp.sender.rejected")


class Samples:
    """Samples of this host as the daemon takes them; `findings` are about the last one, `missing` keys that it lacks."""

    def __init__(self, settings: Settings, daemon: Daemon) -> None:
        self._settings = settings
        self._daemon = daemon
        self.missing = () if daemon.vitals else _OF_THE_DAEMON
        self.findings: list[CheckResult] = []

    def take(self) -> list[Item]:
        """Every value of one sample, discovery with it; none where the kernel gives no answer."""
        now = boottime()
        ports = PortTracker(self._settings.ports, dict.fromkeys(self._daemon.ports, now))
        self.findings, snapshot = kernel(ports.wanted, self._settings.interval)
        if snapshot is None:
            return []
        tracked = ports.track(snapshot, now=now, wants_discovery=True)
        self.findings.append(_ports(len(tracked.local), len(tracked.remote), ports.left_out))
        items = to_items(snapshot, self._daemon.vitals or Vitals(), host=self._settings.host, tracked=tracked)
        return [item for item in items if item.key not in self.missing]


def kernel(wanted: CountedPorts, interval_s: int) -> tuple[list[CheckResult], Snapshot | None]:
    """Whether the kernel answers, in which way, and how fast; its answer."""
    try:
        snapshot, way = _asked(wanted)
    except KernelError as error:
        found, advice = split(error)
        return [CheckResult(check="kernel", result="fail", found=found, advice=advice)], None
    return [_answered(snapshot, way, interval_s)], snapshot


def _asked(wanted: CountedPorts) -> tuple[Snapshot, str]:
    try:
        return SockDiag(WAYS[:1]).sample(wanted), "IPv4 and IPv6 in one walk"
    except RefusedError:
        return SockDiag(WAYS[1:]).sample(wanted), "a walk for IPv4 and one for IPv6 (it does not do both in one)"


def _answered(snapshot: Snapshot, way: str, interval_s: int) -> CheckResult:
    found = f"{sum(snapshot.states.values()):,} sockets, {way}, every {interval_s} s"
    if snapshot.duration_s <= interval_s:
        return CheckResult(check="kernel", result="ok", found=found, seconds=snapshot.duration_s)
    advice = "it takes longer than the interval, so samples will be skipped; choose a longer `interval`"
    return CheckResult(check="kernel", result="fail", found=found, advice=advice, seconds=snapshot.duration_s)


def _ports(local: int, remote: int, left_out: tuple[int, ...]) -> CheckResult:
    found = f"{local} local and {remote} remote ports are reported"
    if not left_out:
        return CheckResult(check="ports", result="ok", found=found)
    found += f", {len(left_out)} that listen are left out: {some_of(left_out)}"
    return CheckResult(
        check="ports", result="warn", found=found, advice="raise `ports.limit`, or name some in ports.exclude"
    )
