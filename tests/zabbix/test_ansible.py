"""The Ansible role, as its README shows it: Debian's Ansible, a machine with a real systemd, and a real Zabbix.

In place of ssh, a script enters the machine. Only this side reaches the web interface, and only the machine a trapper at the name
that the README has: each is led to the Zabbix of the tests.
"""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from lab.command import COMMAND
from lab.documents import REPOSITORY, blocks
from lab.namespace import entered
from lab.packages import CONFIG, KEY, NAME, NEXT, built, cloned, made_next
from lab.program import ENVIRONMENT, finish
from lab.relay import Relay
from lab.systemd import PACKAGED, UNITS, System
from lab.tokens import new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

README = "packaging/ansible/tcp_status_sender/README.md"
PYTHON = "/usr/bin/python3"
HOST = "ansible-01"
PLACES = f"/etc/{NAME} /usr/bin/{NAME} /usr/local/bin/{NAME} /opt/{NAME} {UNITS}/{NAME}.service* /var/cache/*{NAME[:3]}?status?sender*"
WHEELS = "/srv/wheels"
# As on a machine that has never seen us: without what the machine of the other tests comes with.
BARE = f"""
umount /opt/{NAME}/lib/*/site-packages
rm -rf /opt/{NAME} /etc/{NAME} /usr/local/bin/{NAME}
"""
SSH = f"""#!/bin/sh -eu
while [ $# -gt 1 ]; do shift; done
umask 027  # as hardened hosts have it
exec nsenter --target={{pid}} --all env HOME=/root SYSTEMD_UNIT_PATH={UNITS}:{PACKAGED} sh -c "$1"
"""
# It is `provision`, and notes all command lines beside it.
PROVISION = f"""#!/bin/sh -eu
cat /proc/[0-9]*/cmdline >>{{noted}} 2>/dev/null || true
exec {COMMAND} "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Play:
    """How a run of the playbook ended: the counts of Ansible's recap, and all that it said."""

    code: int
    said: str

    @property
    def changed(self) -> int:
        """How many tasks have changed something, or would."""
        return self._count("changed")

    @property
    def failed(self) -> int:
        """How many have failed."""
        return self._count("failed") + self._count("unreachable")

    def changes(self) -> list[str]:
        """Return which tasks have changed something, or would."""
        found, task = [], ""
        for line in self.said.splitlines():
            if name := re.match(r"(?:TASK|RUNNING HANDLER) \[\w+ : (.*)\] \*", line):
                task = name[1]
            elif line.startswith("changed: "):
                found.append(task)
        return list(dict.fromkeys(found))

    def _count(self, what: str) -> int:
        (recap,) = re.findall(rf"^{HOST} .*\b{what}=(\d+)", self.said, re.MULTILINE)
        return int(recap)


