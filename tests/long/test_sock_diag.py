"""Hundreds of dumps: what they cost depends on how many sockets this machine has."""

from __future__ import annotations

import threading

from sender.errors import KernelError
from sender.kernel.sock_diag import SockDiag


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
