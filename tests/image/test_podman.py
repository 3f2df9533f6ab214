"""What is counted of the containers of a real Podman, on a bridge and on the host's network: exactly theirs, by name. Needs root.

By a daemon on the host, and by one that is a container itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import COMMAND
from lab.documents import shell
from lab.trapper import Trapper
from lab.watched_daemon import Daemon, wait_until
from sender.kernel.namespace_link import NamespaceLink
from sender.kernel.other_namespaces import OtherNamespaces
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, TcpState

if TYPE_CHECKING:
    from lab.containers import Engine

IMAGE = "localhost/debian-python"
# So many connections, of which so many were closed by the client.
SOCKETS = """if True:
    import socket, sys, time
    count, closed = map(int, sys.argv[1:])
    server = socket.create_server(("127.0.0.1", 0), backlog=count)
    clients = [socket.create_connection(server.getsockname()) for _ in range(count)]
    accepted = [server.accept()[0] for _ in clients]
    for client in clients[:closed]:
        client.close()
    print("ready", flush=True)
    time.sleep(600)
"""
# A container stays in the cgroup where it is started: here in one that has the name which Podman would give it.
START = """
id=$(podman create --name {name} --network {network} --entrypoint python3 {image} -c '{sockets}' {count} {closed})
place=$(dirname "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)")/libpod-$id.scope
mkdir "$place"
echo 0 >"$place/cgroup.procs"
podman start {name} >&2
until podman logs {name} 2>&1 | grep -q ready; do sleep 0.1; done
echo "$id"
"""


def started(engine: Engine, name: str, network: str, count: int, closed: int) -> str:
    """Start a container with so many connections; return its id."""
    script = START.format(name=name, network=network, image=IMAGE, sockets=SOCKETS, count=count, closed=closed)
    return engine.run(script).strip()


def test_containers_are_counted_by_name(engine: Engine, tmp_path: Path) -> None:
    """Two on a bridge are two namespaces, with their own sockets; one on the host's network is named among the host's."""
    engine.run("podman network create --internal shop")
    names = ("basket", "orders", "proxy")
    path = tmp_path / "helper"
    helper = Daemon(engine.inside(f"exec setpriv --pdeathsig KILL {COMMAND} namespaces --listen {path}"))
    try:
        for name, network, count, closed in (("basket", "shop", 5, 2), ("orders", "shop", 7, 3)):
            started(engine, name, network, count, closed)
        proxy = started(engine, "proxy", "host", 9, 4)
        wait_until(path.exists, "the helper listens")
        others = OtherNamespaces(NamespaceLink(path), budget_s=20)
        kernel = SockDiag(others=others)
        wanted = CountedPorts(owners=True, namespaces=True)

        def is_known() -> bool:
            return {"basket", "orders"} <= (others.count().states or {}).keys() and proxy in others.container_names

        wait_until(is_known, "the helper has told of all three")
        found = kernel.sample(wanted)
        assert found.namespaces
        assert found.owners
        for name, count, closed in (("basket", 5, 2), ("orders", 7, 3)):
            states = {state: number for state, number in found.namespaces[name].items() if number}
            assert states == {
                TcpState.ESTABLISHED: 2 * (count - closed),
                TcpState.CLOSE_WAIT: closed,
                TcpState.FIN_WAIT2: closed,
                TcpState.LISTEN: 1,
            }
        assert found.owners[TcpState.CLOSE_WAIT]["container proxy"] == 4
        assert found.owners[TcpState.ESTABLISHED]["container proxy"] == 2 * (9 - 4)
        others.close()
    finally:
        helper.stop()
        engine.run(f"podman rm --force --time 0 {' '.join(names)}; podman network rm --force shop")


def test_the_daemon_is_a_container(engine: Engine, image: str) -> None:
    """Beside the documents' helper, with its socket, the unprivileged daemon in a container counts another one's sockets."""
    assert image
    document = Path("docs/containers.md").read_text()
    (helps,) = re.findall(r"^ *ExecStart=/usr/bin/tcp-status-sender (\S.*)", document, re.MULTILINE)
    (volume,) = re.findall(r"`(--volume (\S+\.sock):\2)`", document)
    (run,) = shell("docs/containers.md", "Run the image")
    run = run.partition("podman exec ")[0].replace("podman run ", f"podman run {volume[0]} ")
    helper = Daemon(engine.inside(f"exec setpriv --pdeathsig KILL {COMMAND} {helps} --listen {volume[1]}"))
    with Trapper() as trapper:
        settings = {
            "host": "web-01",
            "interval": 1,
            "destinations": [{"nodes": [f"127.0.0.1:{trapper.port}"]}],
            "namespaces": {"report": True},
        }
        engine.path("/etc/tcp-status-sender/config.yaml").write_text(json.dumps(settings))
        try:
            engine.run("podman network create --internal shop")
            started(engine, "basket", "shop", 5, 2)
            wait_until(engine.path(volume[1]).exists, "the helper listens")
            engine.run(run)
            values = ("tcp.netns.status[ESTABLISHED,basket]", "6"), ("tcp.netns.status[CLOSE_WAIT,basket]", "2")
            wait_until(
                lambda: set(values) <= {(each["key"], str(each["value"])) for each in trapper.values}, "it counts them"
            )
            assert not helper.said("refused")
        finally:
            helper.stop()
            engine.run("podman rm --force --time 0 basket tcp-status-sender; podman network rm --force shop")
            engine.run("podman volume rm --force tcp-status-sender")
