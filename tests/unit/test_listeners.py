"""A look at the listening sockets, from the bytes of the kernel's messages: accept queues and drops, or nothing."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import RefusedError
from sender.kernel.alike import Alike
from sender.kernel.dump import SLACK, DumpReader
from sender.kernel.exchange import Exchange
from sender.kernel.listeners import ListenerLooks
from sender.kernel.requests import LISTENER_WAYS
from sender.kernel.sock_diag import Listeners
from sender.model import Look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.kernel.dump import Counts

HEADER = "1200 0200 07000000"  # TCPDIAG_GETSOCK, NLM_F_MULTI, sequence 7
END = "14000000 0300 0200 07000000 67120000 00000000"

# As Linux 6.18 has sent it on a little-endian machine: port 443, three connections wait where two may.
IDS = "01bb0000" + "00" * 32 + "00000000" + "01000000 00000000"
QUEUES = "00000000 03000000 02000000 00000000 39300000"  # expires, rqueue, wqueue, uid, inode
LISTENER = "67120000" + "020a0000" + IDS + QUEUES
PROTOCOL = "0500 0800 00 000000"
CGROUP = "0c00 1500 2a00000000000000"
EIGHT = "2400 0700" + "00000000 00000200 00000000 00400000 00000000 00000000 00000000 00000000"  # before Linux 4.6
NINE = "2800 0700" + "00000000 00000200 00000000 00400000 00000000 00000000 00000000 00000000 0a000000"

(IN_ONE,), BY_FAMILY = LISTENER_WAYS


def message(*attributes: str) -> bytes:
    """Return the listener's message with these attributes, and what NLMSG_ALIGN fills up."""
    rest = bytes.fromhex(HEADER.replace(" ", "") + LISTENER + "".join(attributes))
    return struct.pack("=I", 4 + len(rest)) + rest + bytes(-len(rest) % 4)


def looks_at(*messages: bytes) -> dict[int, Look]:
    """Return what there is in one datagram, each message looked at alone, and something else behind it."""
    looks = ListenerLooks()
    looks.count([Alike(each, len(each), len(each)) for each in messages])
    return looks.by_port


def test_the_ninth_number_is_the_drops() -> None:
    """The message of a kernel is taken as what it says, wherever the attribute stands."""
    expected = {443: Look(waiting=3, drops=10)}
    assert looks_at(message(NINE)) == expected
    assert looks_at(message(PROTOCOL, CGROUP, NINE)) == looks_at(message(NINE, PROTOCOL)) == expected


def test_a_newer_kernel_may_have_more_numbers() -> None:
    """What stands behind the ninth does not matter."""
    assert looks_at(message("2c00" + NINE[4:] + "ff000000")) == {443: Look(waiting=3, drops=10)}


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param([], id="none"),
        pytest.param([PROTOCOL, CGROUP], id="others"),
        pytest.param([EIGHT], id="eight numbers"),
        pytest.param([EIGHT, PROTOCOL], id="eight numbers, and another attribute behind them"),
        pytest.param([NINE.replace("2800", "2700", 1)], id="a byte less than nine numbers"),
        pytest.param([NINE.replace("2800", "2c00", 1)], id="longer than the message"),
        pytest.param([NINE.replace("2800", "ffff", 1)], id="much longer than the message"),
        pytest.param([NINE.replace("2800", "0000", 1)], id="of no length"),
        pytest.param([NINE.replace("2800", "0300", 1)], id="shorter than its head"),
        pytest.param(["0000 0000", NINE], id="behind one of no length"),
        pytest.param([PROTOCOL, "2800"], id="half a head at the end"),
    ],
)
def test_without_a_ninth_number_drops_are_unknown(attributes: Sequence[str]) -> None:
    """Old kernels and broken lengths give no value, never 0 nor a number that stands elsewhere; the queue is known."""
    assert looks_at(message(*attributes)) == {443: Look(waiting=3, drops=None)}
    assert looks_at(message(*attributes), message(NINE))[443].drops is None


def test_the_next_message_is_not_taken_for_an_attribute() -> None:
    """An attribute that claims bytes of the message behind it has none of them."""
    greedy = message("3000 0700" + "00000000" * 7)
    assert looks_at(greedy, message(NINE))[443].drops is None


