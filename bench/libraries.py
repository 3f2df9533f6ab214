"""`python -m bench.libraries`: what the libraries cost in memory and start-up time, each in a Python of its own.

*alone*: on top of Python and of those of its standard modules that `sender` itself imports. *on top*: on top of all that
the daemon loads besides, which is what leaving it out would save; libraries share much of the standard library.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.report import draw

RUNS = 9
HEADINGS = ("what is loaded", "modules", "alone MB", "on top MB", "on top ms")
DAEMON = "import sender.cli, sender.commands.run, sender.daemon.daemon, sender.daemon.pipeline"
LOADED = {
    "APScheduler": "import apscheduler.executors.pool, apscheduler.schedulers.background",
    "PyYAML": "import yaml",
    "pyroute2.netlink": "import sender.kernel.netlink",
}
NOT_LOADED = {
    "all of pyroute2": "import pyroute2",
    "zabbix_utils, which `provision` loads": "import zabbix_utils",
    "rich, which `show` loads": "import rich.console, rich.live, rich.table, rich.text",
}
PROBE = """
import json, re, sys, time
def resident_mb():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmRSS:\\s+(\\d+)", status.read())[1]) * 1024 / 1e6
exec(sys.argv[1])
before_mb, modules, begin = resident_mb(), len(sys.modules), time.process_time()
exec(sys.argv[2])
seconds = time.process_time() - begin
print(json.dumps([resident_mb() - before_mb, seconds, len(sys.modules) - modules, resident_mb()]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an import adds to a process, and how large that process is then."""

    mb: float
    ms: float
    modules: int
    resident_mb: float


def cost(what: str, after: str = "") -> Cost:
    """Measure some imports after others: the median memory, and the least time of the processor."""
    command = [sys.executable, "-I", "-c", PROBE, after, what]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(RUNS)]
    mb, seconds, modules, resident_mb = zip(*runs, strict=True)
    return Cost(mb=median(mb), ms=1e3 * min(seconds), modules=modules[0], resident_mb=median(resident_mb))


def standard_modules() -> str:
    """Return the import of what the modules of the daemon import of the standard library, themselves."""
    code = f"{DAEMON}; import sys; print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'sender'))"
    run = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    found = set()
    for file in run.stdout.split():
        for node in ast.parse(Path(file).read_text()).body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
    return f"import {', '.join(sorted(name for name in found if name.split('.')[0] in sys.stdlib_module_names))}"


def row(name: str, what: str, standard: str, others: str) -> tuple[str, ...]:
    """Return a library's row: its import after the standard modules alone, and after the others as well."""
    alone, on_top = cost(what, standard), cost(what, others)
    return name, str(alone.modules), f"{alone.mb:.1f}", f"{on_top.mb:.1f}", f"{on_top.ms:.0f}"


def table() -> str:
    """Return the table, all of it measured."""
    standard = standard_modules()
    bare, basis, whole = cost("pass"), cost(standard), cost(DAEMON)
    ours = cost(DAEMON, "; ".join([standard, *LOADED.values()]))
    rows: list[tuple[str, ...]] = [("Python", "", f"{bare.resident_mb:.1f}", "", "")]
    rows.append(("standard modules that sender imports", str(basis.modules), f"{basis.mb:.1f}", "", f"{basis.ms:.0f}"))
    for name, what in LOADED.items():
        others = [other for other in LOADED.values() if other != what]
        rows.append(row(name, what, standard, "; ".join([standard, *others])))
    rows.append(("sender itself", str(ours.modules), "", f"{ours.mb:.1f}", f"{ours.ms:.0f}"))
    rows.append(("the daemon, before it begins", str(whole.modules), f"{whole.resident_mb:.1f}", "", f"{whole.ms:.0f}"))
    rows += [row(f"not loaded: {name}", what, standard, DAEMON) for name, what in NOT_LOADED.items()]
    return draw(HEADINGS, rows, words=1)


if __name__ == "__main__":
    print(table())
