"""The tables of `show`: states with bars and lines, ports with their queues. Snapshots in, text for a terminal out."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sender.model import TcpState
from sender.sampling.services import service_of
from sender.sampling.tops import top
from sender.states import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.model import Listener, Reported, Snapshot

_BAR, _LINE, _SHORT = 24, 40, 10  # columns, and of both on a terminal of less than
_WIDE = 120
_DROPS = len("DROPS") + 2
_BLOCKS, _SPARKS = " ▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█"
_FULL, NEARLY = 100.0, 80.0  # % of an accept queue, as in the template
_SCARCE = 80.0  # % of ephemeral ports, as in the template
_UNITS = 10  # in the table
_INTEREST = [  # of states, in little room
    *(
        TcpState.ESTABLISHED,
        TcpState.CLOSE_WAIT,
        TcpState.LISTEN,
        TcpState.TIME_WAIT,
        TcpState.SYN_RECV,
        TcpState.SYN_SENT,
    ),
    *(TcpState.FIN_WAIT2, TcpState.LAST_ACK, TcpState.FIN_WAIT1, TcpState.CLOSING, TcpState.CLOSE),
]
_RED, _AMBER, _GREEN = "#E03C31", "#F59E0B", "#2E9E5B"  # of an accept queue: full, nearly full, neither


def title(host: str, snapshot: Snapshot) -> Text:
    """Return the first line: the host, how many sockets, when, and how long it took to list them."""
    total = sum(snapshot.states.values())
    moment = datetime.fromtimestamp(snapshot.clock).astimezone()
    line = Text(host, style="bold")
    line.append(
        f"  {total:,} TCP sockets, {moment:%Y-%m-%d %H:%M:%S%z}, listed in {snapshot.duration_s * 1e3:.1f} ms",
        "not bold",
    )
    if snapshot.syn_sent_hosts:
        addresses = "address" if snapshot.syn_sent_hosts == 1 else "addresses"
        line.append(f", {snapshot.syn_sent_hosts:,} {addresses} in SYN_SENT", "not bold")
    if snapshot.unhashed:
        line.append(f", {snapshot.unhashed:,} in no state", "not bold")
    return line


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


def local_table(snapshot: Snapshot, tracked: Reported, columns: int) -> Table:
    """Return the local ports with their counts and accept queues; in little room without drops, names and scopes."""
    names = [f">{state.name}" for state in tracked.states]
    room = columns - sum(len(name) + 1 for name in (*names, "> PORT", ">QUEUE", "> LIMIT", "ACCEPT QUEUE"))
    drops = [">DROPS"] if room >= _DROPS else []
    room -= _DROPS * len(drops)
    extra = [name for name, needs in (("SERVICE", 14), ("SCOPE", 24)) if room >= needs]
    table = _table(">PORT", *extra, *names, ">QUEUE", ">LIMIT", *drops, "ACCEPT QUEUE")
    for port in tracked.local:
        listener = snapshot.listeners.get(port)
        counts = [_figure(snapshot.local_count(port, state)) for state in tracked.states]
        scope = "-" if listener is None else listener.scope
        words = (service_of(port) or snapshot.unit_on(port) or "-", scope)[: len(extra)]
        waiting, limit, bar = _queue(listener)
        dropped = [_figure(listener.drops if listener else None)] * len(drops)
        table.add_row(str(port), *words, *counts, waiting, limit, *dropped, bar)
    return table


def _queue(listener: Listener | None) -> tuple[str, str, Text]:
    if listener is None:
        return "-", "-", _cut(Text("nobody listens", style="dim"))
    style = _RED if listener.pused >= _FULL else _AMBER if listener.pused > NEARLY else _GREEN
    words = " full: connections are dropped" if listener.pused >= _FULL else ""
    if not words and (listener.peak or 0) > listener.waiting:
        words = f" up to {listener.peak:,} since the last page"
    bar = _cut(Text(_bar(min(listener.pused, _FULL), _FULL, 12) + words, style=style))
    return f"{listener.waiting:,}", f"{listener.limit:,}", bar


def unit_table(owners: Mapping[TcpState, Mapping[str, int]], columns: int) -> Table:
    """Return whose the sockets are, those with most of them first, by the states that any of them has."""
    totals: Counter[str] = Counter()
    for each in owners.values():
        totals.update(each)
    room = columns - max(map(len, totals), default=0) - len("> SOCKETS ") - _SHORT
    states = []
    for state in sorted((state for state, each in owners.items() if any(each.values())), key=_INTEREST.index):
        room -= len(state.name) + 2
        if room >= 0:
            states.append(state)
    table = _table("UNIT", ">SOCKETS", "", *(f">{state.name}" for state in states))
    ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    for unit, count in ranked[:_UNITS]:
        bar = Text(_bar(count, ranked[0][1], _SHORT), style=_GREEN)
        table.add_row(unit, _figure(count), bar, *(_figure(owners[state].get(unit, 0)) for state in states))
    if rest := ranked[_UNITS:]:
        table.add_row(Text(f"{len(rest)} more", "dim"), _figure(sum(count for _, count in rest)))
    return table


def namespace_table(namespaces: Mapping[str, Mapping[TcpState, int]], drops: Mapping[str, int]) -> Table:
    """Return the sockets of other network namespaces, those with most of them first, and the requests dropped there."""
    states = [state for state in _INTEREST if any(counts.get(state) for counts in namespaces.values())]
    table = _table("NAMESPACE", ">SOCKETS", *(f">{state.name}" for state in states), ">DROPPED")
    for name, counts in sorted(namespaces.items(), key=lambda item: (-sum(item[1].values()), item[0])):
        figures = (sum(counts.values()), *(counts.get(state) for state in states), drops.get(name))
        table.add_row(name, *map(_figure, figures))
    return table


def destination_lines(snapshot: Snapshot) -> list[Text]:
    """Return where most of this host's connections go, and where its requests find no answer."""
    lines, ports = [], snapshot.ephemeral
    if ports and ports.used:
        pused = "" if ports.pused is None else f" ({ports.pused:.1f} %)"
        style = _RED if (ports.pused or 0) >= _SCARCE else ""
        lines.append(
            Text(f"local ports towards {ports.destination}: {ports.used:,} of {ports.usable:,}{pused}", style=style)
        )
    if snapshot.destinations:
        lines.append(Text(f"no answer yet (SYN_SENT) from {top(snapshot.destinations)}"))
    return lines


def remote_table(snapshot: Snapshot, tracked: Reported) -> Table:
    """Return the remote ports with their counts."""
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
