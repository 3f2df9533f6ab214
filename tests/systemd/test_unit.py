"""The unit in a real systemd: it starts, says how it is, reloads, is watched, is shut in, and stops. Needs root."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from lab.namespace import entered
from lab.program import POLL_S, StackError, finish
from lab.systemd import UNITS, System
from lab.tls_server import psk_server
from lab.trapper import Trapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "tcp-status-sender.service"
UNIT = Path(__file__).parents[2] / "packaging" / NAME
CONFIG = "/etc/tcp-status-sender/config.yaml"
DROP_IN = UNITS / f"{NAME}.d"
STATE = "/var/lib/tcp-status-sender"
# A Python that is not the distribution's may have its library at a fixed place, which is not where it is found here.
LIBRARY = "Environment=LD_LIBRARY_PATH=/opt/python/lib"
AT_MOST = 15  # tenths, as `systemd-analyze security --threshold` wants them


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Yield a systemd for all tests of this file; its configuration and state are new for each."""
    with System(tmp_path_factory.mktemp("systemd")) as system:
        system.path(UNITS / NAME).write_bytes(UNIT.read_bytes())
        system.path(DROP_IN).mkdir()
        yield system


@pytest.fixture
def trapper(booted: System) -> Iterator[Trapper]:
    """Yield a trapper that takes everything, on loopback of the systemd's network; nothing else listens there."""
    with entered(booted.pid):
        trapper = Trapper()
    with trapper:
        yield trapper


class Service:
    """The daemon as systemd sees it."""

    def __init__(self, system: System, port: int) -> None:
        self.system = system
        self._port = port
        self.override()
        self.configure()

    def configure(self, host: str = "web-01", port: int | None = None, **tls: str) -> None:
        """Write a valid configuration, with a name to be looked up."""
        destination = {"name": "main", "nodes": [f"localhost:{port or self._port}"], "tls": tls}
        config = {"host": host, "interval": "1s", "destinations": [destination]}
        self.system.path(CONFIG).write_text(yaml.safe_dump(config))

    def override(self, *settings: str) -> None:
        """Change the unit, as `systemctl edit` does."""
        self.system.path(DROP_IN / "override.conf").write_text("\n".join(["[Service]", LIBRARY, *settings, ""]))
        self.systemctl("daemon-reload")

    def systemctl(self, verb: str, *more: str) -> str:
        """Return what `systemctl` prints; raises StackError when it fails."""
        return self.system.run("systemctl", verb, *more)

    def journal(self) -> str:
        """Return what it, and systemd about it, have logged since systemd was booted."""
        self.system.run("journalctl", "--sync")
        return self.system.run("journalctl", "--quiet", "--output=cat", f"--unit={NAME}")

    def __getitem__(self, name: str) -> str:
        """Return a property, as `systemctl show` has it."""
        return self.system.show(NAME, name)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
        """Until it holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come about within {timeout_s} s"
            time.sleep(POLL_S)

    def status(self) -> dict[str, str]:
        """Return what the kernel says of the running daemon, proc_pid_status(5)."""
        lines = self.system.run("cat", f"/proc/{self['MainPID']}/status").splitlines()
        return {name: " ".join(value.split()) for name, value in (line.split(":", 1) for line in lines)}


@pytest.fixture
def service(booted: System, trapper: Trapper) -> Iterator[Service]:
    """Not running, but configured; no state is left of the tests before."""
    service = Service(booted, trapper.port)
    yield service
    sys.stdout.write(service.journal())  # pytest shows it where the test fails
    service.systemctl("disable", "--now", NAME)
    service.systemctl("reset-failed")
    booted.run("rm", "-rf", "/var/lib/private/tcp-status-sender", STATE)


def test_the_unit_is_tight() -> None:
    """The exposure that systemd itself reckons is at most 1.5 of 10."""
    finish(["systemd-analyze", "security", "--offline=true", f"--threshold={AT_MOST}", str(UNIT)])


def test_systemd_finds_nothing_to_complain_about(booted: System) -> None:
    """Where it is installed as the README says, `systemd-analyze verify` is silent."""
    (booted.path("/tmp") / NAME).write_bytes(UNIT.read_bytes())  # noqa: S108  systemd's own, empty
    assert booted.run("sh", "-c", f"systemd-analyze verify /tmp/{NAME} 2>&1") == ""


def test_it_starts_and_says_how_it_is(service: Service, trapper: Trapper) -> None:
    """`enable --now` returns when it is ready; `status` has its own line; samples of the right network arrive."""
    service.systemctl("enable", "--now", NAME)
    assert (service["Type"], service["ActiveState"]) == ("notify", "active")  # so READY=1 has come
    assert service["UnitFileState"] == "enabled"
    assert re.search(r'^ +Status: ".+"$', service.systemctl("status", NAME), re.MULTILINE)
    trapper.wait_for(2)
    values = {(value["host"], value["key"]): value["value"] for value in trapper.values}
    assert values["web-01", "tcp.status[LISTEN]"] == "1"  # the trapper


def test_it_has_no_power(service: Service, trapper: Trapper) -> None:
    """A user made up for it, no capability, nothing to gain, system calls filtered."""
    service.systemctl("start", NAME)
    trapper.wait_for(1)
    status = service.status()
    assert set(status["Uid"].split()) == {service["UID"]}
    assert 61184 <= int(service["UID"]) <= 65519  # systemd.io/UIDS-GIDS: dynamic service users
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {name: int(status[name], 16) for name in sets} == dict.fromkeys(sets, 0)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_it_sees_and_writes_little(service: Service, trapper: Trapper) -> None:
    """Where even root, put in its place, may write, is the state directory; people's homes are empty."""
    service.systemctl("start", NAME)
    trapper.wait_for(1)
    inside = ["nsenter", f"--target={service['MainPID']}", "--mount"]
    try_all = 'for directory; do touch "$directory/here" && echo "$directory"; done 2>/dev/null || true'
    places = ("/", "/etc", "/usr", "/opt", "/var", "/var/lib", "/var/lib/private", "/run", "/run/lock", "/dev", STATE)
    assert service.system.run(*inside, "sh", "-c", try_all, "sh", *places).split() == [STATE]
    assert service.system.run(*inside, "ls", "-A", "/root", "/home", "/tmp") == "/home:\n\n/root:\n\n/tmp:\n"  # noqa: S108
    assert service.system.run(*inside, "cat", "/proc/sys/net/ipv4/tcp_max_tw_buckets").strip().isdigit()


