"""The link to the helper: what it passes on is taken, whatever else it says costs nothing and leaves nothing open."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import KernelError
from sender.kernel import other_namespaces
from sender.kernel.counts import SocketCounts
from sender.kernel.exchange import HeldExchange
from sender.kernel.namespace_link import NamedNamespace, NamespaceLink
from sender.kernel.netlink import NETLINK_SOCK_DIAG
from sender.kernel.other_namespaces import NamespaceCounts, OtherNamespaces
from sender.kernel.requests import WAYS
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper is root's")


def descriptors() -> int:
    """Return how many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Helper:
    """A helper that says what it is told to say."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._client: socket.socket | None = None

    def meet(self, link: NamespaceLink) -> None:
        """Let the link come."""
        link.update()
        self._client, _ = self._listener.accept()

    def say(self, said: object, kinds: Iterable[int] = ()) -> None:
        """Send a packet with a socket of each kind: the number of a netlink protocol, or -1 for a file that is no socket."""
        assert self._client
        packet = said if isinstance(said, bytes) else json.dumps(said).encode()
        held: list[Any] = [
            Path("/dev/null").open() if kind < 0 else socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, kind)  # noqa: SIM115
            for kind in kinds
        ]
        with suppress(OSError):  # the link has hung up
            socket.send_fds(self._client, [packet], [each.fileno() for each in held])
        for each in held:
            each.close()

    def pass_on(self, number: int, name: str) -> None:
        """Pass on a namespace."""
        self.say({"namespace": str(number), "name": name, "container": ""}, [NETLINK_SOCK_DIAG])

    def leave(self) -> None:
        """Be gone, and take no others."""
        if self._client:
            self._client.close()
        self._listener.close()


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    """Yield a helper at `tmp_path/helper`."""
    helper = Helper(tmp_path / "helper")
    yield helper
    helper.leave()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[NamespaceLink]:
    """Yield a link to it; nothing that came through it stays open."""
    before = descriptors()
    link = NamespaceLink(tmp_path / "helper", patience_s=0.01)
    yield link
    link.close()
    assert descriptors() <= before


def names(link: NamespaceLink) -> dict[str, str]:
    """Return what is held, after a look at what the helper has said."""
    link.update()
    return {number: each.name for number, each in link.held.items()}


def test_what_is_passed_on_is_held(link: NamespaceLink, helper: Helper) -> None:
    """By number and name, until the helper says that it is gone; a number that comes again has the new name."""
    helper.meet(link)
    helper.pass_on(1, "web")
    helper.pass_on(2, "db")
    assert (names(link), link.is_listed) == ({"1": "web", "2": "db"}, False)
    helper.say({"listed": 2})
    helper.say({"gone": "1"})
    helper.say({"gone": "7"})
    helper.pass_on(2, "shop/db-0")
    assert (names(link), link.is_listed, link.trouble) == ({"2": "shop/db-0"}, True, None)


def test_containers_on_the_host_s_network_have_names(tmp_path: Path, link: NamespaceLink, helper: Helper) -> None:
    """Until the helper says that one is gone; a helper that ends leaves the last names, the next one has its own."""
    web, db = "ab" * 32, "cd" * 32
    helper.meet(link)
    helper.say({"container": web, "name": "web"})
    helper.say({"container": db, "name": "db"})
    helper.say({"gone": web})
    assert (names(link), link.container_names, link.trouble) == ({}, {db: "db"}, None)
    helper.leave()
    assert (names(link), link.container_names) == ({}, {db: "db"})
    (tmp_path / "helper").unlink()
    again = Helper(tmp_path / "helper")
    again.meet(link)
    assert link.container_names == {}
    again.leave()


def test_no_more_names_are_kept_than_a_helper_has(link: NamespaceLink, helper: Helper) -> None:
    """Names without end are no helper's."""
    helper.meet(link)
    for number in range(513):
        if number % 50 == 0:  # as many as the connection holds
            link.update()
        helper.say({"container": f"{number:064x}", "name": "web"})
    link.update()
    assert len(link.container_names) == 512
    assert "nobody understands" in (link.trouble or "")


GARBAGE = [
    b"\xff\xfe",
    b"[" * 4000,
    b'"namespace"',
    {},
    {"namespace": 5, "name": "web"},
    {"namespace": "5", "name": "a,b"},
    {"namespace": "5", "name": ""},
    {"namespace": "5", "name": "x" * 65},
    {"namespace": "../5", "name": "web"},
    {"listed": "5"},
    {"container": "5", "name": "web"},
    {"container": 5, "name": "web"},
    {"container": "ab" * 32, "name": "a,b"},
    {"container": "ab" * 32},
]


