"""The daemon as a container, built and run by the commands of the documents: what a user gets. Needs root and podman.

The base image is a Debian that debootstrap has made. The container has this machine's network, and Zabbix is a real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lab.cgroups import Cgroup
from lab.documents import shell
from lab.program import POLL_S, finish
from lab.trapper import Trapper
from lab.zabbix_stack import free_ports
from sender import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.containers import Engine
    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
NAME = "tcp-status-sender"
CONFIG = f"/etc/{NAME}/config.yaml"
UID = 10051
LEAKED = 7
LEAKS = f"""if True:
    import socket, sys
    from pathlib import Path
    Path(sys.argv[1], "cgroup.procs").write_text("0")
    server = socket.create_server(("127.0.0.1", 0))
    kept = []
    for _ in range({LEAKED}):
        with socket.create_connection(server.getsockname()):
            kept.append(server.accept())
    print(flush=True)
    sys.stdin.read()
"""


def until(condition: Any, what: str, timeout_s: float = 30) -> None:
    """Wait for it."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


@contextmanager
def leaking() -> Iterator[str]:
    """Yield the name of a service of this machine that leaves connections in CLOSE_WAIT while the context lasts."""
    with Cgroup(".service") as cgroup:
        process = subprocess.Popen(
            [sys.executable, "-c", LEAKS, str(cgroup.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout
            assert process.stdout.readline()
            yield cgroup.path.name
        finally:
            process.communicate()


def configure(engine: Engine, host: str, port: int) -> None:
    """Write the configuration that the documents' command mounts."""
    settings = {
        "host": host,
        "interval": 1,
        "destinations": [{"nodes": [f"127.0.0.1:{port}"]}],
        "ports": {"listening": False},
    }
    engine.path(CONFIG).write_text(json.dumps(settings))


@contextmanager
def gone(engine: Engine, *, volume: bool = True) -> Iterator[None]:
    """Remove the container in the end, and the spool."""
    try:
        yield
    finally:
        engine.run(f"podman rm --force --time 0 {NAME}")
        if volume:
            engine.run(f"podman volume rm --force {NAME}")


def run_and_check() -> tuple[str, str]:
    """Return the documents' two commands: that which runs the container, and `check` in it."""
    (both,) = shell("docs/containers.md", "Run the image")
    run, _, check = both.partition("podman exec ")
    return run, f"podman exec {check}"


def checks(said: str) -> dict[str, Any]:
    """Return what `check --json` has found, by check."""
    return {each["check"]: each for each in json.loads(said)["checks"]}


def assert_unprivileged(engine: Engine) -> None:
    """Fail unless the daemon is nobody's user without any capability; in its container even root could write the spool alone."""
    process = engine.run(f"podman inspect {NAME} --format '{{{{.State.Pid}}}}'").strip()
    status = dict(line.split(":", 1) for line in engine.path(f"/proc/{process}/status").read_text().splitlines())
    assert {status[name].strip() for name in ("Uid", "Gid")} == {"\t".join([str(UID)] * 4)}
    assert {status[f"Cap{each}"].strip() for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    for place in ("/", f"/etc/{NAME}", "/opt", "/sys/fs/cgroup"):
        tried = engine.tried(f"podman exec --user 0 --privileged {NAME} mkdir {place}/made")
        assert "Read-only file system" in tried.stdout


def test_the_image(engine: Engine, image: str) -> None:
    """It says what it is, belongs to nobody's user, and has no installer of ours in it."""
    (inspected,) = json.loads(engine.run(f"podman image inspect {image}"))
    assert (inspected["User"], inspected["Config"]["Volumes"]) == (f"{UID}:{UID}", {f"/var/lib/{NAME}": {}})
    labels = inspected["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == finish(["git", "-C", ".", "rev-parse", "HEAD"]).strip()
    assert labels["org.opencontainers.image.base.name"] == "localhost/debian-python"
    assert engine.run(f"podman run --rm --network none {image} --version").split() == [NAME, __version__]
    places = f"/var/lib /var/lib/{NAME} /etc/{NAME} /opt /usr/local/bin"
    found = engine.run(f"podman run --rm --network none --entrypoint stat {image} --format '%u:%g %a' {places}")
    assert found.splitlines() == ["0:0 755", f"{UID}:{UID} 700", "0:0 755", "0:0 755", "0:0 755"]
    found = engine.run(
        f"podman run --rm --network none --entrypoint find {image} /opt -name '*.dist-info' -o -name 'cli.*.pyc'"
    )
    assert "apscheduler" in found
    assert "/sender/__pycache__/cli." in found
    assert "/pip-" not in found


def test_it_delivers_as_documented(engine: Engine, image: str, zabbix: ZabbixStack) -> None:
    """Started by the documents' command, it brings this machine's counts to Zabbix, with the name of the service that leaks.

    It has no privilege, writes its spool alone, finds nothing amiss, and stops when it is told to.
    """
    assert image
    host = "a host of containers"
    zabbix.create_host(host, [TEMPLATE])
    zabbix.wait_for_items(host)
    configure(engine, host, zabbix.trapper_port)
    run, check = run_and_check()
    with leaking() as service, gone(engine):
        engine.run(run)

        def named() -> list[str]:
            return [each.value for each in zabbix.history(host) if each.key == "tcp.status.top[CLOSE_WAIT]"]

        zabbix.wait_until(lambda: any(service in text for text in named()), "the service is named", 60)

        def amiss() -> list[dict[str, Any]]:
            found = checks(engine.run(f"{check.rstrip()} --json"))
            assert "units" in found["owners"]["found"]
            return [each for each in found.values() if each["result"] != "ok"]

        zabbix.wait_until(lambda: not amiss(), "Zabbix has made the items of units, and nothing is amiss", 60)
        shown = engine.run(f"podman exec {NAME} tcp-status-sender show --json")
        assert json.loads(shown)["owners"]["CLOSE_WAIT"][service] == LEAKED

        assert_unprivileged(engine)
        log = engine.run(f"podman logs {NAME} 2>&1")
        assert "started: host 'a host of containers'" in log
        assert not [line for line in log.splitlines() if " WARNING " in line or " ERROR " in line]
        began = time.monotonic()
        engine.run(f"podman stop --time 30 {NAME}")
        assert time.monotonic() - began < 10
        assert engine.run(f"podman inspect {NAME} --format '{{{{.State.ExitCode}}}}'").strip() == "0"


def test_what_is_queued_outlives_the_container(engine: Engine, image: str) -> None:
    """While nobody answers, samples wait in the volume. The next container, a newer image say, delivers them."""
    assert image
    run, _ = run_and_check()
    (port,) = free_ports(1)
    with gone(engine):
        configure(engine, "web-01", port)
        with gone(engine, volume=False):
            began = time.time()
            engine.run(run)
            until(lambda: engine.tried(f"podman logs {NAME}").stdout.count("delivery failed"), "the failure is said")
            until(lambda: time.time() > began + 5, "some samples")
        ended = time.time()
        with Trapper() as trapper:
            configure(engine, "web-01", trapper.port)
            engine.run(run)
            trapper.wait_for(3)
            moments = {value["clock"] for value in trapper.values if value["key"] == "tcp.status[TOTAL]"}
        assert len([moment for moment in moments if began <= moment <= ended]) >= 2


def test_it_is_reloaded(engine: Engine, image: str) -> None:
    """By the documents' signal, it reads a configuration that an editor has put in the place of the old one."""
    assert image
    run, _ = run_and_check()
    with Trapper() as trapper, gone(engine):
        configure(engine, "web-01", trapper.port)
        engine.run(run)
        trapper.wait_for(1)
        engine.path(CONFIG).rename(engine.path(f"{CONFIG}~"))
        configure(engine, "web-02", trapper.port)
        engine.run(f"podman kill --signal HUP {NAME}")
        until(lambda: trapper.values[-1]["host"] == "web-02", "the new name")


def test_compose(engine: Engine, image: str) -> None:
    """By the file for Compose, here in Podman, it runs as by the documents' command: unprivileged, and with owners."""
    assert image
    where = "packaging/container/compose.yaml"
    serve = "podman system service --time 0 unix:///run/engine.sock"
    with Trapper() as trapper, leaking() as service, subprocess.Popen(engine.inside(f"exec {serve}")) as socket:
        try:
            until(engine.path("/run/engine.sock").is_socket, "Podman's socket")
            configure(engine, "web-01", trapper.port)
            compose = f"docker-compose --host unix:///run/engine.sock --file {where}"
            engine.run(f"{compose} up --detach")
            until(lambda: any(service in str(each["value"]) for each in trapper.values), "the service is named")
            assert_unprivileged(engine)
            engine.run(f"{compose} down --volumes")
        finally:
            socket.terminate()


def test_without_the_hosts_network_it_says_so(engine: Engine, image: str) -> None:
    """`check` and the first line of the log know that these sockets are the container's own, and what to set."""
    engine.path(CONFIG).unlink(missing_ok=True)
    tried = engine.tried(f"podman run --rm --network none --read-only {image} check --json")
    found = checks(tried.stdout)
    assert found["namespace"]["result"] == "warn"
    assert "that of a container (podman)" in found["namespace"]["found"]
    assert "--network host" in found["namespace"]["advice"]
    with gone(engine):
        engine.run(f"podman run --detach --name {NAME} --network none --read-only {image}")
        until(lambda: " started: " in engine.tried(f"podman logs {NAME}").stdout, "it has started")
        first = engine.tried(f"podman logs {NAME}").stdout.splitlines()[0]
    assert " WARNING this network namespace is not the host's, but that of a container (podman)" in first
    assert "--network host" in first


def test_without_the_hosts_cgroups_it_says_so(engine: Engine, image: str) -> None:
    """It counts all the same, but for whose the sockets are, and says what to mount."""
    tried = engine.tried(f"podman run --rm --network host --read-only {image} check --json")
    found = checks(tried.stdout)
    assert (found["kernel"]["result"], found["owners"]["result"]) == ("ok", "skip")
    assert "namespace" not in found
    assert "--volume /sys/fs/cgroup:/sys/fs/cgroup:ro" in found["owners"]["advice"]


def test_a_base_image_out_of_reach(engine: Engine) -> None:
    """What to do is said, by the command itself."""
    (port,) = free_ports(1)
    (build,) = shell("docs/containers.md", "Build the image")
    tried = engine.tried(f"export BASE=127.0.0.1:{port}/python\n{build}")
    assert tried.returncode != 0
    assert f"the base image 127.0.0.1:{port}/python cannot be had" in tried.stdout
    assert "make image BASE=registry.example.com/" in tried.stdout
