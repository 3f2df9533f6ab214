"""The house: imports point downward, and each library has one owner. Read from the checkout's source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "sender"
MODULES = sorted(path.stem for path in SOURCE.glob("*.py"))

LAYERS = [
    {"__init__", "errors", "model", "clock", "findings"},
    {"yaml_file", "fields", "psk"},
    {"agent_config"},
    {"items", "config", "template", "protocol", "census", "credentials", "host_plan", "tls"},
    {
        "tally",
        "ports",
        "spool_lock",
        "spool_guard",
        "spool_ledger",
        "spool_place",
        "spool_sample",
        "spool_words",
        "uplink",
        "systemd",
    },
    {"sock_diag", "spool_file", "newcomers", "zabbix_api"},
    {"spool", "status", "refusals", "sampling", "check_here", "check_spool", "check_there", "provision"},
    {"delivery", "autoregistration"},
    {"pipeline", "daemon", "check"},
    {"run", "show", "usage"},
    {"cli"},
    {"__main__"},
]
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
    "ctypes": {"psk"},
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
    """Each module stands in exactly one layer."""
    assert sorted(name for layer in LAYERS for name in layer) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    """A module knows only layers below its own; two of one layer never know each other."""
    depth = next(number for number, layer in enumerate(LAYERS) if module in layer)
    below = {f"sender.{name}" for layer in LAYERS[:depth] for name in layer}
    ours = {name for name in imports(module) if name.startswith("sender.") and name[7:] in MODULES}
    assert ours <= below


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
