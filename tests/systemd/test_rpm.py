"""The RPM's life: built, installed, upgraded and removed, in a real systemd and in a folder without one. Needs root.

Debian's Python stands for that of Enterprise Linux. What rpm has not installed here, such as the C library, a package without any
file says to have.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.documents import REPOSITORY
from lab.namespace import entered
from lab.overlay import Overlay
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
    delivered,
    helper_turned_on,
    made_next,
    upgraded_while_away,
)
from lab.program import StackError, finish
from lab.systemd import System
from lab.trapper import Trapper

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("rpm")  # one worker builds both packages, for all
PYTHON = "3.11"  # Debian 12's, and one of Enterprise Linux
GLIBC = (2, 28)  # of Enterprise Linux 8
RPM = ("rpm", "--dbpath=/var/lib/rpm")  # Debian's own is elsewhere
STAND_IN = """
Name: enterprise-linux
Version: 8
Release: 1
Summary: What a host has
License: MIT
BuildArch: noarch
{provides}
%description
%files
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of this repository."""
    return cloned(tmp_path_factory.mktemp("rpm") / "clone")


@pytest.fixture(scope="module")
def package(clone: Path) -> Path:
    """Return the package for Debian's Python."""
    package = built(clone, f"make rpm PYTHON={PYTHON}")
    return package.rename(clone.parent / package.name)


@pytest.fixture(scope="module")
def upgrade(clone: Path, package: Path) -> Path:  # noqa: ARG001  built before the clone changes
    """Return the next version."""
    made_next(clone / "sender/__init__.py", clone / "config.example.yaml")
    return built(clone, f"make rpm PYTHON={PYTHON}")


