"""What can go wrong around the daemon, each as a context manager: wrong while it lasts, right again at its end.

Three lanes: on the way to Zabbix, at a second destination, and on the daemon's own host. Faults of different lanes may
overlap, those of one do not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.relay import REFUSING, SILENT, WHOLE, Line
from lab.trapper import MUTE, RESET, Trapper, accept, counts, packet, redirect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from random import Random

    from lab.daemon import Daemon
    from lab.disk import Disk
    from lab.relay import Relay
    from lab.zabbix_stack import ZabbixStack

Row = tuple[int, int, str, str]  # clock, ns, key, value
Mood = tuple["Callable[[dict[str, Any]], Any]", bool]  # how to answer, and whether it takes what it was sent


class Capricious(Trapper):
    """A trapper that keeps what it takes, in `taken`, and answers as its `mood` says."""

    def __init__(self) -> None:
        super().__init__(self._answer_by_mood)
        self.mood: Mood = (accept, True)
        self.taken: list[Taken] = []

    def _answer_by_mood(self, request: dict[str, Any]) -> Any:
        answer, takes = self.mood
        self.requests.clear()  # an hour of them would fill the memory
        if takes:
            rows = [(v["clock"], v["ns"], sys.intern(v["key"]), v["value"]) for v in request["data"]]
            self.taken.append(Taken(at=time.time(), is_told=answer is accept, rows=rows))
        return answer(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The values of one request, and whether the sender was told at once."""

    at: float  # time.time()
    is_told: bool
    rows: list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that faults can reach."""

    zabbix: ZabbixStack
    relay: Relay  # between the daemon and Zabbix
    other: Capricious
    daemon: Daemon
    disk: Disk
    spool: Path
    config: Path
    settings: dict[str, Any]  # what stands in `config`
    doubtful: list[tuple[float, float]] = field(default_factory=list)  # from when to when answers may have been lost
    damaged: list[tuple[float, float]] = field(default_factory=list)  # and what waited


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`begins` and `ends` are words that the daemon then has in its log."""

    name: str
    occur: Callable[[Scene, Random], AbstractContextManager[None]]
    begins: str = ""
    ends: str = ""


@contextmanager
def server_stopped(scene: Scene, _: Random) -> Iterator[None]:
    """In order, and nothing on its way just then: a server that is stopped can lose what it has accepted."""
    scene.relay.become(REFUSING)
    with scene.zabbix.without_server():
        yield
    scene.relay.become(WHOLE)


@contextmanager
def server_frozen(scene: Scene, _: Random) -> Iterator[None]:
    """Stop the server's processes; the kernel still takes connections for it."""
    with scene.zabbix.frozen_server():
        yield


@contextmanager
def database_away(scene: Scene, _: Random) -> Iterator[None]:
    """Stop the database; the server accepts some values, and keeps them."""
    with scene.zabbix.without_database():
        yield


def line(make: Callable[[Random], Line]) -> Callable[[Scene, Random], AbstractContextManager[None]]:
    """Return what becomes of connections to Zabbix."""

    @contextmanager
    def occur(scene: Scene, chance: Random) -> Iterator[None]:
        scene.relay.become(make(chance))
        yield
        scene.relay.become(WHOLE)

    return occur


def lost(_: dict[str, Any]) -> bytes:
    """Everything was taken, and the connection breaks before that can be said."""
    return RESET


def dripping(request: dict[str, Any]) -> Iterator[bytes]:
    """Everything is taken; the answer comes byte by byte for two seconds."""
    answer = accept(request)
    for byte in answer:
        time.sleep(2 / len(answer))
        yield bytes([byte])


GARBAGE = (
    b"",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    packet(b"[1, 2]"),
    packet(b"{not json"),
    packet(b"", announced=2**31),
    packet(b"\x00" * 40, flags=3),
    packet(b'{"response": "success"}'),
    packet(b'{"response": "failed", "info": "Zabbix server shutdown in progress"}'),
    counts(10**6, 0),
    redirect(address="127.0.0.1:9", revision=1),
    redirect(address="not a name", revision=2),
    redirect(reset=True),
    accept({"data": []})[:-1],
)


def mood(make: Callable[[Random], Mood]) -> Callable[[Scene, Random], AbstractContextManager[None]]:
    """How the second destination is."""

    @contextmanager
    def occur(scene: Scene, chance: Random) -> Iterator[None]:
        scene.other.mood = make(chance)
        yield
        scene.other.mood = (accept, True)

    return occur


@contextmanager
def stopped(scene: Scene, _: Random) -> Iterator[None]:
    """SIGTERM, and a start."""
    scene.daemon.stop()
    yield
    scene.daemon.start()


@contextmanager
def killed(scene: Scene, _: Random) -> Iterator[None]:
    """SIGKILL, and a start."""
    moment = time.time()
    scene.daemon.kill()
    scene.doubtful.append((moment, moment))
    yield
    scene.daemon.start()


