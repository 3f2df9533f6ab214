"""The installed command, as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import threading
from pathlib import Path

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tcp-status-sender")
UNIT = Path(__file__).parents[1] / "packaging" / "tcp-status-sender.service"


def bare_environment(**more: str) -> dict[str, str]:
    """Nothing of the caller's but where programs are, and what has coverage measure a process that Python begins."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return {**kept, **more}


def unit_environment() -> dict[str, str]:
    """Return the variables that the unit sets for the daemon."""
    lines = re.findall(r"^Environment=(.*)$", UNIT.read_text(), re.MULTILINE)
    return dict(word.split("=", 1) for line in lines for word in line.split())


def tcp_status_sender(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; whatever it says, it must not be a traceback."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done


def until(process: subprocess.Popen[str], words: str) -> str:
    """Return the log up to the first line that holds `words`. End the process where that does not come in a minute."""
    assert process.stderr
    log, limit = "", threading.Timer(60, process.kill)
    limit.start()
    try:
        for line in process.stderr:
            log += line
            if words in line:
                return log
    finally:
        limit.cancel()
    raise AssertionError(f"{words!r} never came:\n{log}")
