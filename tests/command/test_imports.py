"""What the command loads, and what it does without: each library costs every host memory and start-up time (docs/cost.md)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lab.command import bare_environment, until
from lab.trapper import Trapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACED = (sys.executable, "-I", "-X", "importtime", "-m", "sender")
# zabbix_utils is for `provision`, rich for `show`, ctypes for a PSK before Python 3.13; pyroute2.iproute and the like come
# with all of pyroute2.
NEVER = {"zabbix_utils", "rich", "ctypes", "pyroute2.iproute", "pyroute2.ndb", "unittest", "http.client"}
LIVING = {"apscheduler", "asyncio", "concurrent", "multiprocessing", "ssl", "sqlite3"}


def imported(report: str) -> set[str]:
    """Return the modules in a report of -X importtime."""
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", report, re.MULTILINE))


def uncovered() -> dict[str, str]:
    """Return an environment in which nothing is loaded to measure what of the code is run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def test_a_dry_run_loads_little() -> None:
    """To count and to print takes neither the scheduler, nor TLS, nor a database."""
    run = [*TRACED, "run", "--dry-run", "--once"]
    done = subprocess.run(run, env=uncovered(), capture_output=True, text=True, check=True)
    loaded = imported(done.stderr)
    assert {"sender.cli", "pyroute2.netlink"} <= loaded
    assert loaded & (NEVER | LIVING) == set()


def test_the_helper_loads_less_than_a_dry_run() -> None:
    """What runs as root is small: neither the configuration's library nor pyroute2, nor what has connections."""
    done = subprocess.run([*TRACED, "namespaces"], env=uncovered(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    loaded = imported(done.stderr)
    assert {"sender.cli", "sender.commands.namespaces.helper", "ctypes"} <= loaded
    assert loaded & ((NEVER | LIVING | {"pyroute2", "pyroute2.netlink", "yaml"}) - {"ctypes"}) == set()


def test_the_daemon_loads_what_it_uses(config: Callable[..., Path]) -> None:
    """Up to an answer and through a reload, the living daemon does without what only other verbs need."""
    with Trapper() as trapper:
        run = [*TRACED, "run", "--config", str(config(trapper.port))]
        with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
            report = until(process, " started: ")
            trapper.wait_for(1)
            process.send_signal(signal.SIGHUP)
            report += until(process, " reloaded: ")
            process.send_signal(signal.SIGTERM)
            report += process.communicate()[1]
    assert process.returncode == 0
    loaded = imported(report)
    assert {"sender.cli", "pyroute2.netlink"} | LIVING <= loaded
    assert loaded & NEVER == set()


def python(code: str, **environment: str) -> str:
    """Return what a Python that runs `code` prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=bare_environment(**environment)
    )
    return done.stdout


def test_our_request_is_pyroute2s_own() -> None:
    """The request for one family is byte for byte what pyroute2's own inet_diag_req makes, loaded as a whole afterwards."""
    code = """
import socket, sys
from sender.kernel.requests import by_family
from sender.kernel.netlink import NLM_F_DUMP, NLM_F_REQUEST
print([name for name in sys.modules if name.startswith("pyroute2")])
import pyroute2.netlink.diag
request = pyroute2.netlink.diag.inet_diag_req()
request["sdiag_family"], request["sdiag_protocol"], request["idiag_states"] = socket.AF_INET6, socket.IPPROTO_TCP, 0x1FFE
request["header"]["type"], request["header"]["flags"] = pyroute2.netlink.diag.SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP
request.encode()
print(bytes(request.data) == by_family(socket.AF_INET6))
print(pyroute2.IPRoute.__name__)
"""
    assert python(code).split("\n") == ["[]", "True", "IPRoute", ""]


def test_all_of_pyroute2_is_taken_where_it_is_there_already() -> None:
    """Whoever has loaded pyroute2 before keeps it, and the requests are made with that one."""
    code = """
import pyroute2, sys
from sender.kernel.netlink import nlmsg
print(sys.modules["pyroute2"] is pyroute2, nlmsg is pyroute2.netlink.nlmsg)
"""
    assert python(code) == "True True\n"


@pytest.mark.parametrize(
    "part", ["import pyroute2; NLM_F_DUMP = pyroute2.FLAG", "from pyroute2 import FLAG as NLM_F_DUMP"]
)
def test_a_pyroute2_whose_parts_need_the_whole(tmp_path: Path, part: str) -> None:
    """A release whose netlink needs what the package itself defines is loaded as a whole."""
    library = tmp_path / "pyroute2"
    (library / "netlink").mkdir(parents=True)
    (library / "__init__.py").write_text("FLAG = 42\n")
    (library / "netlink" / "__init__.py").write_text(f"{part}\nNETLINK_SOCK_DIAG = NLM_F_REQUEST = nlmsg = None\n")
    code = "from sender.kernel.netlink import NLM_F_DUMP; print(NLM_F_DUMP)"
    assert python(code, PYTHONPATH=str(tmp_path)) == "42\n"
