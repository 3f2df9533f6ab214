"""Which listeners are a container engine's, by the inode numbers of directories as cgroup2 has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sender.kernel import engines
from sender.kernel.engines import PublishedPorts
from sender.model import Listener

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the directory of Docker's cgroup, which is there."""
    monkeypatch.setattr(engines, "ROOTS", (tmp_path / "none", tmp_path))
    path = tmp_path / "system.slice" / "docker.service"
    path.mkdir(parents=True)
    return path


def published(ports: PublishedPorts, cgroups: dict[int, set[int]]) -> set[int]:
    """Return the ports that are marked, of those with such cgroups."""
    marked = ports.marked({port: Listener(limit=port) for port in cgroups}, cgroups)
    assert {port: listener.limit for port, listener in marked.items()} == {port: port for port in cgroups}
    return {port for port, listener in marked.items() if listener.is_published}


def test_dockers_listeners_are_told(docker: Path) -> None:
    """Ports on which nobody else listens; those of Docker's own API are served by itself."""
    ours, other = docker.stat().st_ino, docker.parent.stat().st_ino
    cgroups = {8088: {ours}, 8089: {ours, other}, 8090: {other}, 8091: {0}, 2376: {ours}}
    assert published(PublishedPorts(), cgroups) == {8088}


def test_an_engine_is_looked_for_once_a_minute(docker: Path) -> None:
    """One that is started later is found, and one that is gone is forgotten."""
    now = 0.0
    ports = PublishedPorts(monotonic=lambda: now)
    ours = {8088: {docker.stat().st_ino}}
    assert published(ports, ours) == {8088}
    docker.rmdir()
    now = 59.0
    assert published(ports, ours) == {8088}
    now = 60.0
    assert published(ports, ours) == set()
    docker.mkdir()
    now = 120.0
    assert published(ports, {8088: {docker.stat().st_ino}}) == {8088}


def test_a_machine_of_32_bits(docker: Path) -> None:
    """There a directory's number is the lower half of its cgroup's id."""
    assert published(PublishedPorts(), {8088: {docker.stat().st_ino | 1 << 32}, 8089: {1 << 32}}) == {8088}
