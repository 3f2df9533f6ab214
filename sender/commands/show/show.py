"""The command `show`: this host's sockets, once or again and again. Takes the samples; `tables` owns how they look."""

from __future__ import annotations

import json
import time
from bisect import bisect
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sender.commands.daemon_state import daemon_state
from sender.commands.show.events import since_last_page
from sender.commands.show.plain import plain
from sender.commands.show.tables import (
    NEARLY,
    destination_lines,
    local_table,
    namespace_table,
    remote_table,
    state_table,
    title,
    unit_table,
)
from sender.kernel.sock_diag import Listeners, SockDiag
from sender.model import CONTAINER, Listener
from sender.sampling.ports import PortTracker
from sender.sampling.reporting import Reporting
from sender.sampling.services import service_of
from sender.sampling.watch import LOOK_S, ListenerWatch
from sender.settings.values import MOST_NAMES
from sender.text import duration, some_of

if TYPE_CHECKING:
    from rich.table import Table

    from sender.model import Reported, Snapshot
    from sender.settings.schema import Settings

_IN_ASCII = {ord(block): "#" for block in "▌▋▊▉█"} | {ord(block): " " for block in "▏▎▍▁▂▃▄▅▆▇"} | {ord("…"): "~"}
_KEPT = 120  # samples for the lines of --watch
_PIPED_COLUMNS = 140  # where there is no terminal to ask


class Monitor:
    """Takes one sample after the other, and keeps the counts of the last ones. With `has_peaks`, `wait` looks in between.

    With `is_all`, the other network namespaces are shown, too.
    """

    def __init__(self, settings: Settings, *, has_peaks: bool = False, is_all: bool = False) -> None:
        self._settings = settings
        self._is_all = is_all
        self._watch = ListenerWatch(SockDiag().sample, Listeners().look, has_peaks=has_peaks)
        # People see what is there, at once.
        at_once = replace(settings.ports, ephemeral_after=0, new_per_day=MOST_NAMES)
        shown = replace(settings, ports=at_once)
        self._shown = Reporting(shown, service=service_of)
        memory = daemon_state(settings.spool.path).memory
        self._is_known = (
            not memory.ports.is_first
        )  # else this user may not look, and nothing is said of what is reported
        self._reported = PortTracker(settings.ports, memory.ports, service=service_of, now=time.monotonic())
        self._history: deque[Snapshot] = deque(maxlen=_KEPT)

    def sample(self) -> tuple[Snapshot, Reported]:
        """Take a sample, and return it with the ports that it reports. Raises KernelError."""
        snapshot = self._watch.sample(
            replace(
                self._shown.wanted, counters=True, owners=True, namespaces=self._is_all or self._shown.wanted.namespaces
            )
        )
        self._history.append(snapshot)
        self._reported.track(snapshot, now=time.monotonic(), wants_discovery=False)
        return snapshot, self._shown.track(snapshot, now=time.monotonic(), wants_discovery=False)

    def wait(self, for_s: float) -> None:
        """Let time pass, with a look at the accept queues every second."""
        end = time.monotonic() + for_s
        while (left_s := end - time.monotonic()) > LOOK_S:
            time.sleep(LOOK_S)
            self._watch.look()
        time.sleep(max(0, left_s))

    def draw(self, console: Console, rows: int | None = None) -> Group:
        """Return a new sample as a page of at most `rows`, if need be without units and destinations, and with only the busiest ports.

        Raises KernelError.
        """
        snapshot, tracked = self.sample()
        every = len(tracked.local) + len(tracked.remote)
        whole = self._page(snapshot, tracked, console.width, 0)
        if rows is None or len(console.render_lines(whole)) <= rows:
            return whole
        low = replace(snapshot, owners=None, ephemeral=None, destinations={})

        def page(ports: int) -> Group:
            return self._page(low, _busiest(snapshot, tracked, ports), console.width, every - ports)

        too_many = bisect(range(every + 1), rows, key=lambda ports: len(console.render_lines(page(ports))))
        return page(max(0, too_many - 1))

    def _page(self, snapshot: Snapshot, tracked: Reported, columns: int, hidden: int) -> Group:
        note = f"{hidden} more ports, less busy: a higher terminal has room for them" if hidden else ""
        events = [Text(since_last_page(*list(self._history)[-2:]))] if len(self._history) > 1 else []
        page: list[Text | Table] = [
            title(self._settings.host, snapshot),
            *events,
            Text(note),
            state_table(self._history, columns),
        ]
        if tracked.local:
            page += [Text(), local_table(snapshot, tracked, columns)]
        if tracked.remote:
            page += [Text(), remote_table(snapshot, tracked)]
        if snapshot.owners:
            page += [Text(), unit_table(snapshot.owners, columns)]
        page += [Text(), *lines] if (lines := destination_lines(snapshot)) else []
        if snapshot.namespaces:
            page += [Text(), namespace_table(snapshot.namespaces, snapshot.namespace_drops)]
        elif self._is_all:
            why = snapshot.namespace_trouble or "there is none"
            page += [Text(), Text(f"no other network namespace is counted: {why}")]
        if any(snapshot.listeners[port].scope == CONTAINER for port in tracked.local if port in snapshot.listeners):
            page += [Text(), Text("scope container: connections are in the container's network namespace, not here")]
        page += [Text(), *notes] if (notes := self._notes()) else []
        return Group(*page)

    def _notes(self) -> list[Text]:
        """Return a line for each reason for which Zabbix does not get a port."""
        settings, shown, reported = self._settings.ports, self._shown.ports.left_out, self._reported.left_out
        lines = {f"over ports.limit of {settings.limit}": shown.over_limit}
        if self._is_known:
            after = duration(settings.ephemeral_after)
            lines[f"not reported before {after} of listening (ports.ephemeral_after)"] = reported.young
            lines[f"not reported for now, ports.new_per_day of {settings.new_per_day} is used up"] = (
                reported.over_budget
            )
        return [Text(f"{why}: {some_of(ports)}", style="dim") for why, ports in lines.items() if ports]


