"""The verb `show`: this host's sockets for people, as tables with bars, once or again and again. Knows how it looks."""

from __future__ import annotations

import json
import time
from bisect import bisect
from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sender.kernel.sock_diag import SockDiag
from sender.model import Listener, TcpState
from sender.sampling.ports import PortTracker, service_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.model import ReportedPorts, Snapshot
    from sender.settings.schema import Settings

_BAR, _LINE, _SHORT = 24, 40, 10  # columns, and of both on a terminal of less than
_WIDE = 120
_BLOCKS, _SPARKS = " ▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█"
_IN_ASCII = {ord(block): "#" for block in "▌▋▊▉█"} | {ord(block): " " for block in "▏▎▍▁▂▃▄▅▆▇"}
_KEPT = 120  # samples for the lines of --watch
_PIPED_COLUMNS = 140  # where there is no terminal to ask
_FULL, _NEARLY = 100.0, 80.0  # % of an accept queue, as in the template

# What a state means when it is high, in the order of the kernel's numbers; and the colour that it has in the template.
_STATES = {
    TcpState.ESTABLISHED: ("#2E9E5B", "open; the load, or clients that never close"),
    TcpState.SYN_SENT: ("#8E44AD", "asked, not answered: a peer or a firewall is mute, or something scans from here"),
    TcpState.SYN_RECV: ("#F59E0B", "answered, not confirmed: a SYN flood, or packets get lost on the way to clients"),
    TcpState.FIN_WAIT1: ("#14B8A6", "closed here, not acknowledged: peers that have vanished"),
    TcpState.FIN_WAIT2: ("#0F6E8C", "closed here, not there: programs at the other end are slow to close"),
    TcpState.TIME_WAIT: ("#4A9BD9", "closed; kept for a minute: many short connections, normal unless ports run out"),
    TcpState.CLOSE: ("#B8BF4A", "bound, neither listening nor connected"),
    TcpState.CLOSE_WAIT: ("#E03C31", "closed there, not here: a program on this host leaks connections"),
    TcpState.LAST_ACK: ("#D6409F", "closed by both, not acknowledged: peers that have vanished"),
    TcpState.LISTEN: ("#7F8C8D", "waiting for connections"),
    TcpState.CLOSING: ("#8D5B3A", "closed by both at once; normally 0"),
}


