"""The helper for network namespaces, with real ones: what is handed over counts their sockets, and nothing else. Needs root."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from lab.cgroups import Cgroup, entering
from lab.command import COMMAND, tcp_status_sender, until
from lab.handed_over import HandedOver, network_namespace
from lab.many_namespaces import links, many
from lab.namespace import LOOPBACK, Namespace
from lab.program import POLL_S
from sender.kernel.namespace_link import NamespaceLink
from sender.kernel.other_namespaces import OtherNamespaces
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts, TcpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY, ANOTHER = 65534, 65533
ID = "1e5b" * 16
MANY = 200
# In a mount namespace of its own, over a /run of its own: nothing of `ip netns` stays behind.
PLACE = 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && exec "$@"'
SOCKETS = """
import json, os, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
clients = [socket.create_connection(each.getsockname()) for each in listeners]
accepted = [each.accept() for each in listeners]
print(json.dumps({"pid": os.getpid()}), flush=True)
sys.stdin.read()
"""
# As a user whom only the kernel's word says to be who it is: for each line of standard input, all that it can count.
COUNTS = """
import json, os, sys
from lab.handed_over import HandedOver
from sender.kernel.counts import SocketCounts
from sender.kernel.exchange import Exchange, by_best_way
from sender.kernel.requests import WAYS

class Given(Exchange):
    def __init__(self, sock):
        super().__init__()
        self.sock = sock

    def _open(self):
        return self.sock.dup()

os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
with HandedOver(sys.argv[1]) as client:
    try:
        client.hear_list()
    except (AssertionError, ConnectionResetError):
        sys.exit("nothing")
    def counted(sock):
        return by_best_way(WAYS, lambda way: Given(sock).dump_all(way, SocketCounts())).states
    print(json.dumps({inode: counted(sock) for inode, sock in client.sockets.items()}))
"""


class Served:
    """A helper that runs: its process, and where it listens."""

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self.process, self.path = process, path

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs `command` among the helper's mounts."""
        return ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "--", *command]

    def run(self, *command: str) -> str:
        """Return what `command` prints there."""
        return subprocess.run(self.inside(*command), check=True, capture_output=True, text=True).stdout

    def told(self, client: HandedOver) -> dict[int, str]:
        """Return what a client knows, after a look that there is now, for another that is new."""
        with HandedOver(self.path) as another:
            another.hear_list()
        return client.hear_all().names

    def names(self) -> dict[int, str]:
        """Return what a new client is told."""
        with HandedOver(self.path) as client:
            return client.hear_list().names

    def descriptors(self) -> list[str]:
        """Return what it has open."""
        found = []
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it is closed by now
                found.append(re.sub(r"\d+", "N", str(each.readlink())))
        return sorted(found)


@pytest.fixture
def served() -> Iterator[Served]:
    """Yield one that serves nobody, whose id is 65534, beside root."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "helper"
        command = ["unshare", "--mount", "sh", "-c", PLACE, "sh", COMMAND, "namespaces", "--user", "nobody"]
        with subprocess.Popen([*command, "--listen", path], stderr=subprocess.PIPE, text=True) as process:
            try:
                until(process, "network namespaces can be had by user nobody")
                yield Served(process, path)
                assert process.poll() is None
            finally:
                process.kill()
                assert process.stderr
                sys.stdout.write(process.stderr.read())


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout_s} s"
        time.sleep(POLL_S)


def with_sockets(count: int) -> tuple[str, ...]:
    """Return the holder of a namespace with so many listeners, and a connection to each."""
    return (sys.executable, "-c", SOCKETS, str(count))


def counted_as(user: int, path: Path) -> subprocess.CompletedProcess[str]:
    """Return what that user counts in each namespace, out of this one."""
    command = [sys.executable, "-c", COUNTS, str(path), str(user)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_an_ordinary_user_counts_each_namespaces_own_sockets(served: Served) -> None:
    """Exactly those which are there, as `ss` lists them inside; the host's namespace is not among what is handed over."""
    with Namespace(with_sockets(2)) as few, Namespace(with_sockets(7)) as more:
        served.run("ip", "netns", "add", "empty")
        done = counted_as(NOBODY, served.path)
        assert done.returncode == 0, done.stderr
        counted = {int(inode): states for inode, states in json.loads(done.stdout).items()}
        for namespace, count in ((few, 2), (more, 7)):
            states = counted[network_namespace(namespace.report["pid"])]
            assert states[TcpState.LISTEN] == count
            assert states[TcpState.ESTABLISHED] == 2 * count
            assert sum(states) == len(namespace.run("ss", "-Htan").splitlines())
    empty = int(served.run("stat", "--format=%i", "/run/netns/empty"))
    assert sum(counted[empty]) == 0
    assert counted.keys().isdisjoint({network_namespace(), network_namespace(2)})


def test_another_user_gets_nothing(served: Served) -> None:
    """Not a word; and the one that it is for, and root, get all the same."""
    with Namespace() as namespace:
        assert namespace
        done = counted_as(ANOTHER, served.path)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "nothing\n")
        assert counted_as(NOBODY, served.path).returncode == 0
        assert served.names()


