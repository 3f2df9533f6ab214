"""Whether an error is gone once it was caught, or waits in a circle of references for Python's collector, with all that its frames hold."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def assert_gone_when_caught(kind: type[Exception], action: Callable[[], object]) -> None:
    """Fail unless `action` raises an error of `kind`, twice, and the second time leaves nothing to collect."""
    gc.disable()
    try:
        for _ in range(2):
            gc.collect()
            _expect(kind, action)
        assert gc.collect() == 0
    finally:
        gc.enable()


def _expect(kind: type[Exception], action: Callable[[], object]) -> None:
    """Fail unless `action` raises it. pytest.raises would keep it."""
    try:
        action()
    except kind:
        return
    pytest.fail("there was no error")
