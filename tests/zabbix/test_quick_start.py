"""The commands of the quick start, in order, by a new user: from a bare machine to an alert in a real Zabbix.

The machine is one with a systemd, and a network of its own in which the names of the README lead to the Zabbix of the
tests. Of the README's text only the address of the web interface is changed, and of the configuration the interval.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.documents import REPOSITORY, blocks, shell
from lab.namespace import entered
from lab.program import finish
from lab.relay import Relay
from lab.systemd import UNITS, System
from lab.watched_daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.zabbix_stack import ZabbixStack

HOST = "web-01"
CLONE = "/root/tcp-status-sender"
ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = "/etc/tcp-status-sender/config.yaml"
DROP_IN = UNITS / "tcp-status-sender.service.d"
LEAKED = "ss -Htn state close-wait sport = :8765 | wc -l"
TRAPPER_PORT, WEB_PORT = 10051, 8080
HOSTS = "127.0.0.1 localhost zbx.example.com zabbix.example.com\n"
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "config.example.yaml", "sender", "templates", "packaging")
# As on a machine that has never seen us: without what the machine of the other tests comes with.
BARE = """
umount /opt/tcp-status-sender/lib/*/site-packages
rm -rf /opt/tcp-status-sender /etc/tcp-status-sender /usr/local/bin/tcp-status-sender
"""


class Machine:
    """Whose user follows the README, in a shell in a clone of the repository."""

    def __init__(self, system: System) -> None:
        self._system = system
        system.run("sh", "-ec", BARE)
        system.path("/etc/hosts").write_text(HOSTS)
        clone = system.path(CLONE)
        clone.mkdir()
        for name in NEEDED:
            source = REPOSITORY / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, clone / name)

    def run(self, script: str) -> str:
        """Return what its commands print; raises StackError when one of them fails."""
        return self._system.run("sh", "-euc", self._at_home(script))

    def run_online(self, script: str) -> str:
        """Return the same with this machine's network, where packages are to be had."""
        pips = [f"{name}={value}" for name, value in os.environ.items() if name.lower().startswith(("pip_", "http"))]
        inside = ["nsenter", f"--target={self._system.pid}", "--mount", "env", *pips]
        return finish([*inside, "sh", "-euc", self._at_home(script)])

    @contextmanager
    def leaking(self, script: str) -> Iterator[None]:
        """Its one command leaks while the context lasts.

        The daemon stands still until all is leaked, as each second is a sample here: one of fewer connections than the
        threshold would be the first value of a new port, and no alert for a quarter of an hour.
        """
        self.run("systemctl kill --signal=STOP tcp-status-sender")
        inside = ["nsenter", f"--target={self._system.pid}", "--all", "setpriv", "--pdeathsig=KILL"]
        process = subprocess.Popen([*inside, "sh", "-euc", f"exec {script}"])
        try:
            wait_until(lambda: self.run(LEAKED) == "150\n", "150 connections are leaked")
            self.run("systemctl kill --signal=CONT tcp-status-sender")
            yield
        finally:
            process.kill()
            process.wait()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, by hand."""
        target = self._system.path(path)
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def edit(self, **changes: Any) -> None:
        """Edit the configuration, by hand."""
        settings = yaml.safe_load(self._system.path(CONFIG).read_text())
        self.write(CONFIG, yaml.safe_dump({**settings, **changes, "interval": "1s"}))

    def status(self) -> str:
        """Return the daemon's own line in `systemctl status`."""
        return self._system.show("tcp-status-sender", "StatusText")

    @staticmethod
    def _at_home(script: str) -> str:
        there = f"http://zabbix.example.com:{WEB_PORT}"
        return f"PATH={ROOTS_PATH}\ncd {CLONE}\n" + script.replace("https://zabbix.example.com/zabbix", there)


@pytest.fixture
def machine(zabbix: ZabbixStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Yield it reaches the server's trapper and the web interface, and an API token of Admin is in the clone."""
    made = zabbix.api.token.create(name="quick start", userid="1")
    token = zabbix.api.token.generate(made["tokenids"])[0]["token"]
    ports = {TRAPPER_PORT: zabbix.trapper_port, WEB_PORT: zabbix.web_port}
    with System(tmp_path_factory.mktemp("systemd")) as system, ExitStack() as stack:
        for port, behind in ports.items():
            with entered(system.pid):
                relay = Relay(behind, port=port)
            stack.enter_context(relay)
        machine = Machine(system)
        machine.write(f"{CLONE}/token", token, mode=0o600)
        yield machine


def forget_host(zabbix: ZabbixStack) -> None:
    """Other tests have one of this name as well."""
    found = zabbix.api.host.get(filter={"host": HOST}, output=["hostid"])
    if found:
        zabbix.api.host.delete(*[host["hostid"] for host in found])


@pytest.fixture
def no_host(zabbix: ZabbixStack) -> Iterator[None]:
    """Zabbix does not know the host, before and after."""
    forget_host(zabbix)
    yield
    forget_host(zabbix)


@pytest.mark.usefixtures("no_host")
def test_from_nothing_to_an_alert(zabbix: ZabbixStack, machine: Machine) -> None:
    """Installed by pip, configured, checked and running as a service: values arrive; a leak is a problem until it ends.

    tests/systemd/test_deb.py installs the package.
    """
    (install,) = shell("docs/installing.md", "With pip")
    _package, provision, check, service, leak = shell("README.md", "Quick start")
    (settings,) = blocks("README.md", "Quick start", "yaml")

    machine.run_online(f"umask 027\n{install}")  # as hardened hosts have it
    assert f"host '{HOST}': created" in machine.run(provision)
    machine.edit(**yaml.safe_load(settings))
    zabbix.wait_for_items(HOST)
    assert "FAIL" not in machine.run(check)
    assert "Status: " in machine.run(service)

    (host,) = zabbix.api.host.get(filter={"host": HOST}, output=["hostid"])

    def problems() -> list[str]:
        found = zabbix.api.problem.get(hostids=host["hostid"], output=["name"])
        return [problem["name"] for problem in found]

    with machine.leaking(leak):
        zabbix.wait_until(lambda: bool(problems()), "the leak is a problem", timeout_s=120)
        assert problems() == ["TCP port 8765: Many connections in CLOSE_WAIT (over 100 for 15m)"]
    zabbix.wait_until(lambda: not problems(), "it is none any more", timeout_s=120)

    keys, restart = shell("docs/configuring.md", "Pre-shared key")
    (settings,) = blocks("docs/configuring.md", "Pre-shared key", "yaml")
    (drop_in,) = blocks("docs/configuring.md", "Pre-shared key", "ini")
    assert "changed: PSK 'PSK web-01' set" in machine.run(keys)
    machine.edit(**yaml.safe_load(settings))
    machine.write(f"{DROP_IN}/override.conf", drop_in)
    machine.run("systemctl daemon-reload")  # as `systemctl edit` does
    machine.run(restart)
    zabbix.wait_until(lambda: "main: all values accepted" in machine.status(), "it takes values by PSK", timeout_s=120)


def test_a_look_without_anything() -> None:
    """`make run` prints one line, a request with values."""
    (run,) = shell("README.md", "Try it")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["sh", "-euc", run], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["data"]