def listener(port: int, waiting: int, numbers: Sequence[int]) -> bytes:
    """Return the message of a listener on a port."""
    raw = bytearray(message())
    struct.pack_into(">H", raw, 20, port)
    struct.pack_into("=I", raw, 72, waiting)
    attribute = struct.pack(f"=HH{len(numbers)}I", 4 + 4 * len(numbers), 7, *numbers) if numbers else b""
    struct.pack_into("=I", raw, 0, len(raw) + len(attribute))
    return bytes(raw) + attribute


def with_drops(port: int, waiting: int, drops: int) -> bytes:
    """Return the message of a listener that has dropped so many."""
    return listener(port, waiting, [1, 2, 3, 4, 5, 6, 7, 8, drops])


def test_sockets_of_one_port_are_added_up() -> None:
    """SO_REUSEPORT, and IPv4 beside IPv6: all drops together, and the longest queue; other ports stay apart."""
    found = looks_at(with_drops(80, 5, 10), with_drops(443, 1, 0), with_drops(80, 9, 2**32 - 1), with_drops(80, 0, 3))
    assert found == {80: Look(waiting=9, drops=2**32 + 12), 443: Look(waiting=1, drops=0)}


def test_one_unknown_makes_the_sum_unknown() -> None:
    """A sum without one of its parts would be a smaller number that looks measured."""
    assert looks_at(with_drops(80, 5, 10), listener(80, 7, [])) == {80: Look(waiting=7, drops=None)}
    assert looks_at(listener(80, 7, []), with_drops(80, 5, 10)) == {80: Look(waiting=7, drops=None)}


LISTENERS = st.lists(
    st.tuples(
        st.sampled_from([1, 80, 443, 65535]),
        st.integers(0, 2**32 - 1),
        st.lists(st.integers(0, 2**32 - 1), max_size=10),
    ),
    min_size=1,
    max_size=20,
)


@given(listeners=LISTENERS, is_one_length=st.booleans())
def test_each_way_of_reading_finds_the_same(
    *, listeners: Sequence[tuple[int, int, Sequence[int]]], is_one_length: bool
) -> None:
    """A datagram of messages of one length, as the reader finds it, says what its messages say one by one."""
    if is_one_length:
        listeners = [(port, waiting, listeners[0][2]) for port, waiting, _ in listeners]
    expected: dict[int, Look] = {}
    for port, waiting, numbers in listeners:
        look = Look(waiting=waiting, drops=numbers[8] if len(numbers) > 8 else None)
        expected[port] = expected[port].beside(look) if port in expected else look
    looks = ListenerLooks()
    reader = DumpReader(IN_ONE, looks)
    for raw in (b"".join(listener(*each) for each in listeners), bytes.fromhex(END)):
        datagram = bytearray(raw)
        offset = 0
        while offset < len(datagram):
            datagram[offset + 8 : offset + 12] = reader.request[8:12]
            offset += struct.unpack_from("=I", datagram, offset)[0]
        is_last = reader.add(bytearray(datagram + bytes(SLACK)), len(datagram))
        assert is_last == (raw == bytes.fromhex(END))
    assert looks.by_port == expected


def test_the_request_is_what_the_header_files_say() -> None:
    """LISTEN alone, with INET_DIAG_SKMEMINFO: in one walk by struct inet_diag_req, by family by struct inet_diag_req_v2."""
    assert IN_ONE.hex() == "4c00000012000103" + "00" * 8 + "00000040" + "00" * 48 + "0004000000000000"
    heads = ["02064000", "0a064000"]
    expected = ["4800000014000103" + "00" * 8 + head + "00040000" + "00" * 48 for head in heads]
    assert [request.hex() for request in BY_FAMILY] == expected


class Kernel(Exchange):
    """Answers for each family, and refuses the one walk, if need be in the middle of it."""

    def dump(self, request: bytes, counts: Counts) -> None:
        """Give one listener to `counts`."""
        raw = with_drops(80, 1, 5)
        counts.count([Alike(raw, len(raw), len(raw))])
        if request == IN_ONE:
            raise RefusedError("no")


def test_where_one_walk_is_refused_each_family_is_asked() -> None:
    """What the refused one has brought does not count."""
    assert Listeners(Kernel()).look() == {80: Look(waiting=1, drops=10)}
