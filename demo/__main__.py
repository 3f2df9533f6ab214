"""`python -m demo`: gives the demo a directory, starts it, and when it is to end kills and removes all of it. As root.

It is ended with SIGKILL, at any moment of its start as well: each of its programs dies with the one that started it, those
left without a parent become this process's children, and the directory is removed when the last of them is gone.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from demo.plan import APPLICATION
from lab.cgroups import cgroup2
from lab.program import ENVIRONMENT, caged, children
from lab.zabbix_stack import somebody_listens

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = {
    "zabbix_server": "zabbix-server-pgsql",
    "php": "php-cli",
    "psql": "postgresql",
    "unshare": "util-linux",
}
FRONTEND = ("/usr/share/zabbix", "zabbix-frontend-php")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal
PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
LAST_PORT = 65535
PREFIX = "tcp-demo-"
LONGEST_SOCKET = 107  # UNIX_PATH_MAX, with its final zero; unix(7)
SOCKET = f"/{PREFIX}12345678/server/zabbix_server_preprocessing.sock"  # the longest that there will be


def missing(port: int) -> str | None:
    """Return in one sentence what keeps the demo from running, None where nothing does."""
    packages = {package for program, package in PROGRAMS.items() if not shutil.which(program, path=ENVIRONMENT["PATH"])}
    packages |= set() if Path(FRONTEND[0]).exists() else {FRONTEND[1]}
    if packages:
        return f"The demo needs Debian's packages {' '.join(sorted(packages))}: `make demo` installs them."
    if os.geteuid() != 0:
        return "The demo needs root, for PostgreSQL and Zabbix: sudo make demo."
    if subprocess.run(caged(["true"]), check=False, capture_output=True).returncode:
        return "The demo needs namespaces of processes, which this container does not allow: give it CAP_SYS_ADMIN."
    if len(tempfile.gettempdir() + SOCKET) > LONGEST_SOCKET:
        return f"The demo cannot have its sockets in {tempfile.gettempdir()}, whose name is too long: TMPDIR=/tmp make demo."
    if port and somebody_listens(port):
        return f"The demo cannot have port {port} for its web interface: it is in use; `ss -tlnp` says by whom."
    return None


def demonstrate(port: int, speed: float) -> int:
    """Run the demo until it fails or a signal ends it, leave nothing behind, and return the exit code."""
    ended = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: ended.set())
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory, cgroup() as own:
        command = [sys.executable, "-m", "demo.stage", directory, str(port), str(speed), own]
        stage = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process alone
            env=ENVIRONMENT,  # without http_proxy and the like
        )
        while stage.poll() is None and not ended.wait(0.1):
            pass
        if ended.is_set():
            with suppress(OSError):  # the terminal has gone
                os.write(1, b"\nEnding the demo, and removing it ...\n")
        kill_children()
        code = stage.wait()
    return 0 if ended.is_set() else code


@contextmanager
def cgroup() -> Iterator[str]:
    """Yield a cgroup of the demo's own, with one for the application as a systemd has it; nothing where none can be made."""
    try:
        path = cgroup2() / f"{PREFIX}{os.getpid()}.slice"
        (path / APPLICATION).mkdir(parents=True)
    except (OSError, RuntimeError):  # read-only in a container, or cgroup v1 alone
        yield ""
        return
    try:
        yield str(path)
    finally:
        (path / APPLICATION).rmdir()
        path.rmdir()


def kill_children() -> None:
    """Kill every child, and whatever these leave behind, until there is none."""
    while pids := children(os.getpid()):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.wait()


def main() -> int:
    """Read the arguments and run the demo. Return the exit code, 2 where it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help="of the web interface, on loopback; default: one that is free"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="how many times as fast the story goes; default: 1")
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= LAST_PORT:
        parser.error(f"--port {arguments.port}: expected 1 to {LAST_PORT}")
    if not arguments.speed > 0:
        parser.error(f"--speed {arguments.speed}: expected more than 0")
    if problem := missing(arguments.port):
        print(problem, file=sys.stderr)
        return 2
    return demonstrate(arguments.port, arguments.speed)


if __name__ == "__main__":
    sys.exit(main())
