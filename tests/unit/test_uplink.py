"""One request to one destination: what was said, or why nothing was. The failures are those of a hostile trapper."""

from __future__ import annotations

import errno
import json
import resource
import socket
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.circles import assert_gone_when_caught
from lab.seccomp import CAN_REFUSE, refuse_family
from lab.trapper import RESET, Trapper, accept, counts, packet, redirect
from lab.uplinks import ITEMS, LONG, uplink
from sender.errors import DeliveryError, Step
from sender.items import to_request
from sender.model import Outcome


@pytest.mark.parametrize("compression", [True, False])
def test_sends_the_request_and_reads_the_counts(*, compression: bool) -> None:
    """The request body arrives as it was made, compressed or plain, and the counts in the answer are the outcome."""
    with Trapper(lambda _: counts(7, 3)) as trapper:
        outcome = uplink(trapper.port, compression=compression).send(ITEMS)
    assert outcome == Outcome(accepted=7, rejected=3)
    assert trapper.requests == [json.loads(json.dumps(to_request(ITEMS)))]


def test_a_compressed_answer_is_read() -> None:
    """Zabbix may compress its answer."""
    with Trapper(lambda _: packet(zlib.compress(accept({"data": ITEMS})[13:]), flags=3)) as trapper:
        assert uplink(trapper.port).send(ITEMS) == Outcome(accepted=10)


@pytest.mark.parametrize("answer", [{"response": "success", "data": []}, {"response": "failed", "info": "not found"}])
def test_any_other_request(answer: dict[str, Any]) -> None:
    """Another request arrives as it is, and what is answered is given as it is, a failure too."""
    request = {"request": "active checks", "host": "web-01"}
    with Trapper(lambda _: packet(json.dumps(answer).encode())) as trapper:
        assert uplink(trapper.port).ask(request) == answer
    assert trapper.requests == [request]


def test_any_other_request_without_an_answer(dead_port: int) -> None:
    """Where nothing is answered to another request, that is an error in the same words as for values."""
    silent = uplink(dead_port)
    with pytest.raises(DeliveryError) as sent:
        silent.send(ITEMS)
    with pytest.raises(DeliveryError) as asked:
        silent.ask({"request": "active checks", "host": "web-01"})
    assert str(asked.value) == str(sent.value)


def test_values_that_zabbix_did_not_count_are_rejected() -> None:
    """What is missing from processed and failed was dropped unseen, and counts as refused."""
    with Trapper(lambda _: counts(6, 1)) as trapper:
        assert uplink(trapper.port).send(ITEMS) == Outcome(accepted=6, rejected=4)


def test_ipv6() -> None:
    """A node may be an IPv6 address."""
    with Trapper(address="::1") as trapper:
        assert uplink(trapper.port, address="::1").send(ITEMS) == Outcome(accepted=10)


