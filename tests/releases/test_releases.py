"""Each package on the Python that it is for; that of Debian 13 is installed in one, which debootstrap has made. Needs root.

A Python of this machine stands for that of another release. Those of which this machine has none are not tested.
"""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lab.documents import REPOSITORY
from lab.overlay import Overlay
from lab.packages import NAME, built, cloned, delivered
from lab.program import StackError, finish
from lab.trapper import Trapper

if TYPE_CHECKING:
    from collections.abc import Set  # noqa: PYI025
    from pathlib import Path

TRIXIE = REPOSITORY / ".matrix" / "release" / "trixie"  # where `make test-releases` makes it
DEBIAN_13 = "make deb FOR=debian13"
PACKAGES = {
    "make deb FOR=debian12": "3.11",
    DEBIAN_13: "3.13",
    "make deb FOR=ubuntu22.04": "3.10",
    "make deb FOR=ubuntu24.04": "3.12",
    "make deb FOR=ubuntu26.04": "3.14",
    "make rpm": "3.12",
    "make rpm PYTHON=3.11": "3.11",
}
UNPACK = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"'


def pythons() -> dict[str, str]:
    """Return the Pythons of this machine by minor version."""
    found = subprocess.run([REPOSITORY / ".ci/pythons"], capture_output=True, text=True, check=True, env=os.environ)
    return dict(line.split("=", 1) for line in found.stdout.splitlines())


PYTHONS = pythons()


def unpack(folder: Overlay, package: Path) -> None:
    """Unpack it, whatever Python the package manager would miss."""
    if package.suffix == ".deb":
        folder.beside("sh", "-euc", UNPACK, "sh", str(package), str(folder.root))
    else:
        folder.beside("rpm", "--root", str(folder.root), "--nodeps", "--install", str(package))


def missing(folder: Overlay, python: str) -> Set[str]:
    """Return which libraries the package lacks that its own ask for on this Python: pip asks for those of its own Python."""
    (libraries,) = folder.path(f"/usr/lib/{NAME}/lib").glob("python*/site-packages")
    found = list(distributions(path=[str(libraries)]))
    wanted = [Requirement(each) for distribution in found for each in distribution.requires or []]
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    needed = {each.name for each in wanted if each.marker is None or each.marker.evaluate(environment)}
    assert needed
    return {canonicalize_name(each) for each in needed} - {canonicalize_name(each.name) for each in found}


@pytest.mark.parametrize("command", [each for each, python in PACKAGES.items() if python in PYTHONS])
def test_it_delivers_on_its_python(tmp_path: Path, command: str) -> None:
    """With all libraries for that Python, whichever one has built it."""
    python = PACKAGES[command]
    package = built(cloned(tmp_path / "clone"), command)
    with Overlay(tmp_path) as folder, Trapper() as trapper:
        unpack(folder, package)
        if not folder.path(f"/usr/bin/python{python}").exists():
            folder.path(f"/usr/bin/python{python}").symlink_to(PYTHONS[python])
        modules = [path.name for path in folder.path(f"/usr/lib/{NAME}").rglob("*.so")]
        assert modules
        assert all(f".cpython-{python.replace('.', '')}-" in each for each in modules)
        assert missing(folder, python) == set()
        assert folder.inside(
            f"/usr/lib/{NAME}/bin/python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"
        ) == (f"{python}\n")
        for each in ("run", "show", "provision", "namespaces"):  # which between them need every library
            folder.inside(f"/usr/bin/{NAME}", each, "--help")
        folder.inside(f"/usr/bin/{NAME}", "show")
        delivered(folder, trapper)


def test_debian_13(tmp_path: Path) -> None:
    """The next release of Debian refuses the package of another, installs its own, delivers, and has nothing of it when purged."""
    clone = cloned(tmp_path / "clone")
    other = built(clone, "make deb FOR=debian12").rename(tmp_path / "other.deb")
    package = built(clone, DEBIAN_13)
    newer = finish(["dpkg-deb", "--field", str(package), "Version"]).strip()
    older = finish(["dpkg-deb", "--field", str(other), "Version"]).strip()
    finish(["dpkg", "--compare-versions", newer, "gt", older])  # so a host that goes to the next release upgrades it
    with Overlay(tmp_path, TRIXIE) as folder, Trapper() as trapper:
        for each in (package, other):
            folder.path(f"/srv/{each.name}").write_bytes(each.read_bytes())
        before = folder.written()
        with pytest.raises(StackError, match=r"depends on python3 \(<< 3\.12~\)"):
            folder.inside("dpkg", "--install", f"/srv/{other.name}")
        folder.inside("dpkg", "--purge", NAME)
        folder.inside("dpkg", "--install", f"/srv/{package.name}")
        delivered(folder, trapper, user=NAME)
        folder.inside("dpkg", "--purge", NAME)
        assert [each for each in set(folder.written()) - set(before) if NAME in each] == []
