"""One request to one destination: what was said, or why nothing was. The failures are those of a hostile trapper."""

from __future__ import annotations

import json
import socket
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sender.config import Destination, Node
from sender.errors import DeliveryError
from sender.items import to_request
from sender.model import Item, Outcome
from sender.uplink import Uplink
from support.trapper import RESET, Trapper, accept, counts, packet

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN = Path("/proc/self/fd")
ITEMS = tuple(Item(host="web-01", key=f"key[{n}]", value=str(n), clock=1_700_000_000, ns=n + 1) for n in range(10))


def uplink(*ports: int, address: str = "127.0.0.1", **settings: Any) -> Uplink:
    """An uplink to these ports, as the nodes of one cluster."""
    nodes = [str(Node(address=address, port=port)) for port in ports]
    return Uplink(Destination.model_validate({"nodes": nodes, **settings}))


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


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
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        assert uplink(trapper.port, address="zbx").send(ITEMS) == Outcome(accepted=10)


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
    "nothing": (b"", " closed the connection without an answer; is the port right? 10051 is"),
    "half a header": (b"ZBXD\x01", " does not answer like a Zabbix trapper, but b''; is the port right?"),
    "half a body": (packet(b'{"resp', announced=90), "does not answer like a Zabbix trapper"),
    "another protocol": (
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        "like a Zabbix trapper, but b'SSH-2.0-OpenS'; is the port right?",
    ),
    "an agent": (packet(b"ZBX_NOTSUPPORTED\0Unsupported item key."), "ZBX_NOTSUPPORTED"),
    "2 GB announced": (packet(b"", announced=2_000_000_000), "does not answer like a Zabbix trapper"),
    "a large packet": (packet(bytes(4), flags=5), "does not answer like a Zabbix trapper"),
    "no JSON": (packet(b"processed: 10"), "does not answer like a Zabbix trapper"),
    "no UTF-8": (packet(b"\xff\xfe\xff"), "does not answer like a Zabbix trapper"),
    "bad compression": (packet(b"not zlib", flags=3), "does not answer like a Zabbix trapper"),
    "JSON too deep": (packet(b"[" * 60_000), "does not answer like a Zabbix trapper"),
    "digits that are none here": (
        packet('{"response":"success","info":"processed: \u0663; failed: 0; total: 3"}'.encode()),
        "without saying what it took",
    ),
    "a number": (packet(b"7"), "did not take the values: 7"),
    "null": (packet(b"null"), "did not take the values: None"),
    "success without info": (packet(b'{"response":"success"}'), "without saying what it took"),
    "success with odd info": (packet(b'{"response":"success","info":"all well"}'), "without saying what it took"),
    "success with a list": (packet(b'{"response":"success","info":[1]}'), "without saying what it took"),
    "more than was sent": (counts(11, 0), "answered for 11 values, but 10 were sent"),
    "an attack on the log": (
        packet(b'{"response":"failed","info":"\\u001b[2J\\nINFO all is well"}'),
        r"did not take the values: \x1b[2J\nINFO all is well",
    ),
    "shutdown": (
        packet(b'{"response":"failed","info":"Zabbix server shutdown in progress"}'),
        "did not take the values: Zabbix server shutdown in progress",
    ),
    "a redirect": (
        packet(b'{"redirect":{"revision":1,"address":"127.0.0.1:1"},"response":"failed"}'),
        "did not take the values: {'redirect'",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_is_no_answer_is_a_delivery_error(name: str) -> None:
    """Silence, garbage and refusals of the whole request raise DeliveryError, in words, naming the node."""
    answer, says = ANSWERS[name]
    with Trapper(lambda _: answer) as trapper, pytest.raises(DeliveryError) as raised:
        uplink(trapper.port).send(ITEMS)
    assert says in str(raised.value)
    assert str(raised.value).startswith(f"127.0.0.1:{trapper.port}")
    assert "\n" not in str(raised.value)


def test_byte_by_byte_is_still_an_answer() -> None:
    """An answer that comes in single bytes is read whole."""
    with Trapper(lambda _: (bytes([byte]) for byte in counts(10, 0))) as trapper:
        assert uplink(trapper.port).send(ITEMS) == Outcome(accepted=10)


@pytest.mark.parametrize("pause_s", [0.1, 60])
def test_the_timeout_is_for_the_whole_answer(pause_s: float) -> None:
    """A trapper that drips, and one that says nothing, are both given up after the timeout, not after each byte's."""
    with Trapper() as trapper:

        def answer(_: Any) -> Iterator[bytes]:
            for byte in counts(10, 0):
                if trapper.closing.wait(pause_s):
                    return
                yield bytes([byte])

        trapper.answer = answer
        begin = time.monotonic()
        with pytest.raises(DeliveryError, match="connected, but no whole answer within 1 s"):
            uplink(trapper.port, timeout="1s").send(ITEMS)
        assert time.monotonic() - begin < 5


def test_nobody_listens(dead_port: int) -> None:
    """Every node that was tried is named, with what to look at."""
    with pytest.raises(DeliveryError) as raised:
        uplink(dead_port, dead_port).send(ITEMS)
    one = f"127.0.0.1:{dead_port}: connection refused; is zabbix_server (or the proxy) running there, and is this its"
    assert str(raised.value).count(one) == 2


def test_a_connection_that_breaks() -> None:
    """A connection that is reset before the answer is said to have broken, by name of the node."""
    with (
        Trapper(lambda _: RESET) as trapper,
        pytest.raises(DeliveryError, match="the connection broke before the answer"),
    ):
        uplink(trapper.port).send(ITEMS)


def test_an_unknown_name() -> None:
    """A name that does not resolve is said to be one: .invalid never resolves (RFC 2606)."""
    with pytest.raises(DeliveryError, match=r"zbx\.invalid:10051: the name cannot be resolved \(.+\); look at `nodes`"):
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


def test_a_firewall_that_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no connection comes about in time, a firewall is the first suspect."""

    def times_out(*_: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", times_out)
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1:1: no connection within 5 s; is a firewall in between\?"):
        uplink(1).send(ITEMS)


def test_failures_leave_nothing_open(dead_port: int) -> None:
    """A hundred failed sends of every kind leave no file descriptor behind."""
    before = len(list(OPEN.iterdir()))
    with Trapper(lambda _: b"") as trapper:
        for port in [dead_port, trapper.port] * 50:
            with pytest.raises(DeliveryError):
                uplink(port).send(ITEMS)
    assert len(list(OPEN.iterdir())) == before


def test_a_hostile_size_costs_no_memory() -> None:
    """An announced 2 GB, and 60 KB that unpack to 60 MB, cost less than a megabyte."""
    for answer in (packet(b"", announced=2_000_000_000), packet(zlib.compress(bytes(60_000_000)), flags=3)):
        with Trapper(lambda _, answer=answer: answer) as trapper:  # type: ignore[misc]
            tracemalloc.start()
            with pytest.raises(DeliveryError, match="does not answer like a Zabbix trapper"):
                uplink(trapper.port).send(ITEMS)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 1_000_000


def test_a_node_without_an_answer_is_not_tried_first_again(dead_port: int) -> None:
    """Where a node takes the connection and nothing else, the next attempt begins with the one after it, and stays."""
    with Trapper(lambda _: b"") as mute, Trapper() as good:
        subject = uplink(dead_port, mute.port, good.port)
        with pytest.raises(DeliveryError):
            subject.send(ITEMS)
        for _ in range(3):
            assert subject.send(ITEMS) == Outcome(accepted=10)
    assert (len(mute.requests), len(good.requests)) == (1, 3)
