"""The machine in which systemd is tested leaves nothing behind, and has no hand on the one that it runs on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.program import POLL_S, StackError
from lab.systemd import System

KILLED = """
import json, sys
from pathlib import Path
from lab.systemd import System
with System(Path(sys.argv[1])) as system:
    print(json.dumps([system.pid, str(system.cgroup)]), flush=True)
    sys.stdin.read()
"""


def left(pid: int, cgroup: Path, scratch: Path) -> list[Path]:
    """Return what is still there of a machine: its first process, with which all others go, its cgroups, its files."""
    return [path for path in (Path(f"/proc/{pid}"), cgroup, *scratch.glob("machine/*")) if path.exists()]


def test_nothing_is_left(tmp_path: Path) -> None:
    """When the context ends, all of it is gone."""
    with System(tmp_path) as system:
        assert system.cgroup.joinpath("init.scope").is_dir()
        assert system.path("/run/systemd/private").is_socket()
        with pytest.raises(StackError, match="Read-only file system"):  # a first process sets this, where it can
            system.run("sh", "-c", "cat /proc/sys/fs/file-max >/proc/sys/fs/file-max")
    assert left(system.pid, system.cgroup, tmp_path) == []


def test_nothing_is_left_by_a_test_that_is_killed(tmp_path: Path) -> None:
    """When the process that holds it is killed, all of it goes as well."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        pid, cgroup = json.loads(holder.stdout.readline())
        assert Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
        holder.kill()
    deadline = time.monotonic() + 20
    while (still := left(pid, Path(cgroup), tmp_path)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    assert still == []