@contextmanager
def frozen(scene: Scene, _: Random) -> Iterator[None]:
    """SIGSTOP."""
    began = time.time()
    scene.daemon.send(signal.SIGSTOP)
    try:
        yield
    finally:
        scene.daemon.send(signal.SIGCONT)
        scene.doubtful.append((began, time.time()))


@contextmanager
def reloaded(scene: Scene, chance: Random) -> Iterator[None]:
    """SIGHUP, with other settings, which stay."""
    for destination in scene.settings["destinations"]:
        destination["timeout"] = f"{chance.randint(4, 6)}s"
        destination["compression"] = chance.random() < 0.7
    scene.settings["spool"]["max_age"] = f"{chance.randint(5, 9)}d"
    scene.config.write_text(json.dumps(scene.settings))
    scene.daemon.send(signal.SIGHUP)
    yield


@contextmanager
def badly_reloaded(scene: Scene, chance: Random) -> Iterator[None]:
    """SIGHUP, with a file that is no configuration."""
    good = scene.config.read_text()
    scene.config.write_text(chance.choice(["{", "[]", "intervall: 1s", "interval: never", "destinations: []", "\0"]))
    scene.daemon.send(signal.SIGHUP)
    yield
    scene.config.write_text(good)


@contextmanager
def disk_full(scene: Scene, _: Random) -> Iterator[None]:
    """Fill the disk of the spool."""
    scene.disk.fill()
    yield
    scene.disk.free()


@contextmanager
def spool_removed(scene: Scene, chance: Random) -> Iterator[None]:
    """Remove the spool, or its directory with everything else in it."""
    scene.disk.run("rm", "-r", "--", chance.choice([str(scene.spool), str(scene.spool.parent)]))
    yield


@contextmanager
def journal_removed(scene: Scene, _: Random) -> Iterator[None]:
    """Remove the journal; what SQLite has written there is in the open file alone."""
    scene.disk.run("rm", "--", f"{scene.spool}-wal")
    yield


@contextmanager
def spool_damaged(scene: Scene, chance: Random) -> Iterator[None]:
    """Empty, cut in half or overwrite the spool or its journal."""
    began = time.time()
    path = scene.disk.seen / scene.spool.relative_to(scene.disk.at)
    path = path.with_name(path.name + chance.choice(["", "-wal"]))
    how = chance.choice(["emptied", "halved", "noise"])
    size = path.stat().st_size
    if how == "noise":
        with path.open("r+b") as file:
            file.write(os.urandom(size))
    else:
        os.truncate(path, size // 2 if how == "halved" else 0)
    yield
    scene.damaged.append((began, time.time()))


_FAILS, _WORKS = "{}: delivery failed", "{}: delivery works again"
_ZABBIX = {"begins": _FAILS.format("zabbix"), "ends": _WORKS.format("zabbix")}
_OTHER = {"begins": _FAILS.format("other"), "ends": _WORKS.format("other")}

ON_THE_WAY = (
    Fault(name="server stopped", occur=server_stopped, **_ZABBIX),
    Fault(name="server frozen", occur=server_frozen, **_ZABBIX),
    Fault(name="database away", occur=database_away),
    Fault(name="cut in a request", occur=line(lambda chance: Line(request_bytes=chance.randrange(300))), **_ZABBIX),
    Fault(name="cut before the answer", occur=line(lambda chance: Line(answer_bytes=chance.randrange(40))), **_ZABBIX),
    Fault(name="black hole", occur=line(lambda _: SILENT), **_ZABBIX),
    Fault(name="nobody listens", occur=line(lambda _: REFUSING), **_ZABBIX),
    Fault(name="slow line", occur=line(lambda chance: Line(delay_s=chance.uniform(0.2, 2)))),
)
AT_THE_OTHER = (
    Fault(name="other: resets", occur=mood(lambda _: (lambda _: RESET, False)), **_OTHER),
    Fault(name="other: mute", occur=mood(lambda _: (lambda _: MUTE, False)), **_OTHER),
    Fault(name="other: garbage", occur=mood(lambda chance: (lambda _: chance.choice(GARBAGE), False)), **_OTHER),
    Fault(name="other: takes, then resets", occur=mood(lambda _: (lost, True)), **_OTHER),
    Fault(name="other: drips", occur=mood(lambda _: (dripping, True))),
)
OF_ITS_LIFE = (
    Fault(name="stopped", occur=stopped, begins="stopping on SIGTERM"),
    Fault(name="killed", occur=killed, ends="did not shut down cleanly"),
)
ON_THE_HOST = (
    Fault(name="reloaded", occur=reloaded, begins="reloaded: "),
    Fault(name="badly reloaded", occur=badly_reloaded, begins="reload failed"),
    Fault(name="frozen", occur=frozen, ends="samples are missing"),
    Fault(name="disk full", occur=disk_full, begins="cannot write the spool", ends="writing the spool works again"),
    Fault(name="spool removed", occur=spool_removed, begins="(removed or replaced)"),
    Fault(name="journal removed", occur=journal_removed, begins="-wal was deleted while in use"),
    Fault(name="spool damaged", occur=spool_damaged),
)