class _Monitor:
    """Takes one sample after the other, and keeps the counts of the last ones."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kernel = SockDiag()
        self._ports = PortTracker(settings.ports, {})
        self._history: deque[Snapshot] = deque(maxlen=_KEPT)

    def look(self) -> tuple[Snapshot, ReportedPorts]:
        """Raises KernelError."""
        snapshot = self._kernel.sample(self._ports.wanted)
        self._history.append(snapshot)
        return snapshot, self._ports.track(snapshot, now=time.monotonic(), wants_discovery=False)

    def draw(self, console: Console, rows: int | None = None) -> Group:
        """A new sample as a page, of the ports only the busiest where all take more than `rows`. Raises KernelError."""
        snapshot, tracked = self.look()
        every = len(tracked.local) + len(tracked.remote)

        def page(ports: int) -> Group:
            return self._page(snapshot, _busiest(snapshot, tracked, ports), console.width, every - ports)

        if rows is None:
            return page(every)
        too_many = bisect(range(every + 1), rows, key=lambda ports: len(console.render_lines(page(ports))))
        return page(max(0, too_many - 1))

    def _page(self, snapshot: Snapshot, tracked: ReportedPorts, columns: int, hidden: int) -> Group:
        note = f"{hidden} more ports, less busy: a higher terminal has room for them" if hidden else ""
        page: list[Text | Table] = [_title(self._settings.host, snapshot), Text(note), self._states(snapshot, columns)]
        if tracked.local:
            page += [Text(), _local(snapshot, tracked, columns)]
        if tracked.remote:
            page += [Text(), _remote(snapshot, tracked)]
        if self._ports.left_out:
            page += [Text(), Text(f"{len(self._ports.left_out)} more listening ports: over ports.limit of the config")]
        return Group(*page)

    def _states(self, snapshot: Snapshot, columns: int) -> Table:
        bars, points = (_BAR, _LINE) if columns >= _WIDE else (_SHORT, _SHORT)
        table = _table(
            "STATE", ">SOCKETS", "", *(["LAST MINUTES"] if len(self._history) > 1 else []), "WHEN IT IS HIGH"
        )
        most = max(snapshot.states.values())
        for state, (colour, meaning) in _STATES.items():
            count = snapshot.states[state]
            past = [Text(_spark([each.states[state] for each in self._history], points), style=colour)]
            bar = Text(_bar(count, most, bars), style=colour)
            style = "bold" if count else "dim"
            line = past if len(self._history) > 1 else []
            table.add_row(
                Text(state.name, style), Text(f"{count:,}", style), bar, *line, _cut(Text(meaning, style="dim"))
            )
        return table


def _busiest(snapshot: Snapshot, tracked: ReportedPorts, room: int) -> ReportedPorts:
    """So many of the ports: those with nearly full accept queues, then those with the most sockets; in their order."""

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
    """Show one sample; the exit code. Raises KernelError."""
    monitor = _Monitor(settings)
    if as_json:
        print(json.dumps(_plain(settings.host, *monitor.look()), indent=2))
    else:
        _print(_console(), monitor)
    return 0


def watch(settings: Settings, every_s: float) -> int:
    """Show sample after sample, in place, until Ctrl-C; the exit code. Raises KernelError."""
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
    return title


def _table(*columns: str) -> Table:
    """Those with > are numbers. Where there is little room the last column gives way, if it is words: each cell is `_cut`."""
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
        counts = [f"{snapshot.local.get((port, state), 0):,}" for state in tracked.states]
        scope = "-" if listener is None else "loopback" if listener.is_loopback else "any"
        words = (service_of(port), scope)[: len(extra)]
        table.add_row(str(port), *words, *counts, *_queue(listener))
    return table


def _queue(listener: Listener | None) -> Sequence[str | Text]:
    if listener is None:
        return "-", "-", _cut(Text("nobody listens", style="dim"))
    style = "#E03C31" if listener.pused >= _FULL else "#F59E0B" if listener.pused > _NEARLY else "#2E9E5B"
    words = " full: connections are dropped" if listener.pused >= _FULL else ""
    bar = _cut(Text(_bar(min(listener.pused, _FULL), _FULL, 12) + words, style=style))
    return f"{listener.waiting:,}", f"{listener.limit:,}", bar


def _remote(snapshot: Snapshot, tracked: ReportedPorts) -> Table:
    table = _table(">REMOTE PORT", "SERVICE", *(f">{state.name}" for state in tracked.states))
    for port in tracked.remote:
        counts = [f"{snapshot.remote.get((port, state), 0):,}" for state in tracked.states]
        table.add_row(str(port), service_of(port), *counts)
    return table


def _bar(count: float, most: float, columns: int) -> str:
    """As long as its share of `most`; what is not 0 is never nothing."""
    eighths = round(8 * columns * count / most) if most else 0
    if count and not eighths:
        eighths = 1
    return (_BLOCKS[8] * (eighths // 8) + _BLOCKS[eighths % 8]).rstrip()


def _spark(counts: Sequence[int], points: int) -> str:
    """The last of `counts`, between their lowest and highest."""
    shown = list(counts)[-points:]
    low, span = min(shown), max(shown) - min(shown)
    return "".join(_SPARKS[round(7 * (count - low) / span) if span else 0] for count in shown)


def _plain(host: str, snapshot: Snapshot, tracked: ReportedPorts) -> dict[str, object]:
    """For programs."""
    return {
        "host": host,
        "clock": snapshot.clock,
        "ns": snapshot.ns,
        "duration_s": snapshot.duration_s,
        "total": sum(snapshot.states.values()),
        "states": {state.name: count for state, count in snapshot.states.items()},
        "syn_sent_hosts": snapshot.syn_sent_hosts,
        "time_wait_limit": snapshot.time_wait_limit,
        "ports": [_plain_port(port, snapshot, tracked) for port in tracked.local],
        "remote_ports": [
            {"port": port, "service": service_of(port), "states": _plain_states(port, snapshot.remote, tracked)}
            for port in tracked.remote
        ],
    }


def _plain_port(port: int, snapshot: Snapshot, tracked: ReportedPorts) -> dict[str, object]:
    listener = snapshot.listeners.get(port)
    queue = listener and {"waiting": listener.waiting, "limit": listener.limit, "pused": round(listener.pused, 2)}
    return {
        "port": port,
        "service": service_of(port),
        "scope": listener and ("loopback" if listener.is_loopback else "any"),
        "states": _plain_states(port, snapshot.local, tracked),
        "queue": queue,
    }


def _plain_states(port: int, counts: Mapping[tuple[int, int], int], tracked: ReportedPorts) -> dict[str, int]:
    return {state.name: counts.get((port, state), 0) for state in tracked.states}