def test_a_name_with_several_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is tried at each of its addresses: localhost is ::1 and 127.0.0.1, of which one listens."""
    both = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    with Trapper() as trapper:
        found = [(family, socket.SOCK_STREAM, 6, "", (address, trapper.port)) for family, address in both]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert uplink(trapper.port, address="zbx").send(ITEMS) == Outcome(accepted=10)


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_failure_keeps_nothing(dead_port: int, nodes: int) -> None:
    """When a failure was told, nothing keeps what was to be sent, with one node and with several."""
    sender = uplink(*[dead_port] * nodes)
    assert_gone_when_caught(DeliveryError, lambda: sender.send(ITEMS))


def test_the_next_node_where_the_first_is_dead(dead_port: int) -> None:
    """The nodes of a cluster are tried in order until one takes a connection."""
    with Trapper() as trapper:
        assert uplink(dead_port, trapper.port).send(ITEMS) == Outcome(accepted=10)


def test_from_the_source_address() -> None:
    """source_ip is where the connection comes from."""
    with Trapper() as trapper:
        uplink(trapper.port, source_ip="127.0.0.7").send(ITEMS)
    assert trapper.peers == ["127.0.0.7"]


ANSWERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", ": it closed the connection without an answer. Is the port right? "),
    "half a header": (b"ZBXD\x01", ": its answer is not that of a Zabbix trapper: b''. Is the port right?"),
    "half a body": (packet(b'{"resp', announced=90), "not that of a Zabbix trapper"),
    "another protocol": (
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        "that of a Zabbix trapper: b'SSH-2.0-OpenS'. Is the port right?",
    ),
    "an agent": (packet(b"ZBX_NOTSUPPORTED\0Unsupported item key."), "ZBX_NOTSUPPORTED"),
    "2 GB announced": (packet(b"", announced=2_000_000_000), "not that of a Zabbix trapper"),
    "a large packet": (packet(bytes(4), flags=5), "not that of a Zabbix trapper"),
    "no JSON": (packet(b"processed: 10"), "not that of a Zabbix trapper"),
    "no UTF-8": (packet(b"\xff\xfe\xff"), "not that of a Zabbix trapper"),
    "bad compression": (packet(b"not zlib", flags=3), "not that of a Zabbix trapper"),
    "JSON too deep": (packet(b"[" * 60_000), "not that of a Zabbix trapper"),
    "digits that are none here": (
        packet('{"response":"success","info":"processed: \u0663; failed: 0; total: 3"}'.encode()),
        "without saying what it accepted",
    ),
    "a number": (packet(b"7"), "its answer is not that of a Zabbix trapper: b'"),
    "null": (packet(b"null"), "its answer is not that of a Zabbix trapper: b'"),
    "nothing said": (packet(b"{}"), "rejected the request: {}"),
    "failed, and more": (
        packet(b'{"response":"failed","info":{"a":[]}}'),
        "rejected the request: {'info': {'a': []}",
    ),
    "success without info": (packet(b'{"response":"success"}'), "without saying what it accepted"),
    "success with odd info": (packet(b'{"response":"success","info":"all well"}'), "without saying what it accepted"),
    "success with a list": (packet(b'{"response":"success","info":[1]}'), "without saying what it accepted"),
    "more than was sent": (counts(11, 0), "answered for more values than were sent"),
    "an attack on the log": (
        packet(b'{"response":"failed","info":"\\u001b[2J\\nINFO all is well"}'),
        r"rejected the request: \x1b[2J\nINFO all is well",
    ),
    "shutdown": (
        packet(b'{"response":"failed","info":"Zabbix server shutdown in progress"}'),
        "rejected the request: Zabbix server shutdown in progress",
    ),
    "a reset by whom nobody redirected to": (redirect(reset=True), "asks us to use another node"),
    "a redirect without a revision": (redirect(address="127.0.0.1:1"), "cannot be followed: it has no revision"),
    "a redirect to a number": (redirect(revision=1, address=7), "redirects to 7, which cannot be followed: expected a"),
    "a redirect to nothing": (
        redirect(revision=1, address=""),
        "redirects to '', which cannot be followed: expected a",
    ),
    "a redirect to a port that is none": (
        redirect(revision=1, address="a:65536"),
        "expected a name or an address, with",
    ),
    "a redirect to no IPv6 address": (redirect(revision=1, address="[::x]:1"), "cannot be followed: expected a name"),
    "a redirect that takes hours to parse": (redirect(revision=1, address=":" * 60_000 + "]"), "expected a name or"),
    "a redirect with more in it": (redirect(revision=1, address="", target=1, self=2), "cannot be followed"),
    "a redirect that is none": (
        packet(b'{"response":"failed","redirect":[1]}'),
        "rejected the request: {'redirect': [1]",
    ),
    "an empty redirect": (redirect(), "rejected the request: {'redirect': {}"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_is_no_answer_is_a_delivery_error(name: str) -> None:
    """Silence, garbage and a rejection of the whole request raise DeliveryError, in words, naming the node and the step."""
    answer, says = ANSWERS[name]
    with Trapper(lambda _: answer) as trapper, pytest.raises(DeliveryError) as raised:
        uplink(trapper.port).send(ITEMS)
    assert says in str(raised.value)
    assert str(raised.value).startswith(f"127.0.0.1:{trapper.port}: {raised.value.found}")
    assert (raised.value.node, raised.value.step) == (trapper.node, Step.PROTOCOL)
    assert "\n" not in str(raised.value)


def test_byte_by_byte_is_still_an_answer() -> None:
    """An answer that comes in single bytes is read whole."""
    with Trapper(lambda _: (bytes([byte]) for byte in counts(10, 0))) as trapper:
        assert uplink(trapper.port).send(ITEMS) == Outcome(accepted=10)


def test_nobody_listens(dead_port: int) -> None:
    """Every node that was tried is named, and what to do is said once."""
    with pytest.raises(DeliveryError) as raised:
        uplink(dead_port, dead_port).send(ITEMS)
    one = f"127.0.0.1:{dead_port}: connection refused"
    assert str(raised.value) == f"{one}; {one}. Is a Zabbix server or proxy listening there?"
    assert raised.value.advice == "Is a Zabbix server or proxy listening there?"
    assert (raised.value.step, raised.value.node) == (Step.CONNECTION, "")


def test_a_connection_that_breaks() -> None:
    """A connection that is reset before the answer, and one that is closed, are one thing: which it is, is chance."""
    said = []
    with Trapper() as trapper:
        for trapper.answer in (lambda _: RESET, lambda _: b""):
            with pytest.raises(DeliveryError) as raised:
                uplink(trapper.port).send(ITEMS)
            said.append(str(raised.value))
    assert said[0] == said[1]


def test_a_connection_that_is_cut_in_the_middle_of_the_request() -> None:
    """A trapper that goes away while it reads has closed the connection without an answer."""
    with (
        Trapper(lambda _: RESET, reads=1_000_000) as trapper,
        pytest.raises(DeliveryError, match="closed the connection without an answer"),
    ):
        uplink(trapper.port, compression=False).send(LONG)


def test_an_unknown_name() -> None:
    """A name that does not resolve is said to be one: .invalid never resolves (RFC 2606)."""
    with pytest.raises(DeliveryError, match=r"zbx\.invalid:10051: the name cannot be resolved \(.+\)\. Check `nodes`"):
        uplink(10051, address="zbx.invalid").send(ITEMS)


def test_a_foreign_source_address(dead_port: int) -> None:
    """A source_ip that this host does not have is an error in words."""
    with pytest.raises(DeliveryError, match=r"source_ip 192\.0\.2\.1 is not an address of this host"):
        uplink(dead_port, source_ip="192.0.2.1").send(ITEMS)


def test_a_source_address_of_the_other_version(dead_port: int) -> None:
    """An IPv6 source_ip for a node that has only IPv4 is said to be just that."""
    with pytest.raises(DeliveryError, match="no address of the IP version of source_ip ::1"):
        uplink(dead_port, source_ip="::1").send(ITEMS)


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", "zbx\u3002"])
def test_an_impossible_name(name: str) -> None:
    """What the resolver cannot even ask for is a name that cannot be resolved, not a crash."""
    with pytest.raises(DeliveryError, match="the name cannot be resolved"):
        uplink(10051, address=name).send(ITEMS)


def test_too_many_open_files(dead_port: int) -> None:
    """Where this process may open nothing more, the error says so."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    subject = uplink(dead_port)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(DeliveryError, match=r"no connection: Too many open files\. Raise LimitNOFILE="):
            subject.send(ITEMS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@CAN_REFUSE
def test_a_sandbox_without_ipv4(dead_port: int) -> None:
    """Where a seccomp filter (systemd's RestrictAddressFamilies) forbids the socket itself, it is an error in words."""

    def send() -> None:
        refuse_family(socket.AF_INET, errno.EPERM)
        with pytest.raises(DeliveryError, match=r"no connection: Operation not permitted\. Check this host's routes"):
            uplink(dead_port).send(ITEMS)

    with ThreadPoolExecutor(1) as thread:  # the filter holds for the one thread that sets it
        thread.submit(send).result()


def test_a_hostile_answer_costs_neither_memory_nor_time() -> None:
    """Two gigabytes announced, 60 KB that unpack to 60 MB, and every other answer: within two megabytes and a second."""
    hostile = [packet(b"", announced=2_000_000_000), packet(zlib.compress(bytes(60_000_000)), flags=3)]
    hostile += [answer for answer, _ in ANSWERS.values()]
    with Trapper() as trapper:
        for answer in hostile:
            trapper.answer = lambda _, answer=answer: answer  # type: ignore[misc]
            tracemalloc.start()
            begin = time.monotonic()
            with pytest.raises(DeliveryError):
                uplink(trapper.port).send(ITEMS)
            took_s, peak = time.monotonic() - begin, tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 2_000_000
            assert took_s < 1


def test_an_answer_of_any_depth() -> None:
    """How deep Python can read and how deep it can print differ: no depth of answer gets between the two."""
    with Trapper() as trapper:
        for depth in [*range(900, 1010), 10_000, 30_000]:  # 1,000 is Python's limit, or once was
            said = b'{"response":"failed","info":' + b"[" * depth + b"]" * depth + b"}"
            trapper.answer = lambda _, said=said: packet(said)  # type: ignore[misc]
            with pytest.raises(DeliveryError):
                uplink(trapper.port).send(ITEMS[:1])


def test_a_node_without_an_answer_is_not_tried_first_again(dead_port: int) -> None:
    """Where a node takes the connection and nothing else, the next attempt begins with the one after it, and stays."""
    with Trapper(lambda _: b"") as mute, Trapper() as good:
        subject = uplink(dead_port, mute.port, good.port)
        with pytest.raises(DeliveryError):
            subject.send(ITEMS)
        for _ in range(3):
            assert subject.send(ITEMS) == Outcome(accepted=10)
    assert (len(mute.requests), len(good.requests)) == (1, 3)


def test_one_trouble_has_one_text() -> None:
    """Two mute nodes, asked in turn, are soon one message that stays the same: it is logged when it changes."""
    with Trapper(lambda _: b"") as one, Trapper(lambda _: b"") as two:
        subject = uplink(one.port, two.port)
        said = []
        for _ in range(5):
            with pytest.raises(DeliveryError) as raised:
                subject.send(ITEMS)
            said.append(str(raised.value))
    assert said[0].startswith(one.node)
    assert said[1].startswith(f"{one.node}: it closed the connection without an answer; {two.node}: it closed")
    assert said[1].count("Is the port right?") == 1
    assert set(said[1:]) == {said[1]}


def test_old_failures_are_forgotten_with_a_success(dead_port: int) -> None:
    """After values were taken, an error is about what is wrong now."""
    with Trapper() as trapper:
        subject = uplink(dead_port, trapper.port)
        subject.send(ITEMS)
        trapper.answer = lambda _: b""
        with pytest.raises(DeliveryError) as raised:
            subject.send(ITEMS)
    assert str(dead_port) not in str(raised.value)
