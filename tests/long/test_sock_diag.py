"""Hundreds of dumps: what they cost depends on how many sockets this machine has."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from sender.errors import KernelError
from sender.kernel.requests import by_family
from sender.kernel.sock_diag import SockDiag

OPEN = Path("/proc/self/fd")


def test_two_samplers_in_two_threads() -> None:
    """Two samplers at once do not get each other's answers."""
    failures: list[BaseException] = []

    def work() -> None:
        sampler = SockDiag()
        try:
            for _ in range(100):
                sampler.sample()
        except KernelError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_nothing_stays_open_and_nothing_grows() -> None:
    """Two hundred samples, half of them refused, leave no file descriptor behind."""
    before = len(list(OPEN.iterdir()))
    good, bad = SockDiag(), SockDiag([[by_family(socket.AF_INET, protocol=0xEE)]])  # which no kernel serves
    for _ in range(100):
        good.sample()
        with pytest.raises(KernelError):
            bad.sample()
    assert len(list(OPEN.iterdir())) == before
