"""`make demo`, the real thing at thirty times its speed: it shows what it promises, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from zabbix_utils import ZabbixAPI

from lab.cgroups import cgroup2
from lab.namespace import LOOPBACK, Namespace, entered
from lab.program import caged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

REPOSITORY = Path(__file__).parents[2]
RECORDED = "web-01 recorded"
FULL = "TCP port 8080 http-alt: Accept queue is full (100% or more in 3 samples)"
LEAK = "TCP: Many connections in CLOSE_WAIT (over 100 for 15m)"
WAIT_S = 60


@pytest.fixture
def network() -> Iterator[Namespace]:
    """Yield a network with loopback alone: what the demo opens is in there, and every process of the demo."""
    with Namespace(LOOPBACK) as network:
        yield network


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For temporary files, with a name that is short enough for sockets."""
    return tmp_path_factory.mktemp("demo")


class Demo:
    """The demo, started in `network`, with `directory` for its temporary files; it ends with the context at the latest."""

    def __init__(self, network: Namespace, directory: Path, *options: str) -> None:
        self.text = ""
        self.directory = directory
        self._network = network
        self.process = subprocess.Popen(
            network.inside(sys.executable, "-m", "demo", *options),
            cwd=REPOSITORY,
            env=environment(directory),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(WAIT_S)
        assert self.process.stdout
        self.process.stdout.close()

    def until(self, pattern: str) -> str:
        """Return what is in parentheses in a line that it prints, or has printed."""
        assert self.process.stdout
        while not (found := re.search(pattern, self.text, re.MULTILINE)):
            line = self.process.stdout.readline()
            assert line, f"it ended without {pattern}:\n{self.text}"
            self.text += line
        return found[found.re.groups]

    def end(self, how: signal.Signals) -> int:
        """Its exit code after that signal; no process, directory, cgroup or listening port of it is left."""
        self.process.send_signal(how)
        code = self.process.wait(WAIT_S)
        assert processes_in(self._network) == [self._network.report["pid"]]
        assert list(self.directory.iterdir()) == []
        assert list(cgroup2().glob(f"tcp-demo-{self.process.pid}*")) == []
        assert self._network.run("ss", "-tlnH") == ""
        return code


def environment(directory: Path) -> dict[str, str]:
    """Return that of `make demo`."""
    return {**os.environ, "TMPDIR": str(directory)}


def processes_in(network: Namespace) -> list[int]:
    """Whoever lives in a network, by process id."""
    home = Path(f"/proc/{network.report['pid']}/ns/net").readlink()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns" / "net").readlink() == home:
                found.append(int(process.name))
        except OSError:  # it has just ended, or is hidden from this machine's root, as nothing that is started here
            continue
    return found


def logged_in(url: str) -> tuple[str, str]:
    """Where a browser is after the login, and the page that it gets."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    form = urllib.parse.urlencode({"name": "Admin", "password": "zabbix", "enter": "Sign in"})
    with browser.open(f"{url}index.php", form.encode(), timeout=WAIT_S) as answer:
        return answer.url, answer.read().decode()


class Zabbix:
    """The demo's Zabbix, as its API shows it."""

    def __init__(self, url: str) -> None:
        self._api = ZabbixAPI(url=url, user="Admin", password="zabbix")  # noqa: S106

    def host(self, name: str) -> Any:
        """One of this technical name."""
        (host,) = self._api.host.get(filter={"host": name}, output=["hostid", "name", "description"])
        return host

    def values(self, host: str, key: str) -> list[tuple[int, int]]:
        """Return the stored values of an unsigned item, each after its clock; none where there is no item yet."""
        items = self._api.item.get(host=host, filter={"key_": key}, output=["itemid"])
        if not items:
            return []
        rows = self._api.history.get(
            itemids=items[0]["itemid"], history=3, sortfield="clock", output=["clock", "value"]
        )
        return [(int(row["clock"]), int(row["value"])) for row in rows]

    def highest(self, host: str, key: str) -> int:
        """Of the stored values."""
        return max((value for _, value in self.values(host, key)), default=0)

    def problems(self, host: str) -> dict[str, str]:
        """Return the operational data of those that there are, by name."""
        found = self._api.problem.get(hostids=self.host(host)["hostid"], output=["name", "opdata"])
        return {each["name"]: each["opdata"] for each in found}


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as `condition` holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def test_the_demo_shows_this_machine_in_trouble(network: Namespace, directory: Path) -> None:
    """The printed address leads to this host, with true values alone, that rise until a problem fires; Ctrl-C ends all."""
    here, began = socket.gethostname(), time.time()
    with Demo(network, directory, "--speed", "30") as demo:
        url = demo.until(r"^ +(http://127\.0\.0\.1:\d+/)$")
        assert demo.until("user (.*);") == "Admin, password zabbix"
        with entered(network.report["pid"]):
            zabbix = Zabbix(url)
            place, page = logged_in(url)
            assert f"action=host.dashboard.view&hostid={zabbix.host(here)['hostid']}&" in place
            assert '<h1 id="page-title-general">TCP states</h1>' in page
            the_figures_rise(zabbix, here)
            the_values_are_true(zabbix, here, began)
            the_record_is_plainly_one(zabbix)
        demo.until(f"Zabbix: (PROBLEM) +High: {re.escape(FULL)}")
        demo.until(rf"Zabbix: PROBLEM +Warning: {re.escape(LEAK)}\. (Current: \d+, mostly backend.service) ")
        assert demo.end(signal.SIGINT) == 0


def the_figures_rise(zabbix: Zabbix, here: str) -> None:
    """TIME_WAIT, CLOSE_WAIT and the accept queue, until that is a problem."""
    wait_until(lambda: zabbix.highest(here, "tcp.status[TIME_WAIT]") >= 2000, "TIME_WAIT is high")
    wait_until(lambda: zabbix.highest(here, "tcp.status[CLOSE_WAIT]") >= 350, "the leak has grown")
    wait_until(lambda: zabbix.highest(here, "tcp.listen.queue[8080]") >= 128, "the accept queue is full")
    wait_until(lambda: FULL in zabbix.problems(here), "its problem fires")
    assert re.fullmatch(r"Current: \d+, mostly backend.service \d+.*", zabbix.problems(here)[LEAK])
    wait_until(
        lambda: zabbix.highest(here, "tcp.service.status[CLOSE_WAIT,backend.service]") >= 350, "it is the service's"
    )


def the_values_are_true(zabbix: Zabbix, here: str, began: float) -> None:
    """Check that the host has no value from before it was counted, and that the first has the leak as it was then."""
    (first, leaked), *_ = zabbix.values(here, "tcp.status[CLOSE_WAIT]")
    assert first > began
    assert 150 <= leaked < zabbix.highest(here, "tcp.status[CLOSE_WAIT]")


def the_record_is_plainly_one(zabbix: Zabbix) -> None:
    """Check that the recorded host says that it is no machine, and that all that went wrong in its hour is a problem."""
    assert "recorded story" in zabbix.host(RECORDED)["name"]
    assert "Not a machine" in zabbix.host(RECORDED)["description"]
    told = [clock for clock, _ in zabbix.values(RECORDED, "tcp.status[TOTAL]")]
    assert told[-1] - told[0] == 3600
    assert len(zabbix.problems(RECORDED)) == 3


@pytest.mark.parametrize(
    ("how", "made"),
    [
        (signal.SIGINT, "postgres"),
        (signal.SIGTERM, "postgres/data/base/*"),  # initdb is at work
        (signal.SIGHUP, "postgres/.s.PGSQL.*"),  # the database is being filled
    ],
)
def test_it_can_be_ended_while_it_starts(network: Namespace, directory: Path, how: signal.Signals, made: str) -> None:
    """Ctrl-C, kill and a closed terminal end it at any moment, and leave nothing behind, even where nobody reads any more."""
    with Demo(network, directory) as demo:
        demo.until("^(Starting)")
        wait_until(lambda: any(directory.glob(f"*/{made}")), f"there is {made}")
        assert demo.process.stdout
        demo.process.stdout.close()
        assert demo.end(how) == 0


def refusal(directory: Path, command: list[str]) -> str:
    """Return what the demo says when it does not start, which must be one line."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment(directory), timeout=WAIT_S
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert list(directory.iterdir()) == []
    return line


def test_it_says_why_it_does_not_start(network: Namespace, directory: Path, tmp_path: Path) -> None:
    """Who is not root, asks for a port that is in use, or has a TMPDIR too long for sockets, is told so in one sentence."""
    demo = [sys.executable, "-m", "demo"]
    assert "needs root" in refusal(directory, caged(demo, user="daemon"))
    with network.call(lambda: socket.create_server(("127.0.0.1", 8000))):
        assert "port 8000" in refusal(directory, network.inside(*demo, "--port", "8000"))
    long = tmp_path / ("long" * 10)
    long.mkdir()
    assert "TMPDIR=/tmp" in refusal(long, demo)
