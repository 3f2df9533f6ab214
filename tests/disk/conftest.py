"""A small disk of the test's own, and the installed daemon on it."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND
from lab.disk import Disk
from lab.watched_daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Yield a megabyte."""
    with Disk(tmp_path / "disk", "1M") as disk:
        yield disk


@pytest.fixture
def start() -> Iterator[Callable[..., Daemon]]:
    """Yield what starts the daemon by a command line, or with these arguments; the end of the test kills it."""
    started: list[Daemon] = []

    def start(*arguments: str | Path, within: Disk | None = None) -> Daemon:
        command = [COMMAND, *arguments]
        started.append(Daemon(within.inside(*command) if within else command))
        return started[-1]

    yield start
    for daemon in started:
        if daemon.process.returncode is None:
            os.kill(daemon.process.pid, signal.SIGCONT)
            daemon.kill()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a configuration: web-01 every second, spool at `spool`, to these ports as d0, d1 and so on."""

    def config(spool: Path | str, *ports: int, **settings: Any) -> Path:
        destinations = [{"name": f"d{n}", "nodes": [f"127.0.0.1:{port}"]} for n, port in enumerate(ports)]
        path = tmp_path / "config.yaml"
        values = {"host": "web-01", "interval": 1, "destinations": destinations, "spool": {"path": str(spool)}}
        path.write_text(
            json.dumps({**values, "ports": {"listening": False}, "services": {"report": False}, **settings})
        )
        return path

    return config
