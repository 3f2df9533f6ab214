"""The command `show`: this host's sockets as tables with bars, once or again and again. Owns how they look."""

from __future__ import annotations

import json
import time
from bisect import bisect
from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sender.kernel.sock_diag import SockDiag
from sender.model import CONTAINER, Listener
from sender.sampling.ports import PortTracker
from sender.sampling.services import service_of
from sender.states import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import ReportedPorts, Snapshot, TcpState
    from sender.settings.schema import Settings

_BAR, _LINE, _SHORT = 24, 40, 10  # columns, and of both on a terminal of less than
_WIDE = 120
_BLOCKS, _SPARKS = " ▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█"
_IN_ASCII = {ord(block): "#" for block in "▌▋▊▉█"} | {ord(block): " " for block in "▏▎▍▁▂▃▄▅▆▇"} | {ord("…"): "~"}
_KEPT = 120  # samples for the lines of --watch
_PIPED_COLUMNS = 140  # where there is no terminal to ask
_FULL, _NEARLY = 100.0, 80.0  # % of an accept queue, as in the template
_RED, _AMBER, _GREEN = "#E03C31", "#F59E0B", "#2E9E5B"  # of an accept queue: full, nearly full, neither


class _Monitor:
    """Takes one sample after the other, and keeps the counts of the last ones."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kernel = SockDiag()
        self._ports = PortTracker(settings.ports, {}, service=service_of)
        self._history: deque[Snapshot] = deque(maxlen=_KEPT)

    def sample(self) -> tuple[Snapshot, ReportedPorts]:
        """Take a sample, and return it with the ports that it reports. Raises KernelError."""
        snapshot = self._kernel.sample(self._ports.wanted)
        self._history.append(snapshot)
        return snapshot, self._ports.track(snapshot, now=time.monotonic(), wants_discovery=False)

    def draw(self, console: Console, rows: int | None = None) -> Group:
        """Return a new sample as a page of at most `rows`, if need be with only the busiest ports. Raises KernelError."""
        snapshot, tracked = self.sample()
        every = len(tracked.local) + len(tracked.remote)

        def page(ports: int) -> Group:
            return self._page(snapshot, _busiest(snapshot, tracked, ports), console.width, every - ports)

        if rows is None:
            return page(every)
        too_many = bisect(range(every + 1), rows, key=lambda ports: len(console.render_lines(page(ports))))
        return page(max(0, too_many - 1))

    def _page(self, snapshot: Snapshot, tracked: ReportedPorts, columns: int, hidden: int) -> Group:
        note = f"{hidden} more ports, less busy: a higher terminal has room for them" if hidden else ""
        page: list[Text | Table] = [
            _title(self._settings.host, snapshot),
            Text(note),
            state_table(self._history, columns),
        ]
        if tracked.local:
            page += [Text(), _local(snapshot, tracked, columns)]
        if tracked.remote:
            page += [Text(), _remote(snapshot, tracked)]
        if any(snapshot.listeners[port].scope == CONTAINER for port in tracked.local if port in snapshot.listeners):
            page += [Text(), Text("scope container: connections are in the container's network namespace, not here")]
        if self._ports.left_out:
            page += [Text(), Text(f"{len(self._ports.left_out)} more listening ports: over ports.limit of the config")]
        return Group(*page)


def _busiest(snapshot: Snapshot, tracked: ReportedPorts, room: int) -> ReportedPorts:
    """Return `room` of the ports: nearly full accept queues first, then the most sockets; in the order of the ports."""

    def idle(place: tuple[str, int]) -> tuple[float, int]:
        where, port = place
        counts, listeners = (snapshot.local, snapshot.listeners) if where == "local" else (snapshot.remote, {})
        pused = listeners.get(port, Listener()).pused
        return -pused if pused > _NEARLY else 0.0, -sum(counts.get((port, state), 0) for state in tracked.states)

    places = [*(("local", port) for port in tracked.local), *(("remote", port) for port in tracked.remote)]
    best = sorted(places, key=idle)[:room]
    return replace(
        tracked,
        local=[port for port in tracked.local if ("local", port) in best],
        remote=[port for port in tracked.remote if ("remote", port) in best],
    )


def once(settings: Settings, *, as_json: bool) -> int:
    """Show one sample, and return the exit code. Raises KernelError."""
    monitor = _Monitor(settings)
    if as_json:
        print(json.dumps(_plain(settings.host, *monitor.sample()), indent=2))
    else:
        _print(_console(), monitor)
    return 0


def watch(settings: Settings, every_s: float) -> NoReturn:
    """Show sample after sample, in place, until Ctrl-C. Raises KernelError."""
    monitor, console = _Monitor(settings), _console()
    if not console.is_terminal or console.is_dumb_terminal:  # one page after the other
        while True:
            _print(console, monitor)
            time.sleep(every_s)
    with Live(monitor.draw(console, console.height), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every_s)
            live.update(monitor.draw(console, console.height), refresh=True)


def _print(console: Console, monitor: _Monitor) -> None:
    if not console.options.ascii_only:
        console.print(monitor.draw(console))
        return
    with console.capture() as page:  # there are no letters for bars
        console.print(monitor.draw(console))
    console.file.write(page.get().translate(_IN_ASCII))


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPED_COLUMNS)


def _title(host: str, snapshot: Snapshot) -> Text:
    total = sum(snapshot.states.values())
    moment = datetime.fromtimestamp(snapshot.clock).astimezone()
    title = Text(host, style="bold")
    title.append(
        f"  {total:,} TCP sockets, {moment:%Y-%m-%d %H:%M:%S%z}, listed in {snapshot.duration_s * 1e3:.1f} ms",
        "not bold",
    )
    if snapshot.syn_sent_hosts:
        addresses = "address" if snapshot.syn_sent_hosts == 1 else "addresses"
        title.append(f", {snapshot.syn_sent_hosts:,} {addresses} in SYN_SENT", "not bold")
    if snapshot.unhashed:
        title.append(f", {snapshot.unhashed:,} in no state", "not bold")
    return title


def state_table(samples: Sequence[Snapshot], columns: int) -> Table:
    """Return every state with its sockets in the newest of `samples`, and with a line of the counts in all of them."""
    bars, points = (_BAR, _LINE) if columns >= _WIDE else (_SHORT, _SHORT)
    has_past = len(samples) > 1
    table = _table("STATE", ">SOCKETS", "", *(["LAST MINUTES"] if has_past else []), "MEANING, AND CAUSE OF MANY")
    newest = samples[-1].states
    most = max(newest.values())
    for state, about in STATES.items():
        count, colour = newest.get(state), f"#{about.colour}"
        style = "bold" if count else "dim"
        known = [each.states[state] for each in samples if state in each.states]
        past = [Text(_spark(known, points), style=colour)] if has_past else []
        table.add_row(
            Text(state.name, style),
            Text(_figure(count), style),
            Text(_bar(count or 0, most, bars), style=colour),
            *past,
            _cut(Text(f"{about.meaning}; {about.when_high}", style="dim")),
        )
    return table


def _table(*columns: str) -> Table:
    """Return an empty table; a column with > holds numbers. In little room the last one gives way, if its cells are `_cut`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        is_number, is_last = name.startswith(">"), name == columns[-1]
        table.add_column(
            name.lstrip(">"), justify="right" if is_number else "left", no_wrap=is_number or not is_last, min_width=5
        )
    return table


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _local(snapshot: Snapshot, tracked: ReportedPorts, columns: int) -> Table:
    names = [f">{state.name}" for state in tracked.states]
    room = columns - sum(len(name) + 1 for name in (*names, "> PORT", ">QUEUE", "> LIMIT", "ACCEPT QUEUE"))
    extra = [name for name, needs in (("SERVICE", 14), ("SCOPE", 24)) if room >= needs]
    table = _table(">PORT", *extra, *names, ">QUEUE", ">LIMIT", "ACCEPT QUEUE")
    for port in tracked.local:
        listener = snapshot.listeners.get(port)
        counts = [_figure(snapshot.local_count(port, state)) for state in tracked.states]
        scope = "-" if listener is None else listener.scope
        words = (service_of(port) or "-", scope)[: len(extra)]
        table.add_row(str(port), *words, *counts, *_queue(listener))
    return table


