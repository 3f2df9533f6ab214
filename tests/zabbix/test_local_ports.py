"""A program that uses up the local ports towards one destination raises its problem in a real Zabbix, which names that.

All is real but for the time, in which a second is a minute (see lab/fast_host.py).
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from lab.fast_host import FastHost, Operator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

FIRST, LAST, USABLE = 20_000, 20_199, 200  # below those of a new kernel, where the trapper listens already
DATABASE = 5432
TOWARDS = f"127.0.0.1:{DATABASE} from 127.0.0.1"
MANY = "TCP: Many local ports towards a destination are in use"
USED_UP = "TCP: Local ports towards a destination are nearly used up"
MANY_DETAIL, USED_UP_DETAIL = " (over 80% for 5m)", " (over 95% for 5m)"


@contextmanager
def connections(host: FastHost, *counts: int) -> Iterator[Iterator[int]]:
    """Yield what opens so many more connections with each step; in the end all are closed, and none is in TIME_WAIT."""

    def listen() -> socket.socket:
        return socket.create_server(("", DATABASE), backlog=2 * USABLE)

    with ExitStack() as stack:
        listener = host.namespace.call(listen)

        def steps() -> Iterator[int]:
            for count in counts:
                for _ in range(count):
                    stack.enter_context(host.connect(DATABASE))
                yield count

        try:
            yield steps()
        finally:
            listener.close()  # first: who closes first is in TIME_WAIT


def test_ports_that_are_used_up_are_a_problem(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """From 80 % on it is one, and from 95 % on the other alone; both name the destination, and end with its connections."""
    with ExitStack() as stack:
        operator = Operator(zabbix, "without ports")
        host = FastHost(zabbix, tmp_path, stack, "without ports")
        host.namespace.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={FIRST} {LAST}")
        host.count()
        operator.wait_until(lambda: "tcp.ephemeral.pused" in operator.history(), "the first sample came")
        operator.wait_for_minutes(6)
        assert operator.problems() == {}
        with connections(host, 170, 30) as more:
            next(more)
            operator.wait_until(lambda: bool(operator.problems()), "many ports are in use")
            many = {MANY + MANY_DETAIL: f"Current: 85 %, to {TOWARDS}"}
            assert operator.problems() == many
            next(more)
            with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
                host.connect(DATABASE)
            host.connect(DATABASE, "127.0.0.2").close()  # another destination
            operator.wait_until(lambda: len(operator.problems()) > 1, "the ports are used up")
            assert operator.problems()[USED_UP + USED_UP_DETAIL] == f"Current: 100 %, to {TOWARDS}"
            runbooks = operator.runbooks()
            assert runbooks.keys() == {USED_UP}, "the milder one is hidden"
            assert runbooks[USED_UP].splitlines()[0] == f"The destination, as last reported: {TOWARDS}"
        operator.wait_until(lambda: not operator.problems(), "both are over")
        operator.wait_for_minutes(6)
        with connections(host, USABLE) as more:
            next(more)
            operator.wait_until(lambda: bool(operator.problems()), "the ports are used up again")
        operator.wait_until(lambda: not operator.problems(), "that is over")
        assert operator.events() == [MANY + MANY_DETAIL, *[USED_UP + USED_UP_DETAIL] * 2]
