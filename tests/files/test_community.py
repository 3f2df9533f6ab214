"""packaging/zabbix-community-templates is laid out as zabbix/community-templates checks it in what it is offered.

The rules are those of its .github/workflows/scripts/rules, 00 to 30.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sender.settings import yaml_file

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "packaging" / "zabbix-community-templates"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
TEMPLATES = [name for name in FILES if name.endswith(".yaml")]
NAME = r"template_[.a-zA-Z0-9()_-]+"


def test_there_is_nothing_but_templates_with_their_pages() -> None:
    """Each version has a folder, and in it one template and one page; nothing lies anywhere else."""
    assert len(TEMPLATES) == 2
    assert sorted([*TEMPLATES, *(f"{Path(name).parent.as_posix()}/README.md" for name in TEMPLATES)]) == FILES


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_where_its_version_says(name: str) -> None:
    """Folder and file are named as it wants, below one of its categories, and the version's folder is that of the export."""
    match = re.fullmatch(rf"Operating_Systems/Linux/({NAME})/(\d\.\d)/({NAME})\.yaml", name)
    assert match
    export = yaml_file.parsed((ROOT / name).read_text(encoding="utf-8"))["zabbix_export"]
    assert export["version"] == match[2]
    assert len(export["templates"]) == 1


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_the_one_in_the_repository(name: str) -> None:
    """It is a link to it, so that neither can grow old; whoever offers it copies what is behind the links: cp -rL."""
    path = ROOT / name
    assert path.is_symlink()
    assert path.resolve() == REPOSITORY / "templates" / f"tcp_states_template_{path.parent.name}.yaml"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_page_names_all_that_the_template_has(name: str) -> None:
    """Every macro, item and trigger stands in it, and what was tested is said."""
    page = (ROOT / name).with_name("README.md").read_text(encoding="utf-8")
    (ours,) = yaml_file.parsed((ROOT / name).read_text(encoding="utf-8"))["zabbix_export"]["templates"]
    items = [*ours["items"], *(item for rule in ours["discovery_rules"] for item in rule["item_prototypes"])]
    for word in [*(macro["macro"] for macro in ours["macros"]), *(f"`{item['key']}`" for item in items)]:
        assert word in page
    assert page.startswith(f"# {ours['name']}\n")
    assert "## Tested versions" in page
