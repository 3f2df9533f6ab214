"""What the tests of the distributions' packages share: how one is built, and what a machine has of it. Needs root."""

from __future__ import annotations

import json
import re
import shutil
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import yaml

from lab.documents import REPOSITORY
from lab.handed_over import HandedOver
from lab.program import POLL_S, finish
from lab.trapper import RESET, Trapper, accept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.overlay import Overlay
    from lab.systemd import System

NAME = "tcp-status-sender"
HELPER = f"{NAME}-namespaces"
CONFIG = f"/etc/{NAME}/config.yaml"
KEY = f"/etc/{NAME}/psk"
SPOOL = f"/var/lib/{NAME}/spool.db"
NEXT = "9.8.7"
_NOT_CLONED = (".git", ".venv", ".matrix", "dist", ".*_cache", ".hypothesis", ".coverage*")


def cloned(clone: Path) -> Path:
    """Return `clone`, into which this repository was copied."""
    shutil.copytree(REPOSITORY, clone, ignore=shutil.ignore_patterns(*_NOT_CLONED))
    return clone


def built(clone: Path, command: str) -> Path:
    """Return the package that `command` builds in a clone; debhelper packs in a hurry."""
    hurry = ["DPKG_DEB_COMPRESSOR_TYPE=none", "MAKEFLAGS="]
    finish(["env", "--chdir", str(clone), *hurry, "sh", "-euc", command])
    (package,) = (path for kind in ("deb", "rpm") for path in clone.glob(f"dist/*.{kind}"))
    return package


def made_next(module: Path, config: Path) -> None:
    """Make `sender`'s first module say version 9.8.7, as it then sends it, and change the example configuration."""
    for file, old, new in (
        (module, r'__version__ = ".*"', f'__version__ = "{NEXT}"'),
        (config, r"\A", "# New words.\n"),
    ):
        text, count = re.subn(old, new, file.read_text())
        assert count == 1
        file.write_text(text)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


def samples(trapper: Trapper) -> list[int]:
    """Return the moments of the samples that came since it was configured."""
    wanted = ("web-01", "tcp.status[TOTAL]")
    return [value["clock"] for value in trapper.values if (value["host"], value["key"]) == wanted]


def assert_runs_as_its_user(system: System) -> None:
    """Fail unless the daemon and its spool are those of the package's user."""
    owner = system.run("id", "--user", NAME).strip()
    process = system.show(NAME, "MainPID")
    assert system.run("stat", "--format=%u", f"/proc/{process}").strip() == owner
    until(lambda: system.path(SPOOL).exists(), "a spool")
    assert system.run("stat", "--format=%u %a", f"/var/lib/{NAME}/.", SPOOL).splitlines() == [
        f"{owner} 700",
        f"{owner} 600",
    ]


def configured(system: System, trapper: Trapper) -> None:
    """Configure the daemon that runs, with a key beside, and wait until it delivers."""
    config = {"host": "web-01", "interval": "1s", "destinations": [{"nodes": [f"127.0.0.1:{trapper.port}"]}]}
    system.path(CONFIG).write_text(yaml.safe_dump(config))
    system.path(KEY).write_text("00" * 32)
    system.run("systemctl", "reload", NAME)
    until(lambda: len(samples(trapper)) > 1, "samples that are delivered")


def helper_turned_on(system: System) -> None:
    """Turn the helper for network namespaces on, which is off as installed, and hear of a namespace from it."""
    assert system.show(f"{HELPER}.socket", "UnitFileState") == "disabled"
    assert system.show(f"{HELPER}.socket", "ActiveState") == "inactive"
    system.run("systemctl", "enable", "--now", f"{HELPER}.socket")
    system.run("ip", "netns", "add", "vpn")
    with HandedOver(system.path(f"/run/{HELPER}.sock")) as client:
        assert "vpn" in client.hear_list().names.values()
    system.run("ip", "netns", "del", "vpn")


def upgraded_while_away(system: System, trapper: Trapper, upgrade: Callable[[], str]) -> str:
    """Return what `upgrade` says: done while Zabbix is away, it changes both processes, and loses no sample and no setting."""
    before = {unit: system.show(unit, "MainPID") for unit in (NAME, HELPER)}
    config = system.path(CONFIG).read_text()
    trapper.answer = lambda _: RESET
    last = max(samples(trapper))
    until(lambda: time.time() > last + 3, "samples that wait")
    said = upgrade()
    assert system.path(CONFIG).read_text() == config
    for unit, process in before.items():
        assert system.show(unit, "MainPID") not in {process, "0"}
    assert system.show(f"{HELPER}.socket", "ActiveState") == "active"
    trapper.answer = accept
    until(lambda: NEXT in {value["value"] for value in trapper.values}, "the new version's samples")
    moments = sorted(set(samples(trapper)))
    assert {last + 1, last + 2} <= set(moments)
    gaps = [after - before for before, after in pairwise(moments) if after - before > 1]
    assert len(gaps) <= 1, moments  # while one had stopped, and the other had not begun
    return said


def assert_stopped(system: System) -> None:
    """Fail unless daemon and helper have stopped, and no library is left."""
    assert [system.show(each, "ActiveState") for each in (NAME, HELPER, f"{HELPER}.socket")] == ["inactive"] * 3
    assert not system.path(f"/usr/lib/{NAME}").exists()


def delivered(folder: Overlay, trapper: Trapper, user: str = "root") -> None:
    """Take one sample in a folder where the package is, and deliver it."""
    settings = {"host": "web-01", "destinations": [{"nodes": [trapper.node]}], "spool": {"path": "/srv/state/spool.db"}}
    folder.path("/srv/config.yaml").write_text(json.dumps(settings))
    folder.inside("install", "--directory", f"--owner={user}", "/srv/state")
    came = len(trapper.requests)
    folder.inside(f"/usr/bin/{NAME}", "run", "--once", "--config", "/srv/config.yaml", user=f"{user}:{user}")
    values = [value for request in trapper.requests[came:] for value in request["data"]]
    assert ("web-01", "tcp.status[LISTEN]") in {(value["host"], value["key"]) for value in values}
