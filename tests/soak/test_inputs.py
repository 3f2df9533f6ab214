"""Trouble between two samples, made for real, raises its problem at a real Zabbix, and ends it. Part of `make soak-inputs` alone.

Each host is a network namespace with a daemon of its own. It is well for seven minutes, as triggers look back for six. Then
the trouble begins; when the problem is there it ends, and so does the problem. All of it takes half an hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from lab.command import COMMAND
from lab.namespace import LOOPBACK, Namespace
from lab.passing_on import passing_on
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPLATE = "TCP states by Zabbix trapper"
QUIET_S = 420  # 6 minutes, which a trigger looks back, and one
PATIENCE_S = 1_500  # the longest window is 15 minutes

# What 1,500 forged requests a second do to an ordinary backlog, for a moment.
FLOOD = "from lab import flood; flood.main()"
# A service that does not accept for 0.4 s every 2 s, and 40 clients in each pause.
BURSTS = """if True:
    import socket, threading, time
    server = socket.create_server(("127.0.0.1", 8080), backlog=16)
    def knock():
        client = socket.socket()
        client.settimeout(5)
        try:
            client.connect(("127.0.0.1", 8080))
        except OSError:
            pass
        client.close()
    while True:
        for _ in range(40):
            threading.Thread(target=knock).start()
        time.sleep(0.4)
        server.settimeout(0.2)
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            try:
                server.accept()[0].close()
            except TimeoutError:
                pass
"""
# A server closes first what its clients keep, more than the kernel's limit, again and again.
TIME_WAIT = """if True:
    import socket, time
    open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w").write("200")
    server = socket.create_server(("127.0.0.1", 8080), backlog=400)
    while True:
        clients = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(300)]
        for _ in clients:
            server.accept()[0].close()
        time.sleep(20)
"""
# 150 connections that a reset has ended, and that their program has not closed.
RESETS = """if True:
    import socket, struct, time
    server, leaked = socket.create_server(("127.0.0.1", 8080), backlog=10), []
    for _ in range(150):
        client = socket.create_connection(("127.0.0.1", 8080))
        leaked.append(server.accept())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    while True:
        time.sleep(60)
"""


class Input(NamedTuple):
    """A host's name, the program that makes the trouble, and how the problem begins that must come."""

    host: str
    program: str
    problem: str


INPUTS = [
    Input("a flood", FLOOD, "TCP: SYN cookies are sent"),
    Input("bursts", BURSTS, "TCP port 8080 http-alt: Requests are dropped"),
    Input("time wait", TIME_WAIT, "TCP: Connections are closed without TIME_WAIT"),
    Input("resets", RESETS, "TCP: Many sockets in no state"),
]


@pytest.fixture
def zabbix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixStack]:
    """Yield a Zabbix with the template linked to each host."""
    template = subprocess.run([COMMAND, "template"], check=True, capture_output=True, text=True).stdout
    with ZabbixStack(tmp_path_factory.mktemp("zabbix")) as zabbix:
        zabbix.import_template(template)
        for each in INPUTS:
            zabbix.create_host(each.host, [TEMPLATE])
        zabbix.wait_for_items(INPUTS[-1].host)
        yield zabbix


def problems(zabbix: ZabbixStack, host: str) -> list[str]:
    """Return the names of the host's present problems."""
    (found,) = zabbix.api.host.get(filter={"host": host}, output=["hostid"])
    return [each["name"] for each in zabbix.api.problem.get(hostids=found["hostid"], output=["name"])]


def is_raised(zabbix: ZabbixStack, trouble: Input) -> bool:
    """Return whether the problem is there that the trouble must raise."""
    return any(name.startswith(trouble.problem) for name in problems(zabbix, trouble.host))


def is_well(zabbix: ZabbixStack, host: str) -> bool:
    """Return whether the host has no problem."""
    return not problems(zabbix, host)


def run_daemon(stack: ExitStack, zabbix: ZabbixStack, namespace: Namespace, host: str, directory: Path) -> None:
    """Let a daemon of this host run in its namespace, every 5 s."""
    trapper = stack.enter_context(namespace.call(lambda: passing_on(zabbix)))
    config = directory / f"{host}.yaml"
    settings = {"host": host, "interval": "5s", "spool": {"path": str(directory / f"{host}.db")}}
    destinations = [{"nodes": [trapper.node]}]
    ports = {"exclude": [trapper.port]}
    config.write_text(json.dumps({**settings, "destinations": destinations, "ports": ports}))
    start(stack, namespace, COMMAND, "run", "--config", str(config))


def start(stack: ExitStack, namespace: Namespace, *command: str) -> subprocess.Popen[bytes]:
    """Start a program in a namespace; it ends with the test, or by `end`."""
    inside = ["setpriv", "--pdeathsig", "KILL", *namespace.inside(*map(str, command))]
    process = subprocess.Popen(inside, stdin=subprocess.PIPE)
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, if it has not ended."""
    process.kill()
    if process.stdin:
        process.stdin.close()
    process.wait()


def test_each_trouble_has_its_problem(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """None before it begins, then its own and no other of the same cause, and none when it is over."""
    with ExitStack() as stack:
        places = {each: stack.enter_context(Namespace(LOOPBACK)) for each in INPUTS}
        for each, namespace in places.items():
            run_daemon(stack, zabbix, namespace, each.host, tmp_path)
        time.sleep(QUIET_S)  # what must not happen in that time is that anything is raised
        assert {each.host: problems(zabbix, each.host) for each in INPUTS} == {each.host: [] for each in INPUTS}
        troubles = {each: start(stack, place, sys.executable, "-c", each.program) for each, place in places.items()}
        for each in INPUTS:
            zabbix.wait_until(partial(is_raised, zabbix, each), f"{each.problem} at {each.host}", PATIENCE_S)
            raised = problems(zabbix, each.host)
            print(f"{each.host}: {raised}")  # noqa: T201  with -s
            assert len(raised) == 1, "one trouble is one problem"
            end(troubles[each])
        for each in INPUTS:
            zabbix.wait_until(partial(is_well, zabbix, each.host), f"{each.host} is well", PATIENCE_S)
