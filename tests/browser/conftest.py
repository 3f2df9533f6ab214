"""Where the pictures of a run go."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --screenshots, which `make screenshots` uses."""
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="write the pictures of the documentation there")


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for pictures: a temporary one, unless asked for otherwise."""
    chosen: Path | None = request.config.getoption("--screenshots")
    if not chosen:
        return tmp_path_factory.mktemp("pictures")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen
