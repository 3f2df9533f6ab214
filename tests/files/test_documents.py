"""README and docs/: what they repeat is true, where they lead exists, and each command in them is run by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from lab import documents
from lab.documents import DOCUMENTS, REPOSITORY
from sender.items import DISCOVERIES, KEYS, LOCAL, NAMESPACES, REMOTE, TEXTS, UNITS
from sender.settings import section
from sender.settings.schema import Settings

TESTS = Path(__file__).parents[1]
PAGES = [str(path.relative_to(REPOSITORY)) for path in DOCUMENTS]
LANGUAGES = {"sh", "text", "yaml", "ini", "json", "python", "diff"}
"""Of fenced blocks. Commands stand in those of `sh`, and only there."""


def test_the_table_of_items_is_complete() -> None:
    """Every key that is sent has its line in a table, in the order in which it is sent; those of a port with STATE and PORT."""
    shown = re.findall(r"^\| `(tcp\.[^`]+)` \|", documents.text("docs/items.md"), re.MULTILINE)
    of_namespaces = [NAMESPACES, *general(NAMESPACES)]
    assert shown == [*KEYS, *TEXTS, LOCAL, REMOTE, *general(LOCAL, REMOTE), UNITS, *general(UNITS), *of_namespaces]


def general(*rules: str) -> list[str]:
    """Return the keys that these rules discover, each once, with STATE, PORT and UNIT."""
    keys = [re.sub(r"\[[A-Z_0-9]+,", "[STATE,", key) for rule in rules for key in DISCOVERIES[rule]]
    return list(dict.fromkeys(re.sub(r"\{#([A-Z]+)\}", r"\1", key) for key in keys))


@pytest.mark.parametrize("page", PAGES)
def test_every_configuration_is_valid(page: str) -> None:
    """What a document shows as YAML is a configuration that is accepted."""
    for heading in documents.sections(page):
        for shown in documents.blocks(page, heading, "yaml"):
            assert section.read(Settings, yaml.safe_load(shown))


def test_every_setting_is_listed() -> None:
    """The list of settings is that of the configuration."""
    listed = re.findall(r"^\| `([a-z_]+)` \|", documents.sections("docs/configuring.md")["Settings"], re.MULTILINE)
    assert sorted(listed) == sorted(section.keys(Settings))


@pytest.mark.parametrize("page", PAGES)
def test_every_target_exists(page: str) -> None:
    """Each `make` target that a document names is one of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", documents.text("Makefile"), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)", documents.text(page))
    named += re.findall(r"^ *make ([a-z-]+)", documents.code(page), re.MULTILINE)
    assert set(named) <= targets


def test_the_pythons_that_are_named_are_tested() -> None:
    """The classifiers go from the oldest Python that installs this on, to the newest of the Makefile, without a gap."""
    project = documents.text("pyproject.toml")
    named = [int(minor) for minor in re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', project)]
    (oldest,) = re.findall(r'requires-python = ">=3\.(\d+)"', project)
    (following,) = re.findall(r"^NEXT := (.*)$", documents.text("Makefile"), re.MULTILINE)
    assert named == list(range(int(oldest), named[-1] + 1))
    assert [f"3.{minor}" for minor in named][-len(following.split()) :] == following.split()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """Each relative link is one to a file of the repository, and its anchor to a heading there."""
    for link in documents.links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), link
        if anchor:
            assert anchor in documents.anchors(str(target.resolve().relative_to(REPOSITORY))), link


def test_every_page_can_be_found() -> None:
    """Each page in docs/ has its link in the README's list."""
    section = documents.sections("README.md")["Documents"]
    assert {f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")} <= set(
        re.findall(r"\(([^)]+)\)", section)
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language(page: str) -> None:
    """So that no command stands in a block that is not looked at. What the template's runbooks say is run elsewhere."""
    fences = re.findall(r"^ *```(.*)$", documents.text(page), re.MULTILINE)
    assert set(fences[0::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}
    if page != "docs/template.md":
        assert not re.search(r"\n\n    \S", documents.text(page)), "an indented block"


def test_every_command_is_run_by_a_test() -> None:
    """Under whatever heading a document has commands, some test takes them from there by `shell`, and runs them."""
    shown = {
        (page, heading)
        for page in PAGES
        for heading in documents.sections(page)
        if documents.blocks(page, heading, "sh")
    }
    taken = {
        tuple(argument.value for argument in call.args if isinstance(argument, ast.Constant))
        for text in (path.read_text() for path in TESTS.rglob("test_*.py"))
        if "shell(" in text
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "shell"
    }
    assert shown
    assert shown == taken
