"""Registration by the whole daemon: nothing waits for it, and what it waits for comes."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import tcp_status_sender, until
from lab.registering import KNOWN, METADATA, NOT_FOUND, REQUEST, by_kind
from lab.trapper import MUTE, Trapper, accept

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


def test_values_do_not_wait_for_it(start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]) -> None:
    """Where one destination is away and the other leaves the registration without an answer, values arrive on time."""
    with Trapper(by_kind(accept, lambda _: MUTE)) as trapper, Trapper(lambda _: b"") as dead:
        process = start("run", "--config", config(trapper.port, dead.port, autoregistration={"metadata": METADATA}))
        trapper.wait_for(4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert trapper.requests.count(REQUEST) == 1
    assert REQUEST in dead.requests
    clocks = sorted({value["clock"] for request in trapper.requests for value in request.get("data", [])})
    assert clocks == list(range(clocks[0], clocks[-1] + 1))


def test_a_destination_that_comes_back_is_asked_again(
    start: Callable[..., subprocess.Popen[str]], config: Callable[..., Path]
) -> None:
    """A destination that was away at the start is asked soon after it takes values."""
    with Trapper(lambda _: b"") as trapper:
        process = start("run", "--config", config(trapper.port, autoregistration={"metadata": METADATA}))
        log = until(process, "d0: delivery failed")
        trapper.answer = by_kind(accept, KNOWN)
        log += until(process, "d0: Zabbix knows host 'web-01'")
        assert log.count("d0: could not ask for registration of host 'web-01'") == 1
        assert trapper.requests.count(REQUEST) == 2


def test_once_asks_first(config: Callable[..., Path]) -> None:
    """`run --once` has the host registered, too, before it sends; without the key nobody is asked anything."""
    with Trapper(by_kind(accept, NOT_FOUND)) as trapper:
        assert tcp_status_sender("run", "--once", "--config", config(trapper.port)).returncode == 0
        assert REQUEST not in trapper.requests
        trapper.requests.clear()
        path = config(trapper.port, autoregistration={"metadata": METADATA})
        assert tcp_status_sender("run", "--once", "--config", path).returncode == 0
    assert trapper.requests[0] == REQUEST
    assert [request["request"] for request in trapper.requests] == ["active checks", "sender data"]
