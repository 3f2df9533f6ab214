"""The helper for network namespaces, whom it serves and whom not, over real sockets; what it finds stands in a table."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, closing
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, send_fds, socket, socketpair
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from lab.handed_over import HandedOver
from sender.commands.namespaces import command, listening, packets
from sender.commands.namespaces import helper as subject
from sender.commands.namespaces.finder import Found, Sight
from sender.commands.namespaces.helper import FULL_S, MOST_CLIENTS, MOST_NAMESPACES, Helper
from sender.errors import SenderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TURNS = 20


def namespace(inode: int, name: str = "web", container: str = "") -> Found:
    """Return one as it is found."""
    return Found(inode=inode, name=name, container=container, path=f"/proc/{inode}/ns/net", rank=(True, True, inode))


class Stage:
    """A helper at `path` with what it finds, whom it serves, and its clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[int, Found] = {}
        self.containers: dict[str, str] = {}
        self.now = 0.0
        self.users = {os.getuid()}
        self.looks = 0
        self.clients = ExitStack()
        self.place = listening.own(path)
        self.helper = Helper(
            self.place, may_have=lambda user: user in self.users, find=self.find, monotonic=lambda: self.now
        )

    def find(self) -> Sight:
        """Return what there is now."""
        self.looks += 1
        return Sight(namespaces=self.found, containers=self.containers)

    def turn(self, seconds: float = 0.0) -> None:
        """Let time go by, and the helper do what there is to do. One that is to have a client never waits here."""
        self.now += seconds
        for _ in range(TURNS):
            if self.helper._patience_s() is not None or self.is_asked:  # noqa: SLF001
                self.helper.turn()

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits to be let in."""
        return bool(self.helper._selector.select(0))  # noqa: SLF001

    def client(self) -> HandedOver:
        """Return a new one, which the helper has let in or not."""
        client = self.clients.enter_context(HandedOver(self.path))
        client.connection.settimeout(1)
        self.turn(1.0)
        return client


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Yield one whose sockets are any sockets."""
    monkeypatch.setattr(subject, "socket_in", lambda _path, _inode: socket(AF_UNIX))
    monkeypatch.setattr(Helper, "_patience_s", without_waiting(Helper._patience_s))  # noqa: SLF001
    with TemporaryDirectory() as folder:  # a short path
        stage = Stage(Path(folder) / "helper")
        with stage.clients, stage.place, closing(stage.helper):
            yield stage


def without_waiting(patience_s: Callable[[Helper], float | None]) -> Callable[[Helper], float | None]:
    """Return the same for a clock that stands still."""
    return lambda helper: None if patience_s(helper) is None else 0.0


def test_packets_are_as_documented() -> None:
    """One JSON object each, and none is longer than 4096 bytes, whatever a name is."""
    assert packets.handed_over(4026532177, "web", "") == b'{"namespace": "4026532177", "name": "web", "container": ""}'
    assert packets.gone(4026532177) == b'{"gone": "4026532177"}'
    assert packets.named("ab" * 32, "web") == b'{"container": "%s", "name": "web"}' % (b"ab" * 32)
    assert packets.listed(3) == b'{"listed": 3}'
    assert len(packets.handed_over(2**64, "/" * 64, "a" * 64)) <= packets.MOST_SAID


def test_a_client_gets_the_list_and_then_what_changes(stage: Stage) -> None:
    """Each with a socket; a namespace that is gone, or has another name, is told."""
    stage.found = {7: namespace(7), 8: namespace(8, "db", "ab" * 32)}
    client = stage.client().hear_list()
    assert client.names == {7: "web", 8: "db"}
    assert client.containers == {7: "", 8: "ab" * 32}
    stage.found = {8: namespace(8, "db-1", "ab" * 32), 9: namespace(9, "new")}
    stage.turn(9)
    assert client.hear_all().names == {7: "web", 8: "db"}  # it looks every 10 s
    stage.turn(1)
    assert client.hear_all().names == {8: "db-1", 9: "new"}
    assert client.said[3:5] == [{"gone": "7"}, {"gone": "8"}]


def test_containers_on_the_host_s_network_have_names(stage: Stage) -> None:
    """They come without a socket, ahead of the list; one that is gone, or has another name, is told."""
    web, db = "ab" * 32, "cd" * 32
    stage.containers = {web: "web", db: "db"}
    client = stage.client().hear_list()
    assert client.on_host == {web: "web", db: "db"}
    stage.containers = {db: "db-1"}
    stage.turn(10)
    assert client.hear_all().on_host == {db: "db-1"}
    stage.turn(10)
    assert len(client.hear_all().said) == 7