@pytest.mark.parametrize("said", GARBAGE, ids=range(len(GARBAGE)))
def test_nonsense_ends_the_link(link: NamespaceLink, helper: Helper, said: object) -> None:
    """Whoever talks nonsense is no helper: all that came from it is let go, and the log can say why."""
    helper.meet(link)
    helper.pass_on(1, "web")
    helper.say(said, [NETLINK_SOCK_DIAG])
    assert names(link) == {}
    assert "nobody understands" in (link.trouble or "")


@pytest.mark.parametrize("kinds", [[], [0], [-1], [NETLINK_SOCK_DIAG] * 2], ids=["none", "route", "a file", "two"])
def test_nothing_but_a_socket_of_sock_diag_is_taken(link: NamespaceLink, helper: Helper, kinds: list[int]) -> None:
    """A namespace comes with just one; whatever else was passed on is closed."""
    helper.meet(link)
    helper.say({"namespace": "5", "name": "web"}, kinds)
    assert names(link) == {}
    assert link.trouble


def test_a_helper_that_is_gone_is_looked_for_again(tmp_path: Path) -> None:
    """Its namespaces are let go, as nobody would say when they end; a new one is met at the next sample."""
    link = NamespaceLink(tmp_path / "helper", patience_s=0.01)
    link.update()
    assert "No such file" in (link.trouble or "")
    helper = Helper(tmp_path / "helper")
    helper.meet(link)
    helper.pass_on(1, "web")
    assert names(link) == {"1": "web"}
    helper.leave()
    assert (names(link), bool(link.trouble)) == ({}, True)
    (tmp_path / "helper").unlink()
    again = Helper(tmp_path / "helper")
    again.meet(link)
    again.pass_on(1, "web")
    assert (names(link), link.trouble) == ({"1": "web"}, None)
    link.close()
    again.leave()