def _busiest(snapshot: Snapshot, tracked: Reported, room: int) -> Reported:
    """Return `room` of the ports: nearly full accept queues first, then the most sockets; in the order of the ports."""

    def idle(place: tuple[str, int]) -> tuple[float, int]:
        where, port = place
        counts, listeners = (snapshot.local, snapshot.listeners) if where == "local" else (snapshot.remote, {})
        pused = listeners.get(port, Listener()).pused
        return -pused if pused > NEARLY else 0.0, -sum(counts.get((port, state), 0) for state in tracked.states)

    places = [*(("local", port) for port in tracked.local), *(("remote", port) for port in tracked.remote)]
    best = sorted(places, key=idle)[:room]
    return replace(
        tracked,
        local=[port for port in tracked.local if ("local", port) in best],
        remote=[port for port in tracked.remote if ("remote", port) in best],
    )


def once(settings: Settings, *, as_json: bool, is_all: bool = False) -> int:
    """Show one sample, and return the exit code. Raises KernelError."""
    monitor = Monitor(settings, is_all=is_all)
    if as_json:
        print(json.dumps(plain(settings.host, *monitor.sample()), indent=2))
    else:
        _print(_console(), monitor)
    return 0


def watch(settings: Settings, every_s: float, *, is_all: bool = False) -> NoReturn:
    """Show sample after sample, in place, until Ctrl-C. Raises KernelError."""
    monitor, console = Monitor(settings, has_peaks=True, is_all=is_all), _console()
    if not console.is_terminal or console.is_dumb_terminal or console.options.ascii_only:  # one page after the other
        while True:
            _print(console, monitor)
            monitor.wait(every_s)
    with Live(monitor.draw(console, console.height), console=console, auto_refresh=False, screen=True) as live:
        while True:
            monitor.wait(every_s)
            live.update(monitor.draw(console, console.height), refresh=True)


def _print(console: Console, monitor: Monitor) -> None:
    if not console.options.ascii_only:
        console.print(monitor.draw(console))
        return
    with console.capture() as page:  # there are no letters for bars
        console.print(monitor.draw(console))
    console.file.write(page.get().translate(_IN_ASCII))


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPED_COLUMNS)
