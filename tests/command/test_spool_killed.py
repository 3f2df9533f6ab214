"""What a daemon finds of a spool whose owner was killed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from lab.spools import NOW, append, drain, opened, settle
from sender.text import moment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_waits_at_a_start_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A start after a crash says so, and every start says how much waits for whom, since when."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "spool.db"
    code = f"""
import os, sys
from lab.spools import opened, sample
spool = opened({str(path)!r}, "a", "b")
spool.append(sample(1))
print(os.getpid())
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    subject = opened(path, "a", "b")
    settle(subject, "a")
    subject.close()
    opened(path, "a", "b").close()
    left, a, b, again = (record.getMessage() for record in caplog.records)
    process = killed.stdout.strip()
    assert left == f"the previous daemon (PID {process}) did not shut down cleanly (killed, out of memory, power loss?)"
    assert a == f"a: 2 values queued from the previous run, oldest {moment(NOW + 1)}"
    assert b == again == f"b: 2 values queued from the previous run, oldest {moment(NOW + 1)}"


def test_a_journal_that_is_lost_while_nobody_looks_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite takes a journal that is gone or damaged for one that ends there: what was in it is missed all the same."""
    path = tmp_path / "spool.db"
    code = f"""
import os
from lab.spools import append, opened
spool = opened({str(path)!r})
append(spool, *range(5))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    os.truncate(f"{path}-wal", 0)
    spool = opened(path)
    append(spool, 5)
    assert drain(spool) == [5]
    spool.close()
    assert f"spool {path} lost its newest values, up to 10" in caplog.text