def test_its_state_is_its_own(service: Service, trapper: Trapper) -> None:
    """The spool stands in the state directory, which nobody else may enter, and is there again after a restart."""
    for started in (1, 2):
        service.systemctl("restart", NAME)
        trapper.wait_for(len(trapper.requests) + started)
        owner = service["UID"]
        shown = service.system.run("stat", "--format=%u %a %n", f"{STATE}/.", f"{STATE}/spool.db")
        assert shown.splitlines() == [f"{owner} 700 {STATE}/.", f"{owner} 600 {STATE}/spool.db"]


@pytest.mark.parametrize("file", ["psk", f"/run/credentials/{NAME}/psk"])
def test_a_key_that_only_root_can_read(service: Service, file: str) -> None:
    """LoadCredential= hands it over, by its name or its path; it is used in the sandbox, and nobody is warned of it."""
    key = service.system.path("/etc/tcp-status-sender/psk")
    key.touch(mode=0o600)
    key.write_text(bytes(range(32)).hex())
    service.override("LoadCredential=psk:/etc/tcp-status-sender/psk")
    with entered(service.system.pid):
        encrypted = Trapper(encrypted=psk_server(web=bytes(range(32))))
    with encrypted:
        service.configure(port=encrypted.port, connect="psk", psk_identity="web", psk_file=file)
        begin = len(service.journal())
        service.systemctl("start", NAME)
        encrypted.wait_for(2)
    assert "chmod" not in service.journal()[begin:]


def test_a_reload_takes_the_changed_file(service: Service, trapper: Trapper) -> None:
    """`systemctl reload` applies the configuration in the running process."""
    service.systemctl("start", NAME)
    trapper.wait_for(1)
    before = service["MainPID"]
    service.configure(host="web-02")
    service.systemctl("reload", NAME)
    service.wait_for(lambda: trapper.values[-1]["host"] == "web-02", "a sample with the new host name")
    assert (service["ActiveState"], service["MainPID"]) == ("active", before)


def test_a_daemon_that_hangs_is_started_again(service: Service, trapper: Trapper) -> None:
    """The watchdog is fed while samples are taken; once they are not, systemd ends it and starts another."""
    service.override("WatchdogSec=3s", "RestartSec=100ms")
    service.systemctl("start", NAME)
    trapper.wait_for(5)  # longer than the watchdog waits
    first = service["MainPID"]
    assert service["NRestarts"] == "0"
    service.systemctl("kill", "--signal=STOP", NAME)
    service.wait_for(lambda: service["NRestarts"] == "1", "a restart")
    trapper.wait_for(len(trapper.requests) + 2)
    assert service["MainPID"] != first
    assert "Watchdog timeout" in service.journal()


def test_a_daemon_that_dies_is_started_again(service: Service, trapper: Trapper) -> None:
    """After kill -9, it costs the time that the unit waits, and no more."""
    service.override("RestartSec=100ms")
    service.systemctl("start", NAME)
    trapper.wait_for(1)
    service.systemctl("kill", "--signal=KILL", NAME)
    service.wait_for(lambda: service["NRestarts"] == "1", "a restart")
    trapper.wait_for(len(trapper.requests) + 2)


def test_a_bad_configuration_is_not_tried_again(service: Service) -> None:
    """The start fails at once, with the reason in the journal, and stays failed."""
    service.override("RestartSec=1ms")
    service.system.path(CONFIG).write_text("intervall: 30s\n")
    with pytest.raises(StackError, match=r"Job for .* failed"):
        service.systemctl("start", NAME)
    assert f"{CONFIG}: intervall: " in service.journal()
    assert (service["ActiveState"], service["NRestarts"], service["ExecMainStatus"]) == ("failed", "0", "2")


def test_it_stops_in_time(service: Service, trapper: Trapper) -> None:
    """`systemctl stop` takes 5 s at most, nothing of it is left, and it counts as success."""
    service.systemctl("start", NAME)
    trapper.wait_for(1)
    begin = time.monotonic()
    service.systemctl("stop", NAME)
    assert time.monotonic() - begin <= 5
    assert (service["ActiveState"], service["Result"], service["ExecMainStatus"]) == ("inactive", "success", "0")
