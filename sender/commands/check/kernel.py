"""What `check` finds about the kernel and the ports of this host, by samples as the daemon takes them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sender.clock import boottime
from sender.commands.check.report import CheckResult
from sender.errors import KernelError, RefusedError
from sender.items import DISCOVERIES, to_items
from sender.kernel.cgroups import to_know_them, why_unknown
from sender.kernel.requests import WAYS
from sender.kernel.sock_diag import Listeners, SockDiag
from sender.model import CONTAINER, KERNEL, OTHER, Vitals
from sender.sampling.left_out import how_to_report_more
from sender.sampling.reporting import Reporting
from sender.sampling.services import service_of
from sender.sampling.watch import ListenerWatch
from sender.text import duration, some_of

if TYPE_CHECKING:
    from sender.commands.daemon_state import DaemonState
    from sender.model import CountedPorts, Item, Reported, Snapshot
    from sender.sampling.names import LeftOut
    from sender.settings.schema import PortSettings, Settings

_OF_THE_DAEMON = ("tcp.sender.uptime", "tcp.sender.backlog", "tcp.sender.dropped", "tcp.sender.rejected")


class TrialSampler:
    """Takes samples of this host as the daemon does. `results` are about the last one, `missing` the keys it lacks."""

    def __init__(self, settings: Settings, daemon: DaemonState) -> None:
        self._settings = settings
        self._daemon = daemon
        # Where this user may not look, no discovery: it would be that of a first sample, with ports that the daemon leaves out.
        self.missing = () if daemon.vitals else (*_OF_THE_DAEMON, *DISCOVERIES)
        self.results: list[CheckResult] = []

    def take(self) -> list[Item]:
        """Return every value of one sample, discovery included; none where the kernel gives no answer."""
        now = boottime()
        reporting = Reporting(self._settings, self._daemon.memory, service=service_of, now=now)
        wanted = reporting.wanted
        self.results, found = check_kernel(wanted, self._settings.interval)
        if found is None:
            return []
        snapshot = ListenerWatch(lambda _: found, Listeners().look, has_peaks=self._settings.ports.peaks).sample(wanted)
        tracked = reporting.track(snapshot, now=now, wants_discovery=True)
        self.results.append(_ports(tracked, reporting.ports.left_out, self._settings.ports))
        if self._settings.services.report:
            self.results.append(_owners(snapshot))
        if self._settings.namespaces.report:
            self.results.append(_namespaces(snapshot, tracked))
        self.results += _published([port for port in tracked.local if _scope(snapshot, port) == CONTAINER])
        items = to_items(snapshot, self._daemon.vitals or Vitals(), host=self._settings.host, tracked=tracked)
        return [item for item in items if item.key not in self.missing]


def check_kernel(wanted: CountedPorts, interval_s: int) -> tuple[list[CheckResult], Snapshot | None]:
    """Return whether the kernel answers, in which way, and how fast; and its answer, None where it gives none."""
    try:
        snapshot, way = _snapshot(wanted)
    except KernelError as error:
        return [CheckResult(check="kernel", result="fail", found=error.found, advice=error.advice)], None
    return [_answered(snapshot, way, interval_s)], snapshot


def _snapshot(wanted: CountedPorts) -> tuple[Snapshot, str]:
    """Return an answer, and the way in which the kernel was asked. Raises KernelError."""
    try:
        return SockDiag(WAYS[:1]).sample(wanted), "IPv4 and IPv6 in one walk"
    except RefusedError:
        return SockDiag(WAYS[1:]).sample(wanted), "a walk for IPv4 and one for IPv6 (it does not do both in one)"


def _answered(snapshot: Snapshot, way: str, interval_s: int) -> CheckResult:
    found = f"{sum(snapshot.states.values()):,} sockets, {way}, every {interval_s} s"
    if snapshot.duration_s <= interval_s:
        return CheckResult(check="kernel", result="ok", found=found, seconds=snapshot.duration_s)
    advice = "It takes longer than the interval, so samples will be skipped. Choose a longer `interval`."
    return CheckResult(check="kernel", result="fail", found=found, advice=advice, seconds=snapshot.duration_s)


def _scope(snapshot: Snapshot, port: int) -> str | None:
    return snapshot.listeners[port].scope if port in snapshot.listeners else None


def _published(ports: list[int]) -> list[CheckResult]:
    """Return what to know of ports whose listeners are a container engine's."""
    if not ports:
        return []
    found = (
        f"published by a container engine: {some_of(ports)}. Their connections are in containers, and not counted here"
    )
    advice = "Name them in `ports.exclude`, or set {$TCP.PORT.SCOPE.NOT_MATCHES} to ^container$ on the host in Zabbix."
    return [CheckResult(check="published", result="warn", found=found, advice=advice)]


def _owners(snapshot: Snapshot) -> CheckResult:
    """Return how many sockets have an owner, and why others have none."""
    if snapshot.owners is None:
        why = (
            why_unknown()
            or "the kernel does not say whose they are: it is older than Linux 5.8, or built without cgroups"
        )
        found = f"the owners of sockets are unknown, and units are not reported: {why}"
        return CheckResult(check="owners", result="skip", found=found, advice=to_know_them())
    totals: Counter[str] = Counter()
    for owners in snapshot.owners.values():
        totals.update(owners)
    without, other = totals.pop(KERNEL, 0), totals.pop(OTHER, 0)
    found = f"{totals.total():,} sockets belong to {len(totals)} units"
    if other:
        found += f"; {other:,} to programs that are no service"
    if without:
        found += f"; {without:,} have no program any more, as in TIME_WAIT"
    return CheckResult(check="owners", result="ok", found=found)


def _namespaces(snapshot: Snapshot, tracked: Reported) -> CheckResult:
    """Return how many other network namespaces are counted, and why they are not."""
    if snapshot.namespaces is None:
        found = f"other network namespaces are not counted: {snapshot.namespace_trouble}"
        advice = "Start the helper: systemctl enable --now tcp-status-sender-namespaces.socket."
        return CheckResult(check="namespaces", result="warn", found=found, advice=advice)
    found = f"{len(snapshot.namespaces)} other network namespaces are counted, {len(tracked.namespaces)} are reported"
    if snapshot.uncounted:
        found += f"; {len(snapshot.uncounted)} in their turn, as a sample has half a second for all of them"
    return CheckResult(check="namespaces", result="ok", found=found)


def _ports(tracked: Reported, left_out: LeftOut[int], settings: PortSettings) -> CheckResult:
    found = f"{len(tracked.local)} local and {len(tracked.remote)} remote ports are reported"
    if left_out.young:
        after = duration(settings.ephemeral_after)
        found += f"; not yet, until something has listened there for {after}: {some_of(left_out.young)}"
    advice = []
    if left_out.over_limit:
        found += f"; {len(left_out.over_limit)} listening ports are left out: {some_of(left_out.over_limit)}"
        advice.append(f"{how_to_report_more(settings.limit, 'ports')}.")
    if left_out.over_budget:
        found += f"; ports.new_per_day of {settings.new_per_day} is used up, so these are not reported for now: "
        found += some_of(left_out.over_budget)
        advice.append(
            "Does something listen on ever another port? Name its range in `ports.exclude`. Name services that stay in "
            "`ports.local`."
        )
    return CheckResult(check="ports", result="warn" if advice else "ok", found=found, advice=" ".join(advice))
