"""docs/log.md explains every line that the daemon and the commands can log, and none that they cannot."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from lab import documents
from lab.documents import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

GAP = "…"
"""What stands for whatever a line says at its time, and at the end of a long line for the rest of it."""

LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
PASSED_ON = {("warning", GAP), ("log", GAP)}
"""Lines that are made elsewhere: warnings about an agent's file, and what `_say` is given."""


def said(node: ast.expr) -> str:
    """Return the text of a format string or an f-string, with gaps."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "%s" for part in node.values)
    else:
        assert isinstance(node, ast.Constant)
        text = str(node.value)
    return re.sub(r"(%[+.0-9]*[dfrs])+", GAP, text)


def logged() -> Iterator[tuple[str, str]]:
    """Level and text of every line in the source."""
    calls = (
        node
        for path in (REPOSITORY / "sender").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )
    for call in calls:
        match ast.unparse(call.func).split("."):
            case ["_LOG", "log"]:
                yield "log", said(call.args[1])
            case ["_LOG", level]:
                yield LEVELS[level], said(call.args[0])
            case ["self", "_say"] if len(call.args) == 2:
                yield ast.unparse(call.args[0]).removeprefix("logging.").lower(), said(call.args[1])
            case ["self", "warnings", "append"]:
                yield "warning", said(call.args[0])


def explained() -> list[tuple[str, str]]:
    """Level and text of every line of the page's tables."""
    page = documents.text("docs/log.md")
    return re.findall(r"^\| (debug|info|warning|error) \| `+ ?(.+?) ?`+ \|", page, re.MULTILINE)


def is_meant(shown: str, line: str) -> bool:
    """Whether a line of the table is this one: all of it, or its beginning."""
    return shown == line or (shown.endswith(f" {GAP}") and line.startswith(shown.removesuffix(GAP)))


def test_every_line_is_explained_once() -> None:
    """Each line in the source has one in the tables, with its level, and each in the tables is one in the source."""
    lines = [line for line in logged() if line not in PASSED_ON]
    table = explained()
    found = {line: [row for row in table if row[0] == line[0] and is_meant(row[1], line[1])] for line in lines}
    assert [line for line, rows in found.items() if len(rows) != 1] == []
    assert sorted(rows[0] for rows in found.values()) == sorted(table)
