"""Builds the demo and plays it: `python -m demo.stage DIRECTORY PORT SPEED CGROUP`. Starts what __main__.py ends.

No program is ended here, and nothing is removed: whenever and however this process ends, __main__.py kills the rest.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from zabbix_utils import ModuleBaseException

from demo.plan import APPLICATION, BATCH, LEAKED, PREFERRED, Plan, Ports, clock
from lab.cgroups import entering
from lab.command import COMMAND
from lab.program import ENVIRONMENT, Program, StackError
from lab.storyteller import replay
from lab.zabbix_stack import HOST_GROUP, ZabbixStack, free_ports, somebody_listens

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDED, SHOWN_AS = "web-01 recorded", "web-01 (recorded story)"  # the technical name, and the one to be seen
RECORDED_MEANS = (
    "Not a machine: an hour of an invented web server, recorded, to show what the dashboard of a host with trouble looks "
    "like. Nothing new arrives."
)
SEVERITIES = ("Not classified", "Information", "Warning", "Average", "High", "Disaster")
USER, PASSWORD = "Admin", "zabbix"  # a new Zabbix's own
POLL_S = 1.0
SHORTEST_S = 65
WIDTH = 100


class Stage:
    """A running Zabbix, and this machine in it, by its host name. Services have cgroups below `cgroup`, or none."""

    def __init__(self, zabbix: ZabbixStack, directory: Path, speed: float, cgroup: str) -> None:
        self._zabbix = zabbix
        self._directory = directory
        self._speed = speed
        self._cgroup = cgroup
        self._plan = Plan(speed)
        self._host = socket.gethostname()
        self._ports = Ports(**{name: _free(getattr(PREFERRED, name)) for name in PREFERRED.__slots__})

    def provide(self) -> None:
        """Create the hosts and import the template, as anybody would."""
        command = [COMMAND, "provision", "--url", self._zabbix.web_url, "--host", self._host, "--host", RECORDED]
        say("", f"Preparing it, as anybody would: {' '.join([Path(COMMAND).name, *command[1:]])}")
        login = {"ZABBIX_USER": USER, "ZABBIX_PASSWORD": PASSWORD}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**ENVIRONMENT, **login})
        if done.returncode:
            raise StackError(done.stdout + done.stderr)
        say(textwrap.indent(done.stdout.rstrip(), "  "))
        for host in (self._host, RECORDED):
            self._zabbix.wait_for_items(host)

    def add_recorded_host(self) -> None:
        """Replay the recorded hour on a host of its own, under a plain name."""
        api = self._zabbix.api
        # That nothing comes any more is no problem of a record.
        silent = [{"macro": "{$TCP.NODATA.TIMEOUT}", "value": "365d"}]
        api.host.update(hostid=self._id(RECORDED), name=SHOWN_AS, description=RECORDED_MEANS, macros=silent)
        self._zabbix.wait_for_items(RECORDED)
        self._recorded_until = int(time.time())
        replay(self._zabbix, RECORDED, self._recorded_until)
        api.settings.update(work_period="1-7,00:00-24:00")  # else graphs are grey out of office hours
        for group in api.hostgroup.get(filter={"name": HOST_GROUP}, output=["groupid"]):
            api.hostgroup.delete(group["groupid"])  # of what the server was tried with

    def begin(self) -> None:
        """Start the traffic and then the daemon. Once its first sample is stored, let the login lead to its dashboard."""
        ports = [str(port) for port in (self._ports.web, self._ports.application, self._ports.database)]
        self._start_application()
        for _ in range(LEAKED):
            _visit(self._ports.application)
        self._traffic = self._program("traffic", sys.executable, "-m", "demo.traffic", *ports, str(self._speed))
        self._traffic.wait_until(lambda: somebody_listens(self._ports.database), "the database listens")
        config = self._directory / "config.yaml"
        settings = {
            "host": self._host,
            "interval": self._plan.interval_s,
            "destinations": [{"nodes": [f"127.0.0.1:{self._zabbix.trapper_port}"]}],
            "ports": {"remote": [self._ports.database]},
            "spool": {"path": str(self._directory / "spool.db")},
        }
        config.write_text(json.dumps(settings))
        self._daemon = self._program("tcp-status-sender", COMMAND, "run", "--config", str(config))
        first = self._zabbix.wait_for_history(self._host, 1)[0].clock
        api = self._zabbix.api
        (admin,) = api.user.get(filter={"username": USER}, output=["userid"])
        # Left of the first value of a trapper item, Zabbix draws that value on; less than a minute it does not draw.
        api.user.update(userid=admin["userid"], url=self._page(self._host, _moment(first - SHORTEST_S), "now"))

    def announce(self) -> None:
        """Print where to look, and what is to be seen there."""
        port, host = self._zabbix.web_port, self._host
        end = self._recorded_until
        record = self._page(RECORDED, _moment(end - 3600), _moment(end))
        say(
            "",
            f"The dashboard of this machine, {host}, which is counted every {self._plan.interval_s} s:",
            f"    {self._zabbix.web_url}",
            f"    user {USER}, password {PASSWORD}; the login leads there (its clock is UTC)",
            "Logged in, also:",
            f"    {self._zabbix.web_url}zabbix.php?action=problem.view&filter_name=&show_opdata=1",
            f"    {self._zabbix.web_url}{record}",
            f"    which is '{SHOWN_AS}': no machine, but an invented hour, for a dashboard that is full already",
            "From another machine, as all this listens on loopback only, in a terminal there, and then the same addresses:",
            f"    ssh -L {port}:127.0.0.1:{port} root@{host}",
            "Beside it, in another terminal here:",
            f"    {COMMAND} show --watch",
            "",
            "What happens now, in minutes. Thresholds are the template's own; what the demo itself opens is counted, too.",
        )
        for at_s, words in sorted(self._plan.lines(self._ports, names_service=bool(self._cgroup))):
            say(textwrap.fill(words, WIDTH, initial_indent=f"  {clock(at_s)}  ", subsequent_indent=" " * 10))
        say(
            "",
            "Whoever has an account on this machine can log in there, too, and Admin can run commands as root.",
            "Ctrl-C ends the demo and removes all of it.",
            "",
        )

    def play(self) -> None:
        """Play each act when its time has come, and print the problems that Zabbix raises and resolves, without end."""
        acts = {
            "The batch job runs.": (self._plan.batch, self._run_batch),
            "The application is restarted.": (self._plan.restart, self._restart_application),
        }
        due = {words: turn.first_s for words, (turn, _) in acts.items()}
        known: dict[str, dict[str, str]] = {}
        began = time.monotonic()

        def note(words: str) -> None:
            say(f"  {clock(time.monotonic() - began)}  {words}")

        while True:
            for program in (self._application, self._traffic, self._daemon):
                program.must_run()
            for words, (turn, act) in acts.items():
                if time.monotonic() - began >= due[words]:
                    due[words] += turn.every_s
                    note(words)
                    act()
            problems = self._problems()
            for event in problems.keys() - known.keys():
                note("Zabbix: PROBLEM   {title}. {opdata}".format_map(problems[event]))
            for event in known.keys() - problems.keys():
                note("Zabbix: RESOLVED  {title}".format_map(known[event]))
            known = problems
            time.sleep(POLL_S)

    def _run_batch(self) -> None:
        for _ in range(BATCH):
            _visit(self._ports.database)

    def _restart_application(self) -> None:
        self._application.kill()
        self._start_application()

    def _start_application(self) -> None:
        port = self._ports.application
        command = [sys.executable, "-m", "demo.application", str(port)]
        if self._cgroup:
            command = entering(f"{self._cgroup}/{APPLICATION}", *command)
        self._application = self._program("application", *command)
        self._application.wait_until(lambda: somebody_listens(port), "it listens")

    def _program(self, name: str, *command: str) -> Program:
        return Program(name, command, self._directory / f"{name}.log")

    def _problems(self) -> dict[str, dict[str, str]]:
        """Return what to say of the present problems, by event."""
        output = ["eventid", "name", "severity", "opdata"]
        found = self._zabbix.api.problem.get(hostids=self._id(self._host), output=output)
        return {
            each["eventid"]: {"title": f"{SEVERITIES[int(each['severity'])]}: {each['name']}", "opdata": each["opdata"]}
            for each in found
        }

    def _page(self, host: str, begin: str, end: str) -> str:
        """Return the address of the host's dashboard of that time."""
        return f"zabbix.php?action=host.dashboard.view&hostid={self._id(host)}&from={begin}&to={end}"

    def _id(self, host: str) -> str:
        (found,) = self._zabbix.api.host.get(filter={"host": host}, output=["hostid"])
        return str(found["hostid"])


