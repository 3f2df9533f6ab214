"""The house as CONTRIBUTING.md draws it: folders in the order of the data, one owner per library. Read from the checkout."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lab import documents

SOURCE = documents.REPOSITORY / "sender"
MODULES = sorted(path.relative_to(SOURCE).with_suffix("").as_posix() for path in SOURCE.rglob("*.py"))
FOLDERS = re.findall(r"^\| `(\w+)/` \|", documents.sections("CONTRIBUTING.md")["The house"], re.MULTILINE)
ORDER = ["vocabulary", *FOLDERS, "entrance"]
ENTRANCE = {"__main__", "cli"}
OWNERS = {
    "pyroute2": {"kernel/netlink"},
    "zabbix_utils": {"commands/provision/api"},
    "apscheduler": {"daemon/daemon"},
    "signal": {"daemon/daemon"},
    "fcntl": {"spool/lock"},
    "sqlite3": {"spool/database"},
    "yaml": {"settings/yaml_file"},
    "argparse": {"commands/arguments"},
    "ssl": {"zabbix/psk", "zabbix/tls", "commands/provision/api", "commands/provision/failures"},
    "_ssl": {"zabbix/psk", "zabbix/names"},
    "ctypes": {"commands/namespaces/entering", "zabbix/psk"},
    "rich": {"commands/show/show", "commands/show/tables"},
}
PURE = {
    "kernel/container_ids",
    "commands/namespaces/packets",
    "commands/provision/uuids",
    "commands/show/events",
    "delivery/advice",
    "delivery/probe",
    "errors",
    "items",
    "kernel/addresses",
    "kernel/alike",
    "kernel/counts",
    "kernel/destinations",
    "kernel/id_codes",
    "kernel/listeners",
    "kernel/owner_counts",
    "kernel/owners",
    "kernel/port_counts",
    "kernel/unit_names",
    "model",
    "sampling/discovery",
    "sampling/guard",
    "sampling/memory",
    "sampling/names",
    "sampling/ports",
    "sampling/rare",
    "sampling/reporting",
    "sampling/tops",
    "settings/section",
    "sampling/groups",
    "spool/cursors",
    "spool/sample",
    "states",
    "text",
    "zabbix/names",
    "zabbix/protocol",
}
"""Values in, values out: what is the same whenever, wherever and by whomever it is called."""

IMPURE = {"os", "pathlib", "threading", "time", "subprocess", "signal", "random", "logging", "socket"}
HARMLESS = {"socket.AF_INET", "socket.AF_INET6", "socket.htons", "socket.inet_ntop", "socket.ntohs"}
"""What a pure module may import of those: numbers, the order of their bytes, and their form as text."""

MOST_LINES = 300


@cache
def imports(module: str) -> set[str]:
    """Return the modules that `module` needs when it runs, those for type checking left out."""
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


def ours(module: str) -> set[str]:
    """Return which of our modules `module` needs."""
    paths = {name.removeprefix("sender.").replace(".", "/") for name in imports(module) if name.startswith("sender.")}
    return paths & set(MODULES)


def folder(module: str) -> str:
    """Return the floor on which a module stands: its top folder, or one of the two parts of `sender/` itself."""
    if "/" in module:
        return module.split("/", maxsplit=1)[0]
    return "entrance" if module in ENTRANCE else "vocabulary"


def test_the_table_has_every_folder() -> None:
    """Each folder stands in the table once, and nothing else does."""
    assert sorted(FOLDERS) == sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name[0] != "_")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    """A module imports only from its own folder and from those that stand before it in the table."""
    assert {folder(each) for each in ours(module)} <= set(ORDER[: ORDER.index(folder(module)) + 1])


@pytest.mark.parametrize("floor", ORDER)
def test_no_folder_holds_a_circle(floor: str) -> None:
    """Within a folder, imports never lead back to where they began."""
    within = {module: ours(module) for module in MODULES if folder(module) == floor}
    list(TopologicalSorter(within).static_order())


@pytest.mark.parametrize("library", OWNERS)
def test_each_library_has_one_owner(library: str) -> None:
    """What a foreign library is like is known in one place."""
    users = {module for module in MODULES if any(name.split(".")[0] == library for name in imports(module))}
    assert users == OWNERS[library]


@pytest.mark.parametrize("module", sorted(PURE & set(MODULES)))
def test_a_pure_module_has_no_way_out(module: str) -> None:
    """It imports nothing that reaches a file, a socket, a thread, a clock or chance, and only pure modules of ours."""
    needed = imports(module)
    with_parts = {name for name in needed if any(other.startswith(f"{name}.") for other in needed)}
    assert {name for name in needed - with_parts - HARMLESS if name.split(".")[0] in IMPURE} == set()
    assert ours(module) - PURE - {"__init__"} == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_owns(module: str) -> None:
    """Each module opens with a sentence, and stays readable in one sitting."""
    text = Path(SOURCE, f"{module}.py").read_text()
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= MOST_LINES
