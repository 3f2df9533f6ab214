"""What holds for every test: it runs against the installed wheel, and generated input is the same on every machine.

`unit` is what each change is tested with while it is made: no test there starts a process, and each takes a moment. `files`
reads the files of this repository: documents, templates, packages, and which module imports which. `long` has tests that
take more, and start none either; `command` those that start the command, or a process of their own.
"""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

import sender

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["lab.fixtures"]

# Machines are noisy: how long one example takes says nothing. CI is to fail for a change, not for a throw of the dice.
THOROUGH = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ)
settings.register_profile("thorough", THOROUGH)
settings.register_profile("quick", THOROUGH, max_examples=20)  # `make test` runs them with the other profile, too
settings.load_profile("quick")

IN_PROCESS = ("unit", "files", "long")
PROCESSES = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
_forbids_processes = False


def pytest_configure() -> None:
    """Refuse to test the checkout in place of the installed wheel; make Ctrl-C mean what it means in a terminal."""
    if not Path(sender.__file__).is_relative_to(sysconfig.get_path("purelib")):
        pytest.exit(f"`sender` comes from {sender.__file__}; run `make unit` or `make test`, which install it", 2)
    # A shell's background job ignores SIGINT, and so would every command that a test starts from there.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _forbid_processes(event: str, _: tuple[Any, ...]) -> None:
    if _forbids_processes and event in PROCESSES:
        pytest.fail(
            f"{event}: a test in tests/unit, tests/files or tests/long starts no process; those that do go to tests/command"
        )


sys.addaudithook(_forbid_processes)


@pytest.fixture(autouse=True)
def _no_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test of these folders fail that starts a process."""
    global _forbids_processes  # noqa: PLW0603  a hook of the interpreter cannot be taken back, so it looks here
    _forbids_processes = request.path.parent.name in IN_PROCESS
    yield
    _forbids_processes = False