def say(*lines: str) -> None:
    """Print lines at once, also where there is no terminal."""
    print(*lines, sep="\n", flush=True)


def _moment(clock: int) -> str:
    """Return a moment as the frontend's addresses have it."""
    return time.strftime("%Y-%m-%d+%H:%M:%S", time.gmtime(clock))


def _free(preferred: int) -> int:
    """Return that port, or any other where somebody listens there already."""
    return free_ports(1)[0] if somebody_listens(preferred) else preferred


def _visit(port: int) -> None:
    """Ask once, read the answer, and be the first to close."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as visitor:
        visitor.sendall(b"\n")
        visitor.recv(1)


def run(directory: Path, web_port: int | None, speed: float, cgroup: str) -> None:
    """Play the whole demo, in order."""
    say("Starting a Zabbix of its own: database, server, web interface; it takes half a minute.")
    with ZabbixStack(directory, web_port=web_port) as zabbix:
        if zabbix.version < (6, 0):
            raise StackError(f"Zabbix {zabbix.version} is installed here; expected 6.0 or later, as Debian 12 has it")
        stage = Stage(zabbix, directory, speed, cgroup)
        steps: tuple[Callable[[], None], ...] = (
            stage.provide,
            stage.add_recorded_host,
            stage.begin,
            stage.announce,
            stage.play,
        )
        for step in steps:
            step()


def main() -> int:
    """Run the demo. Where it fails, print why in a sentence, and what the failed program has said."""
    directory, port, speed = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    try:
        run(directory, port or None, speed, sys.argv[4])
    except (StackError, ModuleBaseException, OSError) as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