def test_what_a_namespace_is_called(served: Served) -> None:
    """By `ip netns`; by its container, whose new name it gets; else by its oldest process."""
    served.run("ip", "netns", "add", "vpn")
    vpn = int(served.run("stat", "--format=%i", "/run/netns/vpn"))
    file = f"/var/lib/docker/containers/{ID}/config.v2.json"
    write = 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"'
    served.run("sh", "-c", write, "sh", file, '{"Name": "/shop web"}')
    with Cgroup() as cgroup, ExitStack() as stack:
        holder = entering(cgroup.make(f"docker-{ID}.scope"), *LOOPBACK)
        container = network_namespace(stack.enter_context(Namespace(holder)).report["pid"])
        pid = stack.enter_context(Namespace(LOOPBACK)).report["pid"]
        plain = network_namespace(pid)
        wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "cat\n", "the shell has become what holds it")
        client = stack.enter_context(HandedOver(served.path)).hear_list()
        assert [client.names[each] for each in (vpn, container, plain)] == ["vpn", "shop_web", "cat"]
        assert [client.containers[each] for each in (vpn, container, plain)] == ["", ID, ""]
        served.run("sh", "-c", write, "sh", file, '{"Name": "/shop"}')
        wait_for(lambda: client.hear_all().names[container] == "shop", "the new name")  # within 10 s
        assert {"gone": str(container)} in client.said
        served.run("rm", file)
        wait_for(lambda: served.told(client).get(container) == f"docker-{ID[:12]}", "the name without the file")


CLOSE_WAIT = """
import json, socket, sys
server = socket.create_server(("127.0.0.1", 0))
clients = [socket.create_connection(server.getsockname()) for _ in range(7)]
accepted = [server.accept()[0] for _ in clients]
for each in clients:
    each.close()
print(json.dumps({}), flush=True)
sys.stdin.read()
"""


