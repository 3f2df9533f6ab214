"""Redirects among the proxies of a group (Zabbix 7): followed, remembered, forgotten, and never for ever."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from lab.trapper import MUTE, Trapper, accept, redirect
from sender.errors import DeliveryError
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS = [Item(host="web-01", key="key", value="1", clock=1_700_000_000, ns=1)]
TAKEN = Outcome(accepted=1)


def uplink(*nodes: str) -> Uplink:
    """Return an uplink to one cluster."""
    return Uplink(section.read(Destination, {"nodes": nodes, "timeout": "1s"}))


def to(trapper: Trapper | str, revision: int = 1) -> Any:
    """Return a redirect there, as an answer to whatever is asked."""
    node = trapper if isinstance(trapper, str) else trapper.node
    return lambda _: redirect(revision=revision, address=node)


def reset(_: Any) -> bytes:
    """Return the answer of a proxy that has lost its server."""
    return redirect(reset=True)


def asked(*trappers: Trapper) -> list[int]:
    """How many connections each has seen since it was asked so last."""
    seen = [len(trapper.peers) for trapper in trappers]
    for trapper in trappers:
        trapper.peers.clear()
    return seen


def error(subject: Uplink) -> str:
    """Return what a send that must fail says."""
    with pytest.raises(DeliveryError) as raised:
        subject.send(ITEMS)
    return str(raised.value)


@pytest.fixture
def dead() -> Iterator[str]:
    """Yield a node on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def home() -> Iterator[Trapper]:
    """Yield the configured node."""
    with Trapper() as trapper:
        yield trapper


@pytest.fixture
def away() -> Iterator[Trapper]:
    """Another proxy of its group."""
    with Trapper() as trapper:
        yield trapper


@pytest.fixture
def third() -> Iterator[Trapper]:
    """And one more."""
    with Trapper() as trapper:
        yield trapper


def test_followed_at_once_and_remembered(home: Trapper, away: Trapper) -> None:
    """The values get there with the same send, and those of the next ones straight away."""
    home.answer = to(away)
    subject = uplink(home.node)
    assert [subject.send(ITEMS) for _ in range(3)] == [TAKEN] * 3
    assert asked(home, away) == [1, 3]
    assert away.values == home.values * 3


def test_to_ipv6(home: Trapper) -> None:
    """An IPv6 address stands in brackets."""
    with Trapper(address="::1") as away:
        assert away.node.startswith("[::1]:")
        home.answer = to(away)
        assert uplink(home.node).send(ITEMS) == TAKEN


def test_a_reset_leads_home_in_the_same_send(home: Trapper, away: Trapper) -> None:
    """Where a reset comes from a redirect's node, the configured nodes are asked at once, and from then on."""
    home.answer = to(away)
    subject = uplink(home.node)
    subject.send(ITEMS)
    home.answer, away.answer = accept, reset
    assert asked(home, away) == [1, 1]
    assert subject.send(ITEMS) == TAKEN
    assert asked(home, away) == [1, 1]
    assert subject.send(ITEMS) == TAKEN
    assert asked(home, away) == [1, 0]


def test_a_reset_and_a_redirect_in_one_send(home: Trapper, away: Trapper, third: Trapper) -> None:
    """Home again, and from there to where the host belongs now: the longest way that is gone."""
    home.answer = to(away)
    subject = uplink(home.node)
    subject.send(ITEMS)
    home.answer, away.answer = to(third), reset
    asked(home, away)
    assert subject.send(ITEMS) == TAKEN
    assert asked(home, away, third) == [1, 1, 1]


def test_a_newer_redirect_replaces_the_remembered_one(home: Trapper, away: Trapper, third: Trapper) -> None:
    """The proxy to which we were redirected may redirect us again, later."""
    home.answer = to(away, revision=7)
    subject = uplink(home.node)
    subject.send(ITEMS)
    away.answer = to(third, revision=8)
    assert [subject.send(ITEMS) for _ in range(2)] == [TAKEN] * 2
    assert asked(home, away, third) == [1, 2, 2]


def test_an_older_redirect_is_not_followed(home: Trapper, away: Trapper, third: Trapper) -> None:
    """A proxy that knows less than the one that sent us there is not believed; the configured nodes are asked next."""
    home.answer = to(away, revision=7)
    subject = uplink(home.node)
    subject.send(ITEMS)
    away.answer = to(third, revision=6)
    assert f"{away.node} (redirected by {home.node}): it redirects to {third.node}, but by an older" in error(subject)
    home.answer = accept
    asked(home, away)
    assert subject.send(ITEMS) == TAKEN
    assert asked(home, away, third) == [1, 0, 0]


