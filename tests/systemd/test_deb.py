"""The Debian package's life in a real systemd: built, installed, upgraded, removed and purged. Needs root."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lab.documents import REPOSITORY, shell
from lab.namespace import entered
from lab.packages import (
    CONFIG,
    KEY,
    NAME,
    NEXT,
    SPOOL,
    assert_runs_as_its_user,
    assert_stopped,
    built,
    cloned,
    configured,
    helper_turned_on,
    made_next,
    upgraded_while_away,
)
from lab.program import StackError, finish
from lab.systemd import UNITS, System
from lab.trapper import Trapper

if TYPE_CHECKING:
    from pathlib import Path

STATUS = "/var/lib/dpkg/status"
# Where nobody has installed build-essential, as on a host that is new.
NOT_ESSENTIAL = f"""unshare --mount sh -euc '
sed "/^Package: build-essential$/,/^$/d" {STATUS} >status
mount --bind status {STATUS}
{{command}}'"""
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


def its_next(package: Path, folder: Path) -> Path:
    """Return the same as version 9.8.7, as it says in what it sends; the example configuration has changed, too."""
    finish(["dpkg-deb", "--raw-extract", str(package), str(folder)])
    (module,) = folder.glob("usr/lib/*/lib/python3*/site-packages/sender/__init__.py")
    made_next(module, folder / f"etc/{NAME}/config.yaml")
    control = folder / "DEBIAN/control"
    text, count = re.subn(r"(?m)^(Version: )[^-]*", rf"\g<1>{NEXT}", control.read_text())
    assert count == 1
    control.write_text(text)
    upgrade = folder.with_suffix(".deb")
    finish(["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(folder), str(upgrade)])
    return upgrade


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


def test_an_unknown_release(tmp_path: Path) -> None:
    """A release whose Python is not known is an error that names those that are."""
    with pytest.raises(
        StackError, match=r"debian99 .* Take one of debian12, debian13, ubuntu22\.04, ubuntu24\.04, ubuntu26\.04"
    ):
        built(cloned(tmp_path / "clone"), "make deb FOR=debian99")


def test_the_life_of_the_package(tmp_path: Path) -> None:
    """Built without build-essential, it does not run before it is started, then as its own user; an upgrade keeps configuration, key and all samples; purged, it is gone."""
    build, install = shell("README.md", "Quick start")[0].splitlines()
    package = built(cloned(tmp_path / "clone"), NOT_ESSENTIAL.format(command=build))
    # For this machine's release, which its version says, and for the Python of that.
    assert re.fullmatch(rf"{NAME}_[\d.]+-1\+debian12_[a-z0-9]+\.deb", package.name)
    assert "python3 (>= 3.11~), python3 (<< 3.12~)" in finish(["dpkg-deb", "--field", str(package), "Depends"])
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
    # Installed, it waits to be configured, with the example as its configuration.
    assert system.show(NAME, "ActiveState") == "inactive"
    assert system.show(NAME, "UnitFileState") == "disabled"
    assert system.path(CONFIG).read_bytes() == (REPOSITORY / "config.example.yaml").read_bytes()
    system.path("/run/json.py").write_text("raise SystemExit('not json')")
    assert system.run("env", "PYTHONPATH=/run", f"/usr/bin/{NAME}", "--version").startswith(NAME)
    assert list(system.path(f"/usr/lib/{NAME}").rglob("sender/commands/__pycache__/run.*.pyc"))
    system.run("systemctl", "enable", "--now", NAME)
    assert_runs_as_its_user(system)
    configured(system, trapper)
    helper_turned_on(system)
    assert "Configuration file" in upgraded_while_away(system, trapper, lambda: upgraded(system, upgrade))

    # Removed, it has stopped, and its configuration and spool wait for it to come back.
    dpkg(system, "--remove", NAME)
    assert_stopped(system)
    assert system.run("ls", CONFIG, KEY, SPOOL)

    # Purged, it is gone, and says what is not: the settings of its unit that are the admin's.
    drop_in = f"{UNITS}/{NAME}.service.d"
    system.run("mkdir", "-p", drop_in)
    said = dpkg(system, "--purge", NAME)
    assert left(system) == []
    assert f"{drop_in} is left" in said