def test_a_container_on_the_host_s_network_is_named(served: Served) -> None:
    """Its sockets are among the host's own, and its name is in the place of its engine's."""
    write = 'mkdir -p "/var/lib/docker/containers/$1" && printf %s "$2" >"/var/lib/docker/containers/$1/config.v2.json"'
    served.run("sh", "-c", write, "sh", ID, '{"Name": "/shop"}')
    others = OtherNamespaces(NamespaceLink(served.path))
    kernel, wanted = SockDiag(others=others), CountedPorts(owners=True, namespaces=True)
    with Cgroup() as cgroup:
        place = entering(cgroup.make(f"docker-{ID}.scope"), sys.executable, "-c", CLOSE_WAIT)
        with subprocess.Popen(place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            assert holder.stdout.readline()

            def of_shop() -> int:
                owners = kernel.sample(wanted).owners
                assert owners is not None
                return owners[TcpState.CLOSE_WAIT].get("container shop", 0)

            wait_for(lambda: of_shop() == 7, "the helper has told its name")
            holder.communicate()
    others.close()


def test_a_namespace_without_processes(served: Served) -> None:
    """It is gone, though the client's own socket keeps it; with a mount of `ip netns` it is there."""
    served.run("ip", "netns", "add", "kept")
    kept = int(served.run("stat", "--format=%i", "/run/netns/kept"))
    served.run("mkdir", "-p", "/run/docker/netns")
    with HandedOver(served.path) as client:
        with Namespace(LOOPBACK) as namespace:
            process = namespace.report["pid"]
            inode = network_namespace(process)
            served.run("touch", "/run/docker/netns/1e5b")
            served.run("mount", "--bind", f"/proc/{process}/ns/net", "/run/docker/netns/1e5b")
            client.hear_list()
            wait_for(lambda: inode in served.told(client), "the namespace")
        wait_for(lambda: inode not in served.told(client), "the end of a namespace that only Docker has mounted")
        assert client.names[kept] == "kept"
        served.run("ip", "netns", "del", "kept")
        wait_for(lambda: kept not in served.told(client), "the end of the one that was mounted")


# What a user without privilege can do with a socket, beside listing: each with the errno with which the kernel refuses it.
TRIES = """
import errno, fcntl, json, os, socket, struct, sys
from lab.handed_over import HandedOver

def refused(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return None

def destroyed(port):
    where = struct.pack("!HH16s16sI8s", port, 0, socket.inet_aton("127.0.0.1"), bytes(16), 0, b"\\xff" * 8)
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 1 << 10) + where
    sock.sendto(struct.pack("=IHHII", 16 + len(body), 21, 0x05, 1, 0) + body, (0, 0))  # SOCK_DESTROY, with an answer
    (code,) = struct.unpack_from("=i", sock.recv(4096), 16)
    if code:
        raise OSError(-code, os.strerror(-code))

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with HandedOver(sys.argv[1]) as client:
    sock = client.hear_list().sockets[int(sys.argv[2])]
    lo = struct.pack("16sh22x", b"lo", 0)
    print(json.dumps({
        "reads an interface": refused(lambda: fcntl.ioctl(sock, 0x8913, lo)),  # SIOCGIFFLAGS
        "changes an interface": refused(lambda: fcntl.ioctl(sock, 0x8914, lo)),  # SIOCSIFFLAGS
        "opens the namespace": refused(lambda: fcntl.ioctl(sock, 0x894C)),  # SIOCGSKNS
        "ends a connection": refused(lambda: destroyed(int(sys.argv[3]))),
    }))
"""


def test_what_else_a_socket_is_good_for(served: Served) -> None:
    """An ordinary user can read the interfaces with it, and change nothing, nor get into the namespace."""
    with Namespace(with_sockets(1)) as namespace:
        inode = network_namespace(namespace.report["pid"])
        (port,) = re.findall(r":(\d+) ", namespace.run("ss", "-Htln"))
        command = [sys.executable, "-c", TRIES, str(served.path), str(inode), port]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert namespace.run("ss", "-Htln")
    tried = json.loads(done.stdout)
    assert tried.pop("ends a connection") in {
        "EPERM",
        "EOPNOTSUPP",
    }  # the latter where no kernel of this kind can do that
    assert tried == {"reads an interface": None, "changes an interface": "EPERM", "opens the namespace": "EPERM"}


ATTACK = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
for number in range(int(sys.argv[3])):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(sys.argv[1])
            sock.send(os.urandom(1 + number))
        except (BrokenPipeError, ConnectionResetError):
            pass
"""


def attacks(path: Path, user: int, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """Yield four processes of a user, each of which connects so often, and sends garbage."""
    command = [sys.executable, "-c", ATTACK, str(path), str(user), str(count)]
    for _ in range(4):
        yield subprocess.Popen(command)


@pytest.mark.parametrize("user", [ANOTHER, NOBODY])
def test_a_flood_does_not_end_it(served: Served, user: int) -> None:
    """Thousands of connections and garbage, of others and of the user whom it serves: a client is served all the while."""
    before = served.descriptors()
    with HandedOver(served.path) as client:
        client.hear_list()
        running = list(attacks(served.path, user, 1000))
        with Namespace(LOOPBACK) as namespace:
            inode = network_namespace(namespace.report["pid"])
            wait_for(lambda: inode in client.hear_all().names, "the new namespace")
        wait_for(lambda: inode not in client.hear_all().names, "its end")
        assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    wait_for(lambda: served.descriptors() == before, "the end of all connections")


def test_a_client_that_stays_and_says_nothing(served: Served) -> None:
    """Four may; the fifth is closed, and no process of another user takes their place."""
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(HandedOver(served.path)).hear_list()
        with HandedOver(served.path) as fifth:
            assert fifth.is_closed
            assert fifth.said == []


def test_namespaces_come_and_go(served: Served) -> None:
    """Nothing of 200 is left: neither in the helper, nor, once their processes have ended and the client knows, anywhere."""
    before = served.descriptors()
    with Namespace() as outer, HandedOver(served.path) as client:
        client.hear_list()
        with_client = served.descriptors()
        for turn in range(3):
            with many(outer, MANY) as inodes:
                assert len(set(inodes)) == MANY
                wait_for(lambda inodes=inodes: set(inodes) <= served.told(client).keys(), "all of them")  # type: ignore[misc]
                assert links(outer) == MANY
                wait_for(lambda: served.descriptors() == with_client, "no more than the connection in its hands")
                assert "net:[N]" not in with_client
            if turn == 0:  # they have no process any more: it is the client's sockets that keep them
                time.sleep(0.5)
                assert links(outer) == MANY
            wait_for(lambda inodes=inodes: set(inodes).isdisjoint(served.told(client)), "their end")  # type: ignore[misc]
            wait_for(lambda: links(outer) == 0, "the end of their interfaces")
    wait_for(lambda: served.descriptors() == before, "the end of the connection")


def test_a_client_that_dies_keeps_nothing(served: Served) -> None:
    """Neither what it had, nor what was on its way to it."""
    with Namespace() as outer:
        with many(outer, 3):
            with HandedOver(served.path) as client, HandedOver(served.path):
                client.hear_list()
            assert links(outer) == 3
        wait_for(lambda: links(outer) == 0, "the end of their interfaces")


def test_it_enters_nothing_for_good(served: Served) -> None:
    """It is where it was, and holds no namespace; what it loads is little."""
    served.names()
    assert network_namespace(served.process.pid) == network_namespace()
    mapped = Path(f"/proc/{served.process.pid}/maps").read_text()
    for library in ("_yaml", "_ssl.", "_sqlite3"):
        assert library not in mapped


def test_it_is_not_started_by_hand() -> None:
    """Whoever does is told what to do."""
    done = tcp_status_sender("namespaces")
    assert done.returncode == 1
    assert "systemctl enable --now tcp-status-sender-namespaces.socket" in done.stderr


def test_it_takes_root(tmp_path: Path) -> None:
    """Without the right to see other users' processes it says so, and leaves no socket behind."""
    path = tmp_path / "helper"
    command = ["unshare", "--user", f"--map-user={NOBODY}", COMMAND, "namespaces", "--listen", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Run this as root" in done.stderr, path.exists()) == (1, True, False)
