"""What somebody, or a disk, has written into a spool's file: `check` and `status` say something about it, whatever it is."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from lab.trapper import Trapper
from sender.commands import status
from sender.commands.check.check import check_all
from sender.errors import SpoolError
from sender.model import Item
from sender.settings.schema import load
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NONSENSE = (None, -1, 2**63 - 1, 1.5, "x", "98080", "\x1b[2J", "443,98080,remote 5432,0,\u0663,,", b"\xff\x00")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *[("destination", column) for column in ("name", "settled", "dropped", "rejected", "error", "known")],
        *[("destination", column) for column in ("succeeded_at", "failing_since")],
        *[("sample", column) for column in ("last", "host", "clock", "body")],
    ],
)
def test_a_spool_that_holds_nonsense(config: Callable[..., Path], tmp_path: Path, table: str, column: str) -> None:
    """Whatever stands in a damaged file, `check` and `status` say something about it: there is no traceback."""
    with Trapper() as trapper:
        path = config(trapper.port)
        spool = Spool(str(tmp_path / "spool.db"), ["d0"], Limits(max_age_s=1e9, max_bytes=2**20))
        spool.append([Item(host="web-01", key="key", value="1", clock=1_700_000_000, ns=1)])
        spool.close()
        for value in NONSENSE:
            db = sqlite3.connect(tmp_path / "spool.db")
            with suppress(sqlite3.IntegrityError), db:  # a primary key that is a number is none of these
                db.execute(f"UPDATE {table} SET {column} = ?", [value])  # noqa: S608
            db.close()
            (found,) = [each for each in check_all(path) if each.check == "spool"]
            assert found.result in ("ok", "warn", "fail")
            try:
                shown = status.as_text(status.read(load(path)))
            except SpoolError as error:
                shown = str(error)
            assert "\x1b" not in shown