def test_a_redirect_beside_a_success_is_no_redirect(home: Trapper, away: Trapper) -> None:
    """Values that were taken are not sent a second time, whatever else the answer says."""
    body = b'{"response":"success","info":"processed: 1; failed: 0; total: 1","redirect":{"revision":1,"address":"%s"}}'
    home.answer = lambda _: accept({"data": ITEMS})[:5] + _sized(body % away.node.encode())
    assert uplink(home.node).send(ITEMS) == TAKEN
    assert asked(home, away) == [1, 0]


def _sized(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + bytes(4) + body


def test_a_circle_is_left(home: Trapper, away: Trapper) -> None:
    """Two nodes that redirect to each other get one connection each per send, and an error in words, always the same."""
    home.answer, away.answer = to(away), to(home)
    subject = uplink(home.node)
    said = {error(subject) for _ in range(3)}
    assert said == {
        f"{away.node} (redirected by {home.node}): it redirects on to '{home.node}': a loop, or the group has not agreed yet"
    }
    assert asked(home, away) == [3, 3]


def test_a_redirect_to_itself(home: Trapper) -> None:
    """A node that redirects to itself is asked twice, not for ever."""
    home.answer = to(home)
    assert "a loop" in error(uplink(home.node))
    assert asked(home) == [2]


def test_a_chain_is_not_followed(home: Trapper, away: Trapper, third: Trapper) -> None:
    """From a configured node one redirect is followed, not two."""
    home.answer, away.answer = to(away), to(third, revision=2)
    assert f"redirects on to '{third.node}'" in error(uplink(home.node))
    assert asked(home, away, third) == [1, 1, 0]


def test_resets_in_a_circle(home: Trapper, away: Trapper) -> None:
    """A node that redirects to one that resets: each is asked once more at most, and the next send begins at home."""
    home.answer, away.answer = to(away), reset
    subject = uplink(home.node)
    said = {error(subject) for _ in range(3)}
    assert len(said) == 1
    assert f"{away.node} (redirected by {home.node}): it asks us to use another node" in said.pop()
    assert asked(home, away) == [3, 3]


def test_to_a_dead_node(home: Trapper, dead: str) -> None:
    """An error names the node, and who redirected there; the next send begins at home, and finds the same words."""
    home.answer = to(dead)
    subject = uplink(home.node)
    said = {error(subject) for _ in range(2)}
    assert len(said) == 1
    assert said.pop().startswith(f"{dead} (redirected by {home.node}): connection refused. ")
    home.answer = accept
    assert subject.send(ITEMS) == TAKEN


@pytest.mark.parametrize("how", ["stopped", "mute", "garbage"])
def test_a_remembered_node_that_fails_is_forgotten(home: Trapper, how: str) -> None:
    """Whatever goes wrong there is an error of that send; the next one begins at home."""
    with Trapper() as away:
        home.answer = to(away)
        subject = uplink(home.node)
        subject.send(ITEMS)
        home.answer = accept
        if how == "garbage":
            away.answer = lambda _: b"SSH-2.0-OpenSSH_9.2p1\r\n"
        elif how == "mute":
            away.answer = lambda _: MUTE
        if how != "stopped":
            begin = time.monotonic()
            assert error(subject).startswith(f"{away.node} (redirected by {home.node})")
            assert time.monotonic() - begin < 5
    if how == "stopped":
        assert "connection refused" in error(subject)
    asked(home)
    assert subject.send(ITEMS) == TAKEN
    assert asked(home) == [1]


def test_two_nodes_that_redirect_to_one_dead_node(home: Trapper, third: Trapper, dead: str) -> None:
    """The configured nodes take turns, and after each has had one, the words stay the same."""
    home.answer = third.answer = to(dead)
    subject = uplink(home.node, third.node)
    said = [error(subject) for _ in range(4)]
    assert said[1].count(f"{dead} (redirected by ") == 2
    assert set(said[1:]) == {said[1]}
    assert asked(home, third) == [2, 2]


def test_a_configured_node_that_resets_passes_the_turn_on(home: Trapper, third: Trapper) -> None:
    """A proxy that has lost its server asks us to use another one: the next send begins with the next node."""
    home.answer = reset
    subject = uplink(home.node, third.node)
    assert "asks us to use another node" in error(subject)
    assert subject.send(ITEMS) == TAKEN
    assert asked(home, third) == [1, 1]


def test_the_log_says_what_changed(home: Trapper, away: Trapper, caplog: pytest.LogCaptureFixture) -> None:
    """A line where values begin to be taken elsewhere and one where they are at home again; none in between."""
    caplog.set_level(logging.INFO)
    subject = uplink(home.node)
    subject.send(ITEMS)
    home.answer = to(away)
    for _ in range(3):
        subject.send(ITEMS)
    home.answer, away.answer = accept, reset
    for _ in range(3):
        subject.send(ITEMS)
    assert [record.getMessage() for record in caplog.records if record.name == "sender.zabbix.uplink"] == [
        f"main: redirected by {home.node} to {away.node} (Zabbix proxy group)",
        f"main: no longer redirected, values go to {home.node} again",
    ]
