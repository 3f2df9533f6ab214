"""The wheel as it is built from here: what an admin who has nothing else finds in it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from sender.commands import template

REPOSITORY = Path(__file__).parents[2]
DATA = {
    "share/tcp-status-sender/config.example.yaml": "config.example.yaml",
    "share/tcp-status-sender/tcp-status-sender.service": "packaging/tcp-status-sender.service",
    **{
        f"share/tcp-status-sender/tcp-status-sender-namespaces.{kind}": f"packaging/tcp-status-sender-namespaces.{kind}"
        for kind in ("service", "socket")
    },
    "share/man/man1/tcp-status-sender.1": "packaging/tcp-status-sender.1",
}
TEMPLATES = template.FORMATS.values()


def built(source: Path, into: Path, *targets: str) -> Path:
    """Return the wheel of `source`, and with further `targets` those beside it."""
    wanted = [word for target in ("wheel", *targets) for word in ("--target", target)]
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--directory", into, *wanted], cwd=source, check=True)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that holds the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    built(REPOSITORY, folder, "sdist")
    return folder


def test_it_is_complete(folder: Path) -> None:
    """Beside the package and all templates it holds the example configuration, the unit and the manual page, as they are."""
    with ZipFile(next(folder.glob("*.whl"))) as wheel:
        held = {name.partition(".data/data/")[2] or name: wheel.read(name) for name in wheel.namelist()}
    expected = {name: (REPOSITORY / source).read_bytes() for name, source in DATA.items()}
    expected |= {f"sender/templates/{name}": (REPOSITORY / "templates" / name).read_bytes() for name in TEMPLATES}
    modules = [path for path in (REPOSITORY / "sender").rglob("*") if path.suffix in {".py", ".typed"}]
    expected |= {str(path.relative_to(REPOSITORY)): path.read_bytes() for path in modules}
    assert {name: held[name] for name in held if ".dist-info/" not in name} == expected


def test_the_source_distribution_builds_the_same(folder: Path, tmp_path: Path) -> None:
    """What is built from it is the same wheel, byte for byte."""
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    wheel = built(source, tmp_path / "dist")
    assert wheel.read_bytes() == (folder / wheel.name).read_bytes()
