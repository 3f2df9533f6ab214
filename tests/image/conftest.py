"""A real Zabbix, podman, and the image, which is built as the documents say, once for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import tcp_status_sender
from lab.containers import Engine
from lab.documents import shell
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = Path(__file__).parents[2] / ".matrix" / "image" / "trixie"  # where `make test-image` makes it
BASE = "localhost/debian-python"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Yield podman and buildah, with the image of a Debian in place of the public base image."""
    with Engine(tmp_path_factory.mktemp("containers")) as engine:
        engine.make_base(RELEASE, BASE)
        yield engine


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """Return the name of the image, built from that base."""
    (build,) = shell("docs/containers.md", "Build the image")
    return engine.run(f"export BASE={BASE}\n{build}").splitlines()[-1]


@pytest.fixture(scope="session")
def zabbix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a real Zabbix into which the template was imported."""
    with ZabbixStack(tmp_path_factory.mktemp("zabbix")) as zabbix:
        zabbix.import_template(tcp_status_sender("template").stdout)
        yield zabbix