@pytest.fixture(scope="module")
def host(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a package that has what `package` needs, as a host of Enterprise Linux has it."""
    folder = tmp_path_factory.mktemp("host")
    provides = "\n".join(f"Provides: {each}" for each in needs(package))
    (folder / "host.spec").write_text(STAND_IN.format(provides=provides))
    finish(
        ["rpmbuild", "-bb", "--define", f"_topdir {folder}", "--define", "debug_package %{nil}", f"{folder}/host.spec"]
    )
    (built_here,) = folder.rglob("*.rpm")
    return built_here


def needs(package: Path) -> list[str]:
    """Return what a host must have."""
    listed = finish([*RPM, "--query", "--requires", "--package", str(package)]).splitlines()
    return sorted({each for each in listed if not each.startswith(("rpmlib(", "config("))})


def rpm(system: System, *arguments: str) -> str:
    """As an admin runs it; what it says, without Debian's warning that it is no tool of Debian's."""
    said = system.run("sh", "-c", '"$@" 2>&1', "sh", *RPM, *arguments)
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith("rpm: "))


def copied(system: System, package: Path) -> str:
    """Return where on the machine the package is that was copied there."""
    system.path(f"/run/{package.name}").write_bytes(package.read_bytes())
    return f"/run/{package.name}"


def test_what_the_package_says(package: Path) -> None:
    """Its name says for which Python and since which release it is, and it runs on nothing else; rpmlint finds nothing."""
    assert re.fullmatch(rf"{NAME}-[\d.]+-1\.py311\.el8\.\w+\.rpm", package.name)
    needed = needs(package)
    assert [each for each in needed if not each.startswith(("lib", "ld-", "rtld"))] == [
        "/bin/sh",
        f"/usr/bin/python{PYTHON}",
        "systemd",
    ]
    symbols = re.findall(r"\(GLIBC_(\d+)\.(\d+)", "\n".join(needed))
    assert symbols
    assert max((int(major), int(minor)) for major, minor in symbols) <= GLIBC
    provided = finish([*RPM, "--query", "--provides", "--package", str(package)])
    assert {each.split(" ")[0].split("(")[0] for each in provided.splitlines()} == {NAME, "bundled", "config"}
    assert "bundled(python3dist(pyroute2)) = " in provided
    found = subprocess.run(
        ["rpmlint", "--config", f"{REPOSITORY}/packaging/rpm/rpmlint.toml", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 packages and 0 specfiles checked; 0 errors, 0 warnings" in found.stdout


def test_a_bad_python(clone: Path) -> None:
    """A Python that cannot be meant is an error that says what is expected."""
    with pytest.raises(StackError, match=r"PYTHON=3.9 is not a minor version of Python from 3.10 up, such as 3.12"):
        built(clone, "make rpm PYTHON=3.9")


def test_the_life_of_the_package(tmp_path: Path, package: Path, upgrade: Path, host: Path) -> None:
    """Started as the README says it runs as its own user; an upgrade keeps configuration, key and all samples; removed, these stay."""
    with System(tmp_path) as system, entered(system.pid):
        system.run("rm", "-rf", f"/usr/local/bin/{NAME}", f"/etc/{NAME}", "/var/lib/rpm")
        preset = system.path("/etc/systemd/system-preset/99-default-disable.preset")  # as Enterprise Linux has it
        preset.parent.mkdir(parents=True, exist_ok=True)
        preset.write_text("disable *\n")
        with pytest.raises(StackError, match=rf"/usr/bin/python{PYTHON} is needed by {NAME}"):
            rpm(system, "--install", copied(system, package))
        rpm(system, "--install", copied(system, host))
        with Trapper() as trapper:
            life(system, trapper, package, upgrade)


def life(system: System, trapper: Trapper, package: Path, upgrade: Path) -> None:
    """All of it."""
    # Installed, it waits for somebody to start it. All of it is as packaged, modules are compiled.
    said = rpm(system, "--upgrade", copied(system, package))
    assert [line.split("'")[0] for line in said.splitlines()] == ["Creating group ", "Creating user "]
    assert (system.show(NAME, "ActiveState"), system.show(NAME, "UnitFileState")) == ("inactive", "disabled")
    assert rpm(system, "--verify", NAME) == ""
    assert list(system.path(f"/usr/lib/{NAME}").rglob("sender/commands/__pycache__/run.*.pyc"))
    assert system.path(CONFIG).read_bytes() == (REPOSITORY / "config.example.yaml").read_bytes()
    system.run("systemctl", "enable", "--now", NAME)
    assert_runs_as_its_user(system)
    configured(system, trapper)
    helper_turned_on(system)

    assert f"{CONFIG}.rpmnew" in upgraded_while_away(
        system, trapper, lambda: rpm(system, "--upgrade", copied(system, upgrade))
    )
    assert system.path(f"{CONFIG}.rpmnew").read_text().startswith("# New words.")
    assert NEXT in system.run(f"/usr/bin/{NAME}", "--version")
    assert re.fullmatch(rf"\S+  c {CONFIG}\n", system.run("sh", "-c", f"{' '.join(RPM)} --verify {NAME} || true"))

    # Removed, it has stopped, and will not start. Configuration, key and spool wait for it to come back, as does its user.
    rpm(system, "--erase", NAME)
    assert_stopped(system)
    assert system.show(NAME, "LoadState") == "not-found"
    kept = (f"{CONFIG}.rpmsave", f"{CONFIG}.rpmnew", KEY)
    assert sorted(system.run("find", f"/etc/{NAME}", "-type", "f").split()) == sorted(kept)
    assert system.path(SPOOL).exists()
    assert system.run("getent", "passwd", NAME)
    assert system.run("find", "/etc/systemd", "/usr/lib/systemd", "-name", f"{NAME}*") == ""


def test_in_a_folder(tmp_path: Path, package: Path, upgrade: Path, host: Path) -> None:
    """Without a running systemd too it is installed, delivers, is upgraded, and leaves nothing but its user."""
    with Overlay(tmp_path) as folder, Trapper() as trapper:
        folder.beside("rm", "-rf", f"{folder.root}/etc/{NAME}", f"{folder.root}/var/lib/{NAME}")
        into = (*RPM, "--root", str(folder.root))
        folder.beside(*into, "--install", str(host))
        before = folder.written()
        folder.beside(*into, "--install", str(package))
        # As this folder's presets say, which are Debian's; but never the helper.
        units = [each for each in folder.written() if each.startswith("/etc/systemd/system/")]
        assert units == [f"/etc/systemd/system/multi-user.target.wants/{NAME}.service"]
        for version in (package, upgrade):
            folder.beside(*into, "--upgrade", "--replacepkgs", str(version))
            assert folder.beside(*into, "--verify", NAME) == ""
            delivered(folder, trapper, user=NAME)
        assert NEXT in {value["value"] for value in trapper.values}
        folder.beside(*into, "--erase", NAME)
        changed = {each for each in set(folder.written()) ^ set(before) if not each.startswith("/var/lib/rpm/")}
        users = {f"/etc/{file}{old}" for file in ("passwd", "group", "shadow", "gshadow") for old in ("", "-")}
        assert changed == users | {"/etc/.pwd.lock", "/srv/config.yaml"}
        assert folder.inside("getent", "passwd", NAME)
