"""What tells one network namespace from another, from files as Linux and container engines have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sender.commands.check import namespace as subject
from sender.commands.check.namespace import check_namespace
from sender.daemon import surroundings
from sender.kernel import namespaces
from sender.settings import section
from sender.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOUNTS = """\
22 29 0:21 / /sys rw,nosuid - sysfs sysfs rw
121 120 0:4 net:[4026532398] /run/docker/netns/1e5b rw shared:2 - nsfs nsfs rw
122 120 0:4 net:[4026532398] /run/netns/the-same rw shared:2 - nsfs nsfs rw
123 120 0:4 net:[4026532512] /run/netns/cni-7 rw - nsfs nsfs rw
124 120 0:4 mnt:[4026532600] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a directory with the files that tell: at first those of a host without containers."""
    for name in (namespaces.OF_A_POD, namespaces.KIND):
        monkeypatch.delenv(name, raising=False)
    for name in ("IN_FIRST_ALONE", "IN_EVERY_ONE", "MOUNTS", "WHOLE_SYSTEM"):
        monkeypatch.setattr(namespaces, name, tmp_path / name)
    monkeypatch.setattr(namespaces, "SIGNS", {tmp_path / ".dockerenv": "docker"})
    for name in ("IN_FIRST_ALONE", "IN_EVERY_ONE"):
        (tmp_path / name).write_text("4096\n")
    return tmp_path


def found(daemon: int | None = None) -> list[tuple[str, str]]:
    """Return the results with what was found."""
    return [(each.result, each.found) for each in check_namespace(daemon)]


def test_a_host_without_containers(place: Path) -> None:
    """There is nothing to say; nor where /proc hides what tells, or the mounts."""
    assert found() == []
    for path in list(place.iterdir()):
        path.unlink()
    assert found() == []


def test_what_nobody_may_look_at_says_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may look everywhere: a name that is too long stands for a denied one."""
    denied = place / ("x" * 300)
    for name in ("IN_FIRST_ALONE", "IN_EVERY_ONE", "MOUNTS", "WHOLE_SYSTEM"):
        monkeypatch.setattr(namespaces, name, denied)
    monkeypatch.setattr(namespaces, "SIGNS", {denied: "docker"})
    assert found() == []
    assert namespaces.container() == ("", False)


def test_a_host_with_containers(place: Path) -> None:
    """Each network namespace that is mounted counts once; other kinds of namespaces do not."""
    (place / "MOUNTS").write_text(MOUNTS)
    assert found() == [
        ("ok", "2 other network namespaces, of containers for example: their sockets are not counted here")
    ]


def test_a_container_of_one_program(place: Path) -> None:
    """It is not the host, and somebody who looks for the host's sockets has to be told."""
    (place / "IN_FIRST_ALONE").unlink()
    (place / ".dockerenv").touch()
    ((result, text),) = found()
    assert (result, "(docker)" in text) == ("warn", True)


def test_a_container_with_the_hosts_network(place: Path) -> None:
    """What is counted there is the host's."""
    (place / ".dockerenv").touch()
    assert found() == []


def test_a_container_of_a_whole_system(place: Path) -> None:
    """To whoever works there it is a host, and all is well."""
    (place / "IN_FIRST_ALONE").unlink()
    (place / "WHOLE_SYSTEM").write_text("lxc\n")
    ((result, text),) = found()
    assert (result, "(lxc)" in text) == ("ok", True)


@pytest.mark.usefixtures("place")
def test_a_daemon_in_another_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """PrivateNetwork= in its unit, say: it counts nothing, and `check` on the host would find everything well."""
    monkeypatch.setattr(subject, "is_elsewhere", lambda process: process == 4711)
    ((result, text),) = found(4711)
    assert (result, "process 4711" in text) == ("warn", True)
    assert found(1) == []


KINDS = {"docker": "--network host", "podman": "Network=host", "kubernetes": "hostNetwork: true", "": "PrivateNetwork="}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_container_is_told_what_to_set(
    place: Path, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]], kind: str
) -> None:
    """`check` and the daemon's first line name the setting of the engine whose container this is."""
    (place / "IN_FIRST_ALONE").unlink()
    monkeypatch.setattr(namespaces, "SIGNS", {place / ".sign": "docker"})
    if kind == "kubernetes":
        monkeypatch.setenv(namespaces.OF_A_POD, "10.96.0.1")
    elif kind == "podman":
        monkeypatch.setenv(namespaces.KIND, kind)
    elif kind:
        (place / ".sign").touch()
    (result,) = check_namespace(None)
    assert KINDS[kind] in result.advice
    surroundings.warn(Settings())
    (line,) = logged()
    assert (KINDS[kind] in line, f"({kind})" in line) == (True, bool(kind))


def test_the_daemon_says_nothing_where_all_is_well(
    place: Path, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]]
) -> None:
    """On a host, in a container that sees the host's network and cgroups, and in one of a whole system."""
    monkeypatch.setattr("sender.daemon.surroundings.to_know_them", lambda: "")
    surroundings.warn(Settings())
    (place / ".dockerenv").touch()
    surroundings.warn(Settings())
    (place / "IN_FIRST_ALONE").unlink()
    (place / "WHOLE_SYSTEM").write_text("lxc\n")
    surroundings.warn(Settings())
    assert logged() == []


@pytest.mark.usefixtures("place")
def test_the_daemon_says_where_owners_are_hidden(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]]
) -> None:
    """Once, with what to mount; not where nobody wants them."""
    monkeypatch.setattr("sender.daemon.surroundings.to_know_them", lambda: "Mount them.")
    monkeypatch.setattr("sender.daemon.surroundings.why_unknown", lambda: "it is a container")
    surroundings.warn(Settings())
    surroundings.warn(section.read(Settings, {"services": {"report": False}}))
    (line,) = logged()
    assert line.endswith("not reported: it is a container. Mount them.")
