"""Ports where everything goes wrong at once, in a whole daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.command import tcp_status_sender
from lab.daemon import Daemon
from lab.some_items import LIMITS, sample
from lab.trapper import Trapper, counts
from sender.items import LOCAL, REMOTE
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_spool_that_remembers_nonsense_stops_nothing(config: Callable[..., Path], tmp_path: Path) -> None:
    """The daemon starts on it, and samples."""
    path = tmp_path / "spool.db"
    spool = Spool(str(path), ["d0"], LIMITS)
    spool.learn("d0", ["98080"])
    spool.append(sample(1))
    spool.close()
    with Trapper() as trapper, Daemon(config(trapper.port, ports={"local": []})) as daemon:
        trapper.wait_for(2)
        daemon.stop()
        assert "Traceback" not in daemon.log


def test_once_names_refused_discovery(config: Callable[..., Path]) -> None:
    """`run --once` does not say that every value is accepted, and end with 1."""
    with Trapper(_without_discovery) as trapper:
        done = tcp_status_sender("run", "--once", "--config", config(trapper.port))
    assert done.returncode == 1
    assert f"d0: Zabbix rejects these keys of host 'web-01': {LOCAL}, {REMOTE}. " in done.stderr
    assert "accepts all values" not in done.stderr


def _without_discovery(request: dict[str, Any]) -> bytes:
    refused = sum(sent["key"] in (LOCAL, REMOTE) for sent in request["data"])
    return counts(len(request["data"]) - refused, refused)
