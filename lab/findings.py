"""What `check` finds, as a program gets it. Knows the fields of a finding; knows no single check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sender.commands.check.check import check_all
from sender.commands.check.report import as_json

if TYPE_CHECKING:
    from pathlib import Path


def checks(config: Path, code: int) -> list[dict[str, Any]]:
    """Return what is found; something must fail if, and only if, the exit code is to be 1.

    Without what is said of network namespaces, which is about the place where the tests run (tests/kernel has that).
    """
    found = json.loads(as_json(check_all(config)))
    assert found["ok"] == (not code), found
    return elsewhere(found["checks"])


def elsewhere(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings that do not depend on the network namespace of the test."""
    return [each for each in findings if each["check"] != "namespace"]


def one(findings: list[dict[str, Any]], result: str) -> dict[str, Any]:
    """Return the one finding with this result."""
    (finding,) = [each for each in findings if each["result"] == result]
    return finding


def results(findings: list[dict[str, Any]]) -> dict[str, str]:
    """Return the result of each check, of which there must be one each."""
    assert len({each["check"] for each in findings}) == len(findings)
    return {each["check"]: each["result"] for each in findings}
