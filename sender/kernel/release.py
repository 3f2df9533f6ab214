"""The kernel's release, for what a figure of it means: that differs between kernels, and the figure itself does not say."""

from __future__ import annotations

import os
import re


def release() -> tuple[int, int]:
    """Return the running kernel's first two numbers, such as (6, 12); (0, 0), older than all, where it does not say."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
