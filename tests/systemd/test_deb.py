"""The Debian package's life in a real systemd: built, installed, upgraded, removed and purged. Needs root."""

from __future__ import annotations

import re
import shutil
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import yaml

from lab.documents import REPOSITORY, shell
from lab.handed_over import HandedOver
from lab.namespace import entered
from lab.program import POLL_S, finish
from lab.systemd import System
from lab.trapper import RESET, Trapper, accept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "tcp-status-sender"
CONFIG = f"/etc/{NAME}/config.yaml"
SPOOL = f"/var/lib/{NAME}/spool.db"
PLACES = (
    f"/etc/{NAME}",
    f"/lib/systemd/system/{NAME}.service",
    f"/etc/systemd/system/multi-user.target.wants/{NAME}.service",
    *(f"/lib/systemd/system/{NAME}-namespaces.{kind}" for kind in ("service", "socket")),
    f"/etc/systemd/system/sockets.target.wants/{NAME}-namespaces.socket",
    f"/var/lib/{NAME}",
    f"/var/lib/private/{NAME}",
    f"/usr/lib/{NAME}",
    f"/usr/bin/{NAME}",
    f"/usr/lib/sysusers.d/{NAME}.conf",
)
HELPER = f"{NAME}-namespaces"
NEXT = "9.8.7"
NOT_CLONED = (".git", ".venv", ".matrix", "dist", ".*_cache", ".hypothesis", ".coverage*")


def built(clone: Path, command: str) -> Path:
    """Build the package in a clone of this repository, packed in a hurry, and return where it is."""
    shutil.copytree(REPOSITORY, clone, ignore=shutil.ignore_patterns(*NOT_CLONED))
    finish(["env", "--chdir", str(clone), "DPKG_DEB_COMPRESSOR_TYPE=none", "MAKEFLAGS=", "sh", "-euc", command])
    (package,) = clone.glob("dist/*.deb")
    return package


