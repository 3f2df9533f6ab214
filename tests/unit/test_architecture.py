"""The house as CONTRIBUTING.md draws it: imports point downward, and each library has one owner. Read from the checkout."""

from __future__ import annotations

import ast
import re

import pytest

from support import documents

SOURCE = documents.REPOSITORY / "sender"
MODULES = sorted(path.stem for path in SOURCE.glob("*.py") if path.stem != "__init__")
LAYERS = re.findall(r"^\| \w+ \| (.+?) \|", documents.sections("CONTRIBUTING.md")["The house"], re.MULTILINE)
ORDER = [module for layer in LAYERS for module in re.findall(r"`(\w+)`", layer)]
OWNERS = {
    "pyroute2": {"sock_diag"},
    "zabbix_utils": {"protocol", "zabbix_api"},
    "apscheduler": {"daemon"},
    "signal": {"daemon"},
    "fcntl": {"spool_lock"},
    "sqlite3": {"spool_file"},
    "yaml": {"yaml_file"},
    "pydantic": {"config", "fields"},
    "argparse": {"usage"},
    "ssl": {"psk", "tls", "zabbix_api"},
    "_ssl": {"psk"},
    "ctypes": {"psk", "malloc"},
    "rich": {"show"},
}


def imports(module: str) -> set[str]:
    """The modules that `module` needs when it runs, those for type checking left out."""
    tree = ast.parse((SOURCE / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_a_place() -> None:
    """Each module stands in the table once, and nothing else does."""
    assert sorted(ORDER) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    """A module knows only what stands before it: modules of the layers below its own, and of its own those further left."""
    before = {f"sender.{name}" for name in ORDER[: ORDER.index(module)]}
    ours = {name for name in imports(module) if name.startswith("sender.") and name[7:] in MODULES}
    assert ours <= before


@pytest.mark.parametrize("library", OWNERS)
def test_each_library_has_one_owner(library: str) -> None:
    """What a foreign library is like is known in one place."""
    users = {module for module in MODULES if any(name.split(".")[0] == library for name in imports(module))}
    assert users == OWNERS[library]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_owns(module: str) -> None:
    """Each module opens with a sentence, and stays readable in one sitting."""
    text = (SOURCE / f"{module}.py").read_text()
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 300
