"""A reload in the middle of a request: what is on its way comes to its end, and nothing is lost, doubled or left unsaid."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING, Any

from lab.command import until
from lab.trapper import RESET, Trapper, accept, counts

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


class Hang:
    """An answer that says nothing until `go`, and then what `last` says."""

    def __init__(self, last: Callable[[dict[str, Any]], bytes]) -> None:
        self._last = last
        self._free = threading.Event()

    def __call__(self, request: dict[str, Any]) -> bytes:
        """Of a trapper."""
        assert self._free.wait(20)
        return self._last(request)

    def go(self, trapper: Trapper) -> None:
        """Speak; what comes next is accepted at once."""
        trapper.answer = accept
        self._free.set()

    @classmethod
    def in_next(cls, trapper: Trapper, last: Callable[[dict[str, Any]], bytes]) -> Hang:
        """From the next request on, when it has come."""
        trapper.answer, seen = cls(last), len(trapper.requests)
        trapper.wait_for(seen + 1)
        return trapper.answer


def resets(_: dict[str, Any]) -> bytes:
    """Return the connection breaks."""
    return RESET


def reload(process: subprocess.Popen[str], path: Path, *destinations: dict[str, Any]) -> str:
    """With these destinations from now on; the log up to then."""
    settings = json.loads(path.read_text())
    settings["destinations"] = destinations
    path.write_text(json.dumps(settings))
    process.send_signal(signal.SIGHUP)
    return until(process, " reloaded: ")


def to(trapper: Trapper, name: str = "d0", timeout: str = "15s") -> dict[str, Any]:
    """Return a destination."""
    return {"name": name, "nodes": [trapper.node], "timeout": timeout}


def clocks(trapper: Trapper) -> list[int]:
    """Return the moments of the samples that came."""
    return [value["clock"] for value in trapper.values if value["key"] == "tcp.status[TOTAL]"]


def end(process: subprocess.Popen[str]) -> str:
    """Stop it; the rest of the log."""
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=20)[1]


def test_a_failure_has_its_end_in_the_log(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """A request that fails after its destination was changed: what takes over says that it works again."""
    hang = Hang(resets)
    with Trapper(hang) as trapper:
        path = config(destinations=[to(trapper)])
        process = start("run", "--config", path)
        trapper.wait_for(1)
        reload(process, path, to(trapper, timeout="9s"))
        hang.go(trapper)
        until(process, "d0: delivery failed")
        until(process, "d0: delivery works again after 0 s")
        end(process)


def test_a_backlog_has_its_end_in_the_log(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Changed while it catches up, a destination is said to have all that waited, when it has."""
    with Trapper(resets) as trapper, Trapper() as other:
        path = config(destinations=[to(trapper), to(other, "d1")])
        process = start("run", "--config", path)
        until(process, "d0: delivery failed")
        other.wait_for(2)
        hang = Hang.in_next(trapper, accept)
        reload(process, path, to(trapper, timeout="9s"), to(other, "d1"))
        hang.go(trapper)
        until(process, "d0: delivery works again")
        until(process, "d0: backlog delivered")
        end(process)


def test_a_name_that_comes_back_is_another_server(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Removed while its request hangs, and added again: the old server gets no more, and the new one all from then on."""
    hang = Hang(accept)
    with Trapper(hang) as old, Trapper() as other, Trapper() as new:
        path = config(destinations=[to(old), to(other, "d1")])
        process = start("run", "--config", path)
        old.wait_for(1)
        other.wait_for(2)
        reload(process, path, to(other, "d1"))
        reload(process, path, to(new), to(other, "d1"))
        begun = len(clocks(other))
        other.wait_for(len(other.requests) + 2)
        hang.go(old)
        new.wait_for(1)
        other.wait_for(len(other.requests) + 2)
        end(process)
    assert len(old.requests) == 1
    assert set(clocks(other)[begun + 1 :]) <= set(clocks(new))
    assert clocks(new) == sorted(set(clocks(new)))


def test_held_values_that_end_with_it_are_said(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """Stopped before what takes over could begin, it names the ports of which values are lost."""

    def refuses_port_9(request: dict[str, Any]) -> bytes:
        refused = sum(value["key"].endswith("9]") for value in request["data"])
        return counts(len(request["data"]) - refused, refused)

    with Trapper(refuses_port_9) as trapper:
        path = config(destinations=[to(trapper)], ports={"listening": False, "local": [9]})
        process = start("run", "--config", path)
        trapper.wait_for(3)
        hang = Hang.in_next(trapper, resets)
        reload(process, path, to(trapper, timeout="9s"))
        log = end(process)
        hang.go(trapper)
    assert "d0: dropped the values held for new port 9, as this daemon stops" in log