@dataclass(kw_only=True)
class Controller:
    """Runs the README's playbook against a machine, with the package and the settings that a test changes."""

    system: System
    zabbix: ZabbixStack
    folder: Path
    variables: dict[str, Any]
    secrets: list[str]

    def run(self, *options: str, **config: Any) -> Play:
        """Run it, with changes to the configuration. No secret stands in what is said, nor on any command line meanwhile."""
        (text,) = blocks(README, "Playbook", "yaml")
        (play,) = yaml.safe_load(text)
        variables = play["roles"][0]["vars"]
        variables["tcp_status_sender_config"] |= config
        given = {name: value for name, value in self.variables.items() if value is not None}
        (self.folder / "playbook.yaml").write_text(yaml.safe_dump([play]))
        (self.folder / "given.json").write_text(json.dumps(given))
        command = ["ansible-playbook", "--inventory=inventory", "--extra-vars=@given.json", "-vvv", "--diff", *options]
        environment = {
            **ENVIRONMENT,
            "HOME": str(self.folder),
            "ANSIBLE_ROLES_PATH": str(REPOSITORY / "packaging/ansible"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            [*command, "playbook.yaml"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        for secret in self.secrets:
            assert secret not in said
            assert secret not in self.noted
        return Play(code=done.returncode, said=said)

    @property
    def noted(self) -> str:
        """The command lines while `provision` ran."""
        noted = self.folder / "noted"
        return noted.read_text(errors="replace") if noted.exists() else ""

    def done(self, *options: str, **config: Any) -> Play:
        """Run it, without any failure."""
        play = self.run(*options, **config)
        assert (play.code, play.failed) == (0, 0), play.said
        return play

    def hosts(self) -> list[Any]:
        """Return the host, as Zabbix has it, or nothing."""
        found: list[Any] = self.zabbix.api.host.get(filter={"host": HOST}, output=["hostid", "tls_accept"])
        return found

    def left(self) -> str:
        """Return what is there of tcp-status-sender on the machine."""
        return self.system.run("sh", "-c", f"ls -d {PLACES} 2>/dev/null || true")

    def values(self, key: str) -> list[str]:
        """Return the values of an item that came."""
        return [value.value for value in self.zabbix.history(HOST) if value.key == key]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for it."""
        self.zabbix.wait_until(condition, what, timeout_s=120)

    def process(self) -> str:
        """Return the daemon's process, which runs."""
        assert self.system.show(NAME, "ActiveState") == "active"
        return self.system.show(NAME, "MainPID")


@contextmanager
def controlled(zabbix: ZabbixStack, folder: Path, package: Path) -> Iterator[Controller]:
    """Yield a controller of a bare machine, of which Zabbix does not know, before and after."""
    token, key = new_token(zabbix, "1"), "5c" * 32
    with System(folder) as system, ExitStack() as stack:
        with entered(system.pid):
            relay = Relay(zabbix.trapper_port, port=10051)
        stack.enter_context(relay)
        system.run("sh", "-ec", BARE)
        system.path("/etc/hosts").write_text("127.0.0.1 localhost zbx.example.com\n")
        for name, text in (
            ("ssh", SSH.format(pid=system.pid)),
            ("provision", PROVISION.format(noted=folder / "noted")),
        ):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        (folder / "inventory").write_text(
            f"{HOST} ansible_ssh_executable={folder}/ssh ansible_ssh_transfer_method=piped"
            f" ansible_python_interpreter={PYTHON} ansible_become_method=su\n"
        )
        controller = Controller(
            system=system,
            zabbix=zabbix,
            folder=folder,
            secrets=[token, key],
            variables={
                "tcp_status_sender_package": str(package),
                "tcp_status_sender_zabbix_url": zabbix.web_url,
                "tcp_status_sender_provision_command": f"{folder}/provision",
                "vault_zabbix_token": token,
                "vault_psk": key,
            },
        )
        stack.callback(lambda: [zabbix.api.host.delete(host["hostid"]) for host in controller.hosts()])
        yield controller


def test_the_debian_package(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """From a bare machine to values by PSK; twice without a change; a wrong configuration never gets there; an upgrade."""
    clone = cloned(tmp_path / "clone")
    package = built(clone, "make deb")
    package = package.rename(tmp_path / package.name)
    made_next(clone / "sender/__init__.py", clone / "config.example.yaml")
    upgrade = built(clone, "make deb")
    with controlled(zabbix, tmp_path, package) as controller:
        controller.system.run("rm", "-rf", "/usr/sbin/policy-rc.d")
        life(controller)
        upgraded(controller, upgrade)
        # And back: what the role is given is what the host has.
        controller.variables["tcp_status_sender_package"] = str(package)
        controller.done(interval="1s")
        assert NEXT not in controller.system.run(f"/usr/bin/{NAME}", "--version")
        # The check of each run was one of something.
        assert "--psk-identity" in controller.noted
        journal = controller.system.run("journalctl", "--quiet")
        assert "ansible" in journal
        assert not [secret for secret in controller.secrets if secret in journal]


def upgraded(controller: Controller, upgrade: Path) -> None:
    """Upgrade what runs: in check mode it is told of, then done, and the next version's values come."""
    process = controller.process()
    controller.variables["tcp_status_sender_package"] = str(upgrade)
    assert controller.done("--check", interval="1s").changes() == ["Copy the package"]
    assert controller.process() == process
    assert controller.done(interval="1s").changes()[0] == "Copy the package"
    assert controller.process() != process
    controller.until(lambda: NEXT in controller.values("tcp.sender.version"), "the new version's values come")
    assert controller.done(interval="1s").changed == 0


def life(controller: Controller) -> None:
    """All of it."""
    system = controller.system
    # In check mode it says what it would do, on the machine and in Zabbix, and does nothing.
    before = controller.left()
    would = controller.done("--check", interval="1s").changes()
    assert controller.left() == before
    assert controller.hosts() == []

    # All that it said is done, and the first samples are those of the configuration: values come, by the key alone.
    did = controller.done(interval="1s").changes()
    assert set(would) < set(did)
    (host,) = controller.hosts()
    assert host["tls_accept"] == "2"
    controller.until(lambda: len(controller.values("tcp.status[TOTAL]")) > 1, "values come")
    assert system.show(NAME, "UnitFileState") == "enabled"
    assert system.run("stat", "--format=%a %U:%G", KEY) == "600 root:root\n"
    assert system.run("cat", f"/run/credentials/{NAME}.service/psk").strip() == "5c" * 32
    assert system.run("journalctl", "--quiet", "--output=cat", f"--unit={NAME}").count("Starting ") == 1

    # A second run finds nothing to do, in check mode neither.
    process, config = controller.process(), system.path(CONFIG).read_text()
    assert controller.done(interval="1s").changed == 0
    assert controller.done("--check", interval="1s").changed == 0

    # A change is told of in check mode, and then made without a restart.
    reloaded = ["Write the configuration", "Reload tcp-status-sender"]
    assert controller.done("--check", interval="2s").changes() == reloaded
    assert system.path(CONFIG).read_text() == config
    assert controller.done(interval="2s").changes() == reloaded
    config = system.path(CONFIG).read_text()
    assert yaml.safe_load(config)["interval"] == "2s"
    assert controller.process() == process

    # A wrong configuration is rejected with each problem, in check mode too, and nothing has changed.
    for options in ((), ("--check",)):
        wrong = controller.run(*options, intervall="2s", interval="soon")
        assert (wrong.code, wrong.failed, wrong.changed) == (2, 1, 0)
        assert "intervall: " in wrong.said
        assert "interval: " in wrong.said
    assert system.path(CONFIG).read_text() == config
    assert controller.process() == process

    # Neither has it where Zabbix does not know the token, or `provision` is not there. Why is said, though arguments are hidden.
    right = dict(controller.variables)
    for name, value, why in (
        ("vault_zabbix_token", "0" * 64, "Was it copied whole?"),
        ("tcp_status_sender_provision_command", "/nowhere/sender", "Install tcp-status-sender on localhost, or"),
    ):
        controller.variables[name] = value
        wrong = controller.run(interval="1s")
        assert (wrong.failed, wrong.changed) == (1, 0)
        assert why in wrong.said
        assert system.path(CONFIG).read_text() == config
        controller.variables = dict(right)

    # Another key goes to Zabbix and to the daemon, which restarts with it, though the run fails before its end.
    controller.variables["vault_psk"] = "d3" * 32
    controller.secrets.append("d3" * 32)
    system.run("mount", "--bind", CONFIG, CONFIG)  # so that nothing else can take its place
    half = controller.run(interval="1s")
    assert half.failed == 1
    assert half.changes() == ["Say what was done in Zabbix", "Write the keys", "Restart tcp-status-sender"]
    assert controller.process() != process
    system.run("umount", CONFIG)
    assert controller.done(interval="1s").changes() == ["Write the configuration", "Reload tcp-status-sender"]
    came = len(controller.values("tcp.status[TOTAL]"))
    controller.until(lambda: len(controller.values("tcp.status[TOTAL]")) > came, "values come by the new key")


def test_a_wheel(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """A machine without PyPI gets a wheel, twice without a change, and then its next version."""
    clone = cloned(tmp_path / "clone")
    pip = f"{PYTHON} -m venv .pip && .pip/bin/pip -q wheel"
    finish(["env", f"--chdir={clone}", "sh", "-euc", f"{pip} -w wheels ."])
    (wheel,) = clone.glob("wheels/tcp_status_sender-*.whl")
    made_next(clone / "sender/__init__.py", clone / "config.example.yaml")
    finish(["env", f"--chdir={clone}", "sh", "-euc", f"{pip} --no-deps -w next ."])
    (upgrade,) = clone.glob("next/*.whl")
    with controlled(zabbix, tmp_path, wheel) as controller:
        system = controller.system
        system.path(WHEELS).mkdir()
        for each in clone.glob("wheels/*.whl"):
            if each != wheel:
                system.path(f"{WHEELS}/{each.name}").write_bytes(each.read_bytes())
        controller.variables["tcp_status_sender_pip_args"] = ["--no-index", f"--find-links={WHEELS}"]
        assert controller.done("--check", interval="1s").changed
        assert controller.left() == ""
        controller.done(interval="1s")
        controller.until(lambda: bool(controller.values("tcp.sender.version")), "values come")
        assert controller.done(interval="1s").changed == 0
        assert controller.done("--check", interval="1s").changed == 0

        upgraded(controller, upgrade)
        # Where something else has installed it so, the role finds it.
        controller.variables["tcp_status_sender_package"] = ""
        assert controller.done(interval="1s").changed == 0


def test_what_cannot_be(zabbix: ZabbixStack, tmp_path: Path) -> None:
    """A file whose name does not tell the version, none where nothing is installed, keys for a systemd that hands none over.

    Each is an error that says what to do, and nothing has changed.
    """
    with controlled(zabbix, tmp_path, tmp_path / "sender.deb") as controller:
        play = controller.run()
        assert play.failed == 1
        assert "under the name that it was built with" in play.said
        controller.variables["tcp_status_sender_package"] = ""
        play = controller.run()
        assert play.failed == 1
        assert "install tcp-status-sender before this role" in play.said
        controller.system.path("/usr/bin/systemctl").write_text("#!/bin/sh\necho 'systemd 239 (239-82.el8)'\n")
        for options in ((), ("--check",)):
            play = controller.run(*options)
            assert (play.failed, play.changed) == (1, 0)
            assert "systemd is older than 247" in play.said
        assert controller.left() == ""