def test_what_does_not_change_is_not_said(stage: Stage) -> None:
    """Another process by which a namespace is entered is no news."""
    stage.found = {7: namespace(7)}
    client = stage.client().hear_list()
    stage.found = {7: Found(inode=7, name="web", path="/elsewhere", rank=(False, False, 0))}
    stage.turn(10)
    stage.turn(10)
    assert len(client.hear_all().said) == 2


def test_it_looks_while_somebody_is_served(stage: Stage) -> None:
    """At a connection, though not more than once a second, and every 10 s; without clients not at all."""
    client = stage.client()
    assert stage.looks == 1
    stage.now -= 1.0
    assert stage.client().hear_all().said == [{"listed": 0}]  # at once
    assert stage.looks == 1
    stage.turn(1)
    assert stage.looks == 2
    stage.turn(10)
    assert stage.looks == 3
    client.connection.close()
    stage.clients.close()
    stage.turn(10)
    looks = stage.looks
    stage.turn(100)
    assert stage.looks == looks


def test_it_keeps_no_socket(stage: Stage) -> None:
    """What it hands over, it closes."""
    before = descriptors()
    stage.found = {inode: namespace(inode) for inode in range(50)}
    client = stage.client()
    assert descriptors() == before + 2  # both ends of the connection
    client.hear_list()
    assert descriptors() == before + 2 + 50  # the client's


