"""The README, where it repeats what the program knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sender.config import Settings
from sender.items import DISCOVERIES, KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_table_of_items_is_complete() -> None:
    """Every key that is sent has its line in a table, in the order in which it is sent; those of a port with STATE and PORT."""
    host, ports = list(KEYS), [key for keys in DISCOVERIES.values() for key in keys]
    general = dict.fromkeys(re.sub(r"\[[A-Z_0-9]+,", "[STATE,", key).replace("{#PORT}", "PORT") for key in ports)
    assert re.findall(r"^\| `(tcp\.[^`]+)` \|", README, re.MULTILINE) == [*host, *DISCOVERIES, *general]


def snippets() -> Iterator[str]:
    """The indented blocks of the README."""
    for block in re.findall(r"(?:^ {4,}.*\n)+", README, re.MULTILINE):
        yield re.sub(r"^ {4,7}", "", block, flags=re.MULTILINE)


def test_the_configuration_is_valid() -> None:
    """The configuration that the README shows is one."""
    (shown,) = [block for block in snippets() if block.startswith("host:")]
    assert Settings.model_validate(yaml.safe_load(shown)).host == "web-01"


@pytest.mark.parametrize("key", ["agent_config", "autoregistration"])
def test_what_else_can_be_configured_is_valid(key: str) -> None:
    """So are the keys that it shows alone."""
    (shown,) = [block for block in snippets() if block.startswith(f"{key}:")]
    assert getattr(Settings.model_validate(yaml.safe_load(shown)), key)


def test_every_target_exists() -> None:
    """Each `make` target that the README names is one of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets
