"""What holds for every test: it runs against the installed wheel, and generated input is the same on every machine."""

from __future__ import annotations

import os
import signal
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import sender

# Machines are noisy: how long one example takes says nothing. CI is to fail for a change, not for a throw of the dice.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("any"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "any")


def pytest_configure() -> None:
    """Refuse to test the checkout in place of the installed wheel; make Ctrl-C mean what it means in a terminal."""
    if not Path(sender.__file__).is_relative_to(sysconfig.get_path("purelib")):
        pytest.exit(f"`sender` comes from {sender.__file__}; run `make unit` or `make test`, which install it", 2)
    # A shell's background job ignores SIGINT, and so would every command that a test starts from there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