def _queue(listener: Listener | None) -> Sequence[str | Text]:
    if listener is None:
        return "-", "-", _cut(Text("nobody listens", style="dim"))
    style = _RED if listener.pused >= _FULL else _AMBER if listener.pused > _NEARLY else _GREEN
    words = " full: connections are dropped" if listener.pused >= _FULL else ""
    bar = _cut(Text(_bar(min(listener.pused, _FULL), _FULL, 12) + words, style=style))
    return f"{listener.waiting:,}", f"{listener.limit:,}", bar


def _remote(snapshot: Snapshot, tracked: ReportedPorts) -> Table:
    table = _table(">REMOTE PORT", "SERVICE", *(f">{state.name}" for state in tracked.states))
    for port in tracked.remote:
        counts = [_figure(snapshot.remote_count(port, state)) for state in tracked.states]
        table.add_row(str(port), service_of(port) or "-", *counts)
    return table


def _figure(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _bar(count: float, most: float, columns: int) -> str:
    """Return a bar as long as the share of `most`; only a 0 has none."""
    eighths = round(8 * columns * count / most) if most else 0
    if count and not eighths:
        eighths = 1
    return (_BLOCKS[8] * (eighths // 8) + _BLOCKS[eighths % 8]).rstrip()


def _spark(counts: Sequence[int], points: int) -> str:
    """Return a line of the last `points` counts, drawn between their lowest and highest."""
    shown = list(counts)[-points:] or [0]
    low, span = min(shown), max(shown) - min(shown)
    return "".join(_SPARKS[round(7 * (count - low) / span) if span else 0] for count in shown)


def _plain(host: str, snapshot: Snapshot, tracked: ReportedPorts) -> dict[str, object]:
    """Return the sample for programs."""
    return {
        "host": host,
        "clock": snapshot.clock,
        "ns": snapshot.ns,
        "duration_s": snapshot.duration_s,
        "total": sum(snapshot.states.values()),
        "states": {state.name: snapshot.states.get(state) for state in STATES},
        "syn_sent_hosts": snapshot.syn_sent_hosts,
        "time_wait_limit": snapshot.time_wait_limit,
        "time_wait_sockets": snapshot.time_wait_sockets,
        "unhashed": snapshot.unhashed,
        "mptcp": snapshot.mptcp and {state.name: snapshot.mptcp.get(state) for state in STATES},
        "ports": [_plain_port(port, snapshot, tracked) for port in tracked.local],
        "remote_ports": [
            {
                "port": port,
                "service": service_of(port) or None,
                "states": _plain_states(port, snapshot.remote_count, tracked),
            }
            for port in tracked.remote
        ],
    }


def _plain_port(port: int, snapshot: Snapshot, tracked: ReportedPorts) -> dict[str, object]:
    listener = snapshot.listeners.get(port)
    queue = listener and {"waiting": listener.waiting, "limit": listener.limit, "pused": round(listener.pused, 2)}
    return {
        "port": port,
        "service": service_of(port) or None,
        "scope": listener and listener.scope,
        "states": _plain_states(port, snapshot.local_count, tracked),
        "queue": queue,
    }


def _plain_states(
    port: int, count: Callable[[int, TcpState], int | None], tracked: ReportedPorts
) -> dict[str, int | None]:
    return {state.name: count(port, state) for state in tracked.states}
