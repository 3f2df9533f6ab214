"""A host with services of its own, whose daemon tells a real Zabbix of each second as if it were a minute. Needs root.

The host is a network namespace, and its services are programs in cgroups that are named as systemd names them. The windows of
triggers pass in seconds.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from lab.cgroups import Cgroup, entering
from lab.command import COMMAND
from lab.namespace import LOOPBACK, Namespace
from lab.passing_on import FastTime, passing_on
from lab.uml import OUTSIDE, cable, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
SPEED = 60

HEALTHY = "import sys; from lab.traffic import Service; Service(int(sys.argv[1])).run()"
"""A program that closes what its clients have closed."""
LEAKING = """if True:
    import socket, sys
    server, forgotten = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1000), []
    while True:
        forgotten.append(server.accept())
"""
"""One that does not."""


class FastHost:
    """The host, in network namespace `namespace`, or a machine of its own in there (see lab/uml.py); it ends with `stack`."""

    def __init__(
        self,
        zabbix: ZabbixStack,
        directory: Path,
        stack: ExitStack,
        host: str,
        *,
        speed: int = SPEED,
        is_machine: bool = False,
    ) -> None:
        self._stack = stack
        self._speed = speed
        self._cgroup = stack.enter_context(Cgroup(".slice"))
        self.namespace = stack.enter_context(Namespace(LOOPBACK))
        if is_machine:
            cable(self.namespace)
        address = OUTSIDE if is_machine else "127.0.0.1"
        self._trapper = stack.enter_context(
            self.namespace.call(lambda: passing_on(zabbix, FastTime(speed), address=address))
        )
        self._directory = directory
        self._config = directory / "config.yaml"
        self._daemon = (COMMAND, "run", "--config", str(self._config))
        self._usual: dict[str, Any] = {
            "host": host,
            "interval": 1,
            "destinations": [{"nodes": [self._trapper.node]}],
            "ports": {"exclude": [self._trapper.port]},
            "spool": {"path": ":memory:" if is_machine else str(directory / "spool.db")},
        }
        self.configure()

    def configure(self, *others: str, **sections: dict[str, Any]) -> None:
        """Write the configuration: what is usual, with these settings, and with other nodes as destinations of their own."""
        settings = {name: {**self._usual.get(name, {}), **section} for name, section in sections.items()}
        destinations = [*self._usual["destinations"], *({"name": node, "nodes": [node]} for node in others)]
        self._config.write_text(json.dumps({**self._usual, **settings, "destinations": destinations}))

    def count(self) -> subprocess.Popen[bytes]:
        """Let the daemon begin."""
        return self.run("tcp-status-sender.service", *self._daemon)

    def boot(self, *command: str) -> subprocess.Popen[bytes]:
        """Let the machine begin, with the daemon, and with a program that reads what is written to the machine."""
        return self.run("machine.service", *machine(self._directory, self._daemon, command))

    @property
    def told_minutes(self) -> float:
        """How many minutes Zabbix was told of."""
        clocks = [request["data"][0]["clock"] for request in self._trapper.requests]
        return (clocks[-1] - clocks[0]) * self._speed / 60 if clocks else 0

    def serve(self, unit: str, port: int, program: str) -> subprocess.Popen[bytes]:
        """Let a program run as this unit, and return when it listens on the port."""
        started = self.run(unit, sys.executable, "-c", program, str(port))
        deadline = time.monotonic() + 20
        while not self.namespace.run("ss", "-Htln", f"sport = :{port}"):  # to connect would be to leak
            assert time.monotonic() < deadline, f"{unit} does not listen"
            time.sleep(0.02)
        return started

    def connect(self, port: int, address: str = "127.0.0.1") -> socket.socket:
        """Return a connection to a port of this host."""
        return self.namespace.call(lambda: socket.create_connection((address, port)))

    def run(self, unit: str, *command: str) -> subprocess.Popen[bytes]:
        """Let a program run as this unit."""
        cgroup = self._cgroup.path / unit
        cgroup.mkdir(exist_ok=True)
        inside = self.namespace.inside(*entering(cgroup, "setpriv", "--pdeathsig", "KILL", *command))
        process = subprocess.Popen(inside, stdin=subprocess.PIPE)
        self._stack.callback(end, process)
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, if it has not ended."""
    process.kill()
    if process.stdin:
        process.stdin.close()
    process.wait()


class Operator:
    """Who looks at this host in Zabbix, in which it is made with the template."""

    def __init__(self, zabbix: ZabbixStack, host: str) -> None:
        self._zabbix = zabbix
        self._host = host
        never = [{"macro": "{$TCP.NODATA.TIMEOUT}", "value": "365d"}]  # what is told is of hours ago, and no silence
        self.host_id = zabbix.create_host(host, [TEMPLATE], macros=never)
        zabbix.wait_for_items(host)

    def problems(self) -> dict[str, str]:
        """Return the operational data of the present problems, by name."""
        found = self._zabbix.api.problem.get(hostids=self.host_id, output=["name", "opdata"])
        return {each["name"]: each["opdata"] for each in found}

    def runbooks(self) -> dict[str, str]:
        """Return the descriptions of the triggers that the frontend shows as problems, expanded as it does, by name.

        It shows none while another is a problem on which that one depends.
        """
        output = ["description", "comments", "expression"]  # without that last one, no text is found
        shown = {"filter": {"value": 1}, "skipDependent": True, "expandComment": True, "output": output}
        found = self._zabbix.api.trigger.get(hostids=self.host_id, **shown)
        return {each["description"]: each["comments"] for each in found}

    def events(self) -> list[str]:
        """Return the names of all problems that ever began."""
        found: list[dict[str, Any]] = self._zabbix.api.event.get(
            hostids=self.host_id, value=1, output=["name"], sortfield=["eventid"]
        )
        return [each["name"] for each in found]

    def history(self) -> dict[str, list[tuple[int, str]]]:
        """Return all values, each after its clock, by key."""
        found: dict[str, list[tuple[int, str]]] = {}
        for value in self._zabbix.history(self._host):
            found.setdefault(value.key, []).append((value.clock, value.value))
        return found

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return as soon as `condition` holds."""
        self._zabbix.wait_until(condition, what, 60)

    def wait_for_minutes(self, minutes: int) -> None:
        """Return when Zabbix was told of so many more minutes, in which something must not happen."""
        begin = self._last_clock()
        self.wait_until(lambda: self._last_clock() >= begin + minutes * 60, f"{minutes} minutes were told")

    def _last_clock(self) -> int:
        return max((clock for clock, _ in self.history().get("tcp.status[TOTAL]", [])), default=0)