def test_a_helper_without_end_takes_no_more_descriptors(
    link: NamespaceLink, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon has others to open: past as many as the real helper passes on, this is none. One that comes again is no more."""
    monkeypatch.setattr("sender.kernel.namespace_link._MOST", 3)
    helper.meet(link)
    for number in (1, 2, 3, 3):
        helper.pass_on(number, "web")
    assert len(names(link)) == 3
    helper.pass_on(4, "web")
    assert (names(link), bool(link.trouble)) == ({}, True)


def test_a_helper_that_says_nothing_is_no_silent_hole(link: NamespaceLink, helper: Helper) -> None:
    """It is connected, and nobody knows what there is: that is trouble to be logged, until it has listed."""
    others = OtherNamespaces(link)
    helper.meet(link)
    assert others.count() == NamespaceCounts(None)
    assert "has not said" in (others.trouble or "")
    helper.say({"listed": 0})
    assert others.count() == NamespaceCounts({})
    assert others.trouble is None


@given(packets=st.lists(st.binary(min_size=1, max_size=200), max_size=5))
def test_no_packet_is_more_than_an_end(packets: list[bytes]) -> None:
    """Whatever bytes come, the link lives on or ends; it raises nothing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    link = NamespaceLink(Path("/nowhere"))
    link._sock = ours  # noqa: SLF001  as if it were connected: there is no path for each example
    with theirs:
        for packet in packets:
            theirs.send(packet)
        link.update()
    link.close()


class Held:
    """A link that holds these namespaces, number and name."""

    def __init__(self, held: dict[str, str]) -> None:
        with socket.socket() as closed:  # nobody asks it
            self.held = {number: NamedNamespace(name, closed) for number, name in held.items()}
        self.is_listed, self.is_whole, self.trouble = True, True, None

    def update(self) -> None:
        """Say nothing new."""


def test_namespaces_have_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With time for two of five in a sample, each is counted in every third one; who has no figure is named."""
    clock, counted = [0], list[str]()

    def count(namespace: NamedNamespace, within_s: float) -> tuple[dict[TcpState, int], int]:
        assert within_s > 0
        counted.append(namespace.name)
        clock[0] += 3
        return {TcpState.ESTABLISHED: 1}, 0

    monkeypatch.setattr(other_namespaces, "_counts", count)
    subject = OtherNamespaces(Held({n: n for n in "abcde"}), budget_s=5, monotonic=lambda: clock[0])  # type: ignore[arg-type]
    first = subject.count()
    assert (list(first.states or {}), first.uncounted) == (["a", "b"], frozenset("cde"))
    for _ in range(4):
        subject.count()
    assert counted == list("abcdeabcde")


class Machine:
    """Namespaces by the ms that it takes to count each, and a clock of ms."""

    def __init__(self, **takes: int) -> None:
        self.takes = takes
        self.now = 0

    def __call__(self) -> int:
        """As time.monotonic."""
        return self.now

    def count(self, namespace: NamedNamespace, within: int) -> tuple[dict[TcpState, int], int] | None:
        """As other_namespaces._counts."""
        takes = self.takes[namespace.name]
        self.now += min(takes, within)
        return ({TcpState.ESTABLISHED: 1}, 0) if takes < within else None


def test_a_namespace_that_is_too_large_silences_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """For which all the time is too little: it comes last, whatever its place at first, and is named; until it has shrunk."""
    machine = Machine(a=100, big=9000, b=100, c=100)
    monkeypatch.setattr(other_namespaces, "_counts", machine.count)
    subject = OtherNamespaces(Held({n: n for n in machine.takes}), budget_s=500, monotonic=machine)  # type: ignore[arg-type]
    found = [subject.count() for _ in range(9)]
    assert [set(each.states or {}) for each in found] == [{"a"}, set(), *[{"a", "b", "c"}] * 7]
    assert [each.too_large for each in found] == [frozenset(), frozenset(), *[{"big"}] * 7]
    machine.takes["big"] = 100
    last = subject.count()
    assert (set(last.states or {}), last.too_large) == ({"a", "b", "c", "big"}, frozenset())


def test_a_namespace_that_fits_alone_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of which each takes most of the time, and a small one: nobody is left out for good, and none is too large."""
    machine = Machine(a=450, small=100, b=450)
    monkeypatch.setattr(other_namespaces, "_counts", machine.count)
    subject = OtherNamespaces(Held({n: n for n in machine.takes}), budget_s=500, monotonic=machine)  # type: ignore[arg-type]
    for _ in range(5):
        found = [subject.count() for _ in range(3)]
        assert set().union(*(each.states or {} for each in found)) == set(machine.takes)
        assert not any(each.too_large for each in found)


def test_a_namespace_that_was_too_large_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has shrunk, but not so far that it fits beside the others, is counted a day later."""
    machine = Machine(big=9000, a=100)
    monkeypatch.setattr(other_namespaces, "_counts", machine.count)
    subject = OtherNamespaces(Held({n: n for n in machine.takes}), budget_s=500, monotonic=machine)  # type: ignore[arg-type]
    subject.count()
    machine.takes["big"] = 450
    assert set(subject.count().states or {}) == {"a"}
    machine.now += 86_400
    found = [subject.count() for _ in range(2)]
    assert any("big" in (each.states or {}) for each in found)


def test_namespaces_of_one_name_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sockets are added up; where one of them cannot be counted, the sum is unknown, not smaller."""

    def counted(*answers: tuple[int, int | None] | None) -> NamespaceCounts:
        told = iter([answer and ({TcpState.LISTEN: answer[0]}, answer[1]) for answer in answers])
        monkeypatch.setattr(other_namespaces, "_counts", lambda *_: next(told))
        return OtherNamespaces(Held({"1": "web", "2": "web", "3": "db"})).count()  # type: ignore[arg-type]

    web, db = {TcpState.LISTEN: 4}, {TcpState.LISTEN: 5}
    assert counted((2, 7), (2, 1), (5, 0)) == NamespaceCounts({"web": web, "db": db}, drops={"web": 8, "db": 0})
    assert counted((2, 7), (2, None), (5, 0)) == NamespaceCounts({"web": web, "db": db}, drops={"db": 0})
    assert counted((2, 7), None, (5, 0)) == NamespaceCounts({"db": db}, frozenset({"web"}), {"db": 0})


def test_a_refusal_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace whose dump fails has no figure."""

    def refuse(*_: object) -> None:
        raise KernelError("refused")

    monkeypatch.setattr(other_namespaces, "by_best_way", refuse)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
        namespace = NamedNamespace("web", sock)
        assert other_namespaces._counts(namespace, 1.0) is None  # noqa: SLF001  the one place that asks


def test_what_is_not_all_told_yet_is_not_counted(link: NamespaceLink, helper: Helper) -> None:
    """Names that have still to come would be taken for gone, and get zeros."""
    others = OtherNamespaces(link)
    helper.meet(link)
    helper.say({"listed": 0})
    assert others.count() == NamespaceCounts({})
    helper.pass_on(1, "web")
    assert (others.count(), others.trouble) == (NamespaceCounts(None), None)
    helper.say({"listed": 1})
    assert list(others.count().states or {}) == ["web"]


def test_all_that_is_asked_of_a_namespace_is_within_its_time() -> None:
    """Two dumps, each of which takes long, are not given the time of two."""
    with Silent(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
        exchange, began = HeldExchange(sock, within_s=0.1), time.monotonic()
        for _ in range(3):
            with pytest.raises(KernelError):
                exchange.dump(WAYS[0][0], SocketCounts())
        assert time.monotonic() - began < 0.2


class Silent(socket.socket):
    """One whose kernel does not answer."""

    def sendto(self, data: Any, *_: Any) -> int:
        """Send nothing."""
        return len(data)