def its_next(package: Path, folder: Path) -> Path:
    """Return the same as version 9.8.7, as it says in what it sends; the example configuration has changed, too."""
    finish(["dpkg-deb", "--raw-extract", str(package), str(folder)])
    (module,) = folder.glob("usr/lib/*/lib/python3*/site-packages/sender/__init__.py")
    for file, old, new in (
        (folder / "DEBIAN/control", r"(?m)^Version: .*", f"Version: {NEXT}-1"),
        (folder / f"etc/{NAME}/config.yaml", r"\A", "# New words.\n"),
        (module, r'__version__ = ".*"', f'__version__ = "{NEXT}"'),
    ):
        text, count = re.subn(old, new, file.read_text())
        assert count == 1
        file.write_text(text)
    upgrade = folder.with_suffix(".deb")
    finish(["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(folder), str(upgrade)])
    return upgrade


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


def dpkg(system: System, *arguments: str) -> str:
    """As an admin runs it, with nobody to answer questions; what it says."""
    return system.run("sh", "-c", 'dpkg "$@" </dev/null 2>&1', "dpkg", *arguments)


def installed(system: System, package: Path, command: str) -> None:
    """Copy the package to the machine and install it there, by a command that expects it in dist/."""
    system.path("/run/dist").mkdir()
    system.path(f"/run/dist/{package.name}").write_bytes(package.read_bytes())
    system.run("env", "--chdir=/run", "DEBIAN_FRONTEND=noninteractive", "sh", "-euc", command)


def upgraded(system: System, package: Path) -> str:
    """Copy the package to the machine, install it over the one there, and return what dpkg says."""
    system.path("/run/it.deb").write_bytes(package.read_bytes())
    return dpkg(system, "--force-confold", "--install", "/run/it.deb")


def left(system: System) -> list[str]:
    """Return what is there of the package."""
    places = [place for place in PLACES if system.run("sh", "-c", f"ls -d {place} 2>/dev/null || true")]
    return places + system.run("sh", "-c", f"getent passwd {NAME}; getent group {NAME}; true").splitlines()


def samples(trapper: Trapper) -> list[int]:
    """Return the moments of the samples that came since it was configured."""
    wanted = ("web-01", "tcp.status[TOTAL]")
    return [value["clock"] for value in trapper.values if (value["host"], value["key"]) == wanted]


def test_the_life_of_the_package(tmp_path: Path) -> None:
    """It runs when it is installed, as its own user; an upgrade keeps configuration, key and all samples; purged, it is gone."""
    build, install = shell("README.md", "Quick start")[0].splitlines()
    package = built(tmp_path / "clone", build)
    upgrade = its_next(package, tmp_path / "next")
    with System(tmp_path) as system, entered(system.pid):
        trapper = Trapper()
        system.run("rm", "-rf", f"/usr/local/bin/{NAME}", f"/etc/{NAME}", "/usr/sbin/policy-rc.d")
        assert left(system) == []
        with trapper:
            installed(system, package, install)
            life(system, trapper, upgrade)


def life(system: System, trapper: Trapper, upgrade: Path) -> None:
    """All of it."""
    # Installed, it runs at once, with the example as its configuration.
    assert system.show(NAME, "ActiveState") == "active"
    assert system.show(NAME, "UnitFileState") == "enabled"
    assert system.path(CONFIG).read_bytes() == (REPOSITORY / "config.example.yaml").read_bytes()
    system.path("/run/json.py").write_text("raise SystemExit('not json')")
    assert system.run("env", "PYTHONPATH=/run", f"/usr/bin/{NAME}", "--version").startswith(NAME)
    assert list(system.path(f"/usr/lib/{NAME}").rglob("sender/commands/__pycache__/run.*.pyc"))
    owner = system.run("id", "--user", NAME).strip()
    assert system.run("stat", "--format=%u %a", f"/var/lib/{NAME}/.", SPOOL).splitlines() == [
        f"{owner} 700",
        f"{owner} 600",
    ]
    process = system.show(NAME, "MainPID")
    assert system.run("stat", "--format=%u", f"/proc/{process}").strip() == owner

    # Configured, it delivers.
    config = {"host": "web-01", "interval": "1s", "destinations": [{"nodes": [f"127.0.0.1:{trapper.port}"]}]}
    system.path(CONFIG).write_text(yaml.safe_dump(config))
    system.path(f"/etc/{NAME}/psk").write_text("00" * 32)
    system.run("systemctl", "reload", NAME)
    until(lambda: len(samples(trapper)) > 1, "samples that are delivered")

    # The helper for network namespaces is off, until it is turned on.
    assert system.show(f"{HELPER}.socket", "UnitFileState") == "disabled"
    assert system.show(f"{HELPER}.socket", "ActiveState") == "inactive"
    system.run("systemctl", "enable", "--now", f"{HELPER}.socket")
    system.run("ip", "netns", "add", "vpn")
    with HandedOver(system.path(f"/run/{HELPER}.sock")) as client:
        assert "vpn" in client.hear_list().names.values()
    system.run("ip", "netns", "del", "vpn")
    helper = system.show(HELPER, "MainPID")

    # Upgraded while Zabbix is away, it is another process of the new version, with the old configuration and spool.
    trapper.answer = lambda _: RESET
    last = max(samples(trapper))
    until(lambda: time.time() > last + 3, "samples that wait")
    said = upgraded(system, upgrade)
    assert "Configuration file" in said
    assert yaml.safe_load(system.path(CONFIG).read_text()) == config
    assert system.show(NAME, "MainPID") != process
    assert system.show(HELPER, "MainPID") not in {helper, "0"}
    assert system.show(f"{HELPER}.socket", "ActiveState") == "active"
    trapper.answer = accept
    until(lambda: NEXT in {value["value"] for value in trapper.values}, "the new version's samples")
    moments = sorted(set(samples(trapper)))
    assert {last + 1, last + 2} <= set(moments)
    gaps = [after - before for before, after in pairwise(moments) if after - before > 1]
    assert len(gaps) <= 1, moments  # while one had stopped, and the other had not begun

    # Removed, it has stopped, and its configuration and spool wait for it to come back.
    dpkg(system, "--remove", NAME)
    assert [system.show(each, "ActiveState") for each in (NAME, HELPER, f"{HELPER}.socket")] == ["inactive"] * 3
    assert not system.path(f"/usr/lib/{NAME}").exists()
    assert system.run("ls", CONFIG, f"/etc/{NAME}/psk", SPOOL)

    dpkg(system, "--purge", NAME)
    assert left(system) == []