def descriptors() -> int:
    """Return how many this process has."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_others_are_closed(stage: Stage, logged: Callable[[], list[str]]) -> None:
    """At once and without a word, with a line of the log once a minute."""
    stage.users = set()
    for _ in range(3):
        assert stage.client().is_closed
    assert logged() == [f"refused connections: 1, the last one of process {os.getpid()}, user {os.getuid()}"]
    stage.now += 60
    assert stage.client().is_closed
    assert logged() == [f"refused connections: 3, the last one of process {os.getpid()}, user {os.getuid()}"]
    assert stage.looks == 0


def test_four_clients_are_served(stage: Stage) -> None:
    """The fifth is closed; when one goes, there is room."""
    clients = [stage.client() for _ in range(MOST_CLIENTS)]
    assert [client.hear() for client in clients] == [{"listed": 0}] * MOST_CLIENTS
    assert stage.client().is_closed
    clients[0].connection.close()
    stage.turn()
    assert stage.client().hear() == {"listed": 0}


@pytest.mark.parametrize("packet", [b"{}", b'{"thanks": [1, 2, 3]}', b'{"namespace": "1"}'])
def test_what_a_client_says_is_ignored(stage: Stage, packet: bytes) -> None:
    """A packet of our kind harms nobody, and neither does what may come with it."""
    client = stage.client().hear_list()
    before = descriptors()
    for _ in range(5):
        send_fds(client.connection, [packet], [client.connection.fileno()])
    stage.found = {7: namespace(7)}
    stage.turn(10)
    assert client.hear_all().names == {7: "web"}
    assert descriptors() == before + 1


@pytest.mark.parametrize(
    "packet", [b"GET / HTTP/1.0", b"\xff", b"7", b"[" * 250, b'{"a": "' + b"a" * 300 + b'"}', b"a" * 5000]
)
def test_a_client_that_sends_garbage_is_closed(stage: Stage, packet: bytes) -> None:
    """Others are not concerned."""
    good, bad = stage.client().hear_list(), stage.client().hear_list()
    bad.connection.send(packet)
    stage.turn()
    assert bad.is_closed
    stage.found = {7: namespace(7)}
    stage.turn(10)
    assert good.hear_all().names == {7: "web"}


def test_a_client_that_does_not_read_is_closed(stage: Stage) -> None:
    """It has two hours once its connection is full, longer than any interval, and takes nothing from those who read."""
    stage.found = {inode: namespace(inode) for inode in range(MOST_NAMESPACES)}
    good, bad = stage.client(), stage.client()
    while "listed" not in (good.said or [{}])[-1]:
        good.hear_all()
        stage.turn()
    assert len(good.names) == MOST_NAMESPACES
    stage.turn(FULL_S - 1.5)
    stage.turn(2)
    assert bad.is_closed
    assert 0 < len(bad.names) < MOST_NAMESPACES
    stage.found.popitem()
    stage.turn(10)
    good.hear_all()
    assert len(good.names) == MOST_NAMESPACES - 1


def test_a_client_that_reads_late_gets_all(stage: Stage) -> None:
    """What changes meanwhile is told once, as it is then."""
    stage.found = {inode: namespace(inode) for inode in range(MOST_NAMESPACES)}
    client = stage.client()
    stage.found = {inode: namespace(inode, "new") for inode in range(1, MOST_NAMESPACES + 1)}
    stage.turn(FULL_S - 1)
    for _ in range(50):
        stage.turn(0.5)
        client.hear_all()
    assert client.names == dict.fromkeys(range(1, MOST_NAMESPACES + 1), "new")
    assert "listed" in client.said[-1]


def test_more_namespaces_than_are_handed_over(stage: Stage, logged: Callable[[], list[str]]) -> None:
    """The first of them are: any user can make some."""
    stage.found = {inode: namespace(inode) for inode in range(MOST_NAMESPACES + 3)}
    client = stage.client()
    for _ in range(50):
        stage.turn()
        client.hear_all()
    assert list(client.names) == list(range(MOST_NAMESPACES))
    assert f"there are {MOST_NAMESPACES + 3} network namespaces; {MOST_NAMESPACES} of them are handed over" in logged()


@pytest.mark.parametrize(("code", "is_news"), [(errno.ENOENT, False), (errno.ESTALE, False), (errno.EPERM, True)])
def test_a_namespace_that_cannot_be_entered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]], code: int, *, is_news: bool
) -> None:
    """It is left out, and tried again; where it has not just gone, the log says so."""
    may_enter = False

    def socket_in(_path: str, inode: int) -> socket:
        if inode == 7 and not may_enter:
            raise OSError(code, os.strerror(code))
        return socket(AF_UNIX)

    monkeypatch.setattr(subject, "socket_in", socket_in)
    stage.found = {7: namespace(7), 8: namespace(8)}
    client = stage.client().hear_list()
    stage.turn(10)
    assert list(client.hear_all().names) == [8]
    lines = [line for line in logged() if line.startswith("cannot make a socket in network namespace 7 (web): ")]
    assert len(lines) == is_news
    may_enter = True
    stage.turn(10)
    assert sorted(client.hear_all().names) == [7, 8]


def test_it_is_started_by_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed over is one listening socket, meant for this process."""
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    for wrong in ({}, {"LISTEN_PID": "1"}, {"LISTEN_FDS": "2"}):
        with pytest.raises(SenderError, match=r"enable --now tcp-status-sender-namespaces\.socket"):
            listening.given({**environment, **wrong} if wrong else {})
    with TemporaryDirectory() as folder, listening.own(Path(folder) / "helper") as place:
        monkeypatch.setattr(listening, "_FIRST_GIVEN", os.dup(place.fileno()))
        with listening.given(environment) as found:
            assert found.getsockname() == place.getsockname()
            assert not found.getblocking()
    left, right = socketpair(AF_UNIX, SOCK_STREAM)
    monkeypatch.setattr(listening, "_FIRST_GIVEN", left.detach())
    with right, pytest.raises(SenderError, match="ListenSequentialPacket="):
        listening.given(environment)
    monkeypatch.setattr(listening, "_FIRST_GIVEN", os.open(os.devnull, os.O_RDONLY))
    with pytest.raises(SenderError, match="ListenSequentialPacket="):
        listening.given(environment)
    os.close(listening._FIRST_GIVEN)  # noqa: SLF001


def test_a_place_of_its_own() -> None:
    """Anybody may connect there; a socket from before is removed, and nothing else is."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "helper"
        for _ in range(2):
            listening.own(path).close()
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
        path.unlink()
        path.write_text("mine")
        with pytest.raises(OSError, match="Address already in use"):
            listening.own(path)
        assert path.read_text() == "mine"
        with pytest.raises(OSError, match="AF_UNIX path too long"):
            listening.own(Path(folder) / ("a" * 200))


def test_whom_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user is known by name, also where systemd alone knows it, and may not be there yet."""
    monkeypatch.setattr(command, "DYNAMIC_USERS", tmp_path)
    assert command.id_of("root") == 0
    assert command.id_of("10051") == 10051  # of a container: no user of the host has it
    assert command.id_of("tcp-status-sender-test") is None
    (tmp_path / "direct:tcp-status-sender-test").symlink_to("61234")
    assert command.id_of("tcp-status-sender-test") == 61234
