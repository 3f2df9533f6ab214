"""Sockets by port, accept queues and hosts, from the bytes of `struct inet_diag_msg`: exact, however they come."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle, islice
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.kernel.alike import SOCKET_LEN, Alike
from sender.kernel.counts import SocketCounts
from sender.kernel.dump import NLM_F_MULTI, NLMSG_DONE, SLACK, DumpReader
from sender.model import CountedPorts, Listener, TcpState

if TYPE_CHECKING:
    from collections.abc import Sequence

ANY = "0.0.0.0"  # noqa: S104  nobody binds to it here
HEADER = 0x0123456789ABCDEF  # type, flags and sequence of a socket's message, as one number
LISTENED = CountedPorts(local=frozenset({1, 2, 3, 4, 443}), listening=True)


@dataclass(frozen=True, kw_only=True)
class Socket:
    """One socket as the kernel reports it, and how many bytes of attributes follow; one that listens has no `dst`."""

    state: int = TcpState.ESTABLISHED
    sport: int = 443
    dport: int = 5000
    src: str = "192.0.2.1"
    dst: str = "192.0.2.2"
    rqueue: int = 0
    wqueue: int = 0
    device: int = 0
    attributes: int = 0
    cgroup: int = 0

    def message(self, header: int = HEADER) -> bytes:
        """Return the bytes of include/uapi/linux/inet_diag.h, behind the header of a netlink message."""
        family = AF_INET6 if ":" in self.src else AF_INET
        src, dst = (inet_pton(family, each).ljust(16, b"\0") if each else bytes(16) for each in (self.src, self.dst))
        more = bytes(self.attributes)
        if self.cgroup:  # between two others, as the kernel has it
            more = (
                struct.pack("=HHBxxx", 5, 8, 0)
                + struct.pack("=HHQ", 12, 21, self.cgroup)
                + struct.pack("=HHHxx", 6, 22, 7)
            )
        head = struct.pack("=IQI", SOCKET_LEN + len(more), header, 4711)
        ids = struct.pack(">HH", self.sport, self.dport) + src + dst + struct.pack("=III", self.device, 0, 0)
        body = (
            struct.pack("=BBBB", family, self.state, 0, 0)
            + ids
            + struct.pack("=IIIII", 0, self.rqueue, self.wqueue, 0, 0)
        )
        return head + body + more


def counted(sockets: Sequence[Socket], wanted: CountedPorts, *, short: bool = False) -> SocketCounts:
    """Return what is counted in one datagram: one by one, or all at once, for which they must be of one length."""
    counts = SocketCounts(wanted)
    raw = [socket.message() for socket in sockets]
    groups = [b"".join(raw)] if short else raw
    counts.count([Alike(group, len(group), len(raw[0]) if short else len(group)) for group in groups])
    return counts


ADDRESSES = ["192.0.2.2", "198.51.100.7", "::ffff:192.0.2.2", "c000:202::", "2001:db8::1"]
sockets = st.builds(
    Socket,
    state=st.sampled_from([state for state in TcpState if state != TcpState.LISTEN]),
    sport=st.integers(1, 6) | st.just(65535),
    dport=st.integers(1, 6),
)
alike = st.lists(sockets, min_size=1, max_size=40)
listeners = st.builds(
    Socket,
    state=st.just(TcpState.LISTEN),
    sport=st.integers(1, 4),
    dport=st.just(0),
    src=st.sampled_from(["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9", ANY, "::", "192.0.2.1"]),
    dst=st.just(""),
    rqueue=st.integers(0, 5),
    wqueue=st.integers(0, 4),
)


def by_port(found: Sequence[Socket], name: str, wanted: frozenset[int]) -> dict[tuple[int, int], int]:
    """Return the plain way to count by port and state."""
    return dict(Counter((getattr(s, name), s.state) for s in found if getattr(s, name) in wanted))


@given(
    found=alike, local=st.frozensets(st.integers(1, 6)), remote=st.frozensets(st.integers(1, 6)), short=st.booleans()
)
def test_ports_are_counted_exactly(
    found: list[Socket], local: frozenset[int], remote: frozenset[int], *, short: bool
) -> None:
    """By local and by remote port and state, those that are wanted and no others, in either way of counting."""
    counts = counted(found, CountedPorts(local=local, remote=remote), short=short)
    assert counts.local == by_port(found, "sport", local)
    assert counts.remote == by_port(found, "dport", remote)
    assert {state: count for state, count in enumerate(counts.states) if count} == Counter(s.state for s in found)


@given(
    ears=st.lists(listeners, max_size=8),
    others=st.lists(sockets, max_size=30),
    lengths=st.lists(st.sampled_from([0, 8, 36]), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
)
def test_a_dump_is_counted_however_it_is_divided(
    ears: list[Socket], others: list[Socket], lengths: list[int], sizes: list[int]
) -> None:
    """In any datagrams and any mix of lengths, so by the short way and the long one in turn: what each socket adds up to."""
    reader = DumpReader(
        struct.pack("=IHHI", 16, 20, 0, 0), counts := SocketCounts(CountedPorts(remote=frozenset({3}), listening=True))
    )
    kind, sequence = 20, struct.unpack_from("=IHHI", reader.request)[3]
    found = [replace(socket, attributes=length) for socket, length in zip([*ears, *others], cycle(lengths))]
    rest, count = iter(found), cycle(sizes)
    while some := list(islice(rest, next(count))):
        (header,) = struct.unpack("=Q", struct.pack("=HHI", kind, NLM_F_MULTI, sequence))
        raw = b"".join(socket.message(header) for socket in some)
        assert not reader.add(bytearray(raw + bytes(SLACK)), len(raw))
    done = struct.pack("=IHHIIi", 20, NLMSG_DONE, NLM_F_MULTI, sequence, 0, 0)
    assert reader.add(bytearray(done + bytes(SLACK)), len(done))
    heard = frozenset(socket.sport for socket in ears)
    assert counts.local == by_port(found, "sport", heard)
    assert counts.remote == by_port(found, "dport", frozenset({3}))
    assert {state: n for state, n in enumerate(counts.states) if n} == Counter(socket.state for socket in found)
    asked = {socket.dst for socket in others if socket.state == TcpState.SYN_SENT}
    assert counts.listeners.keys() == heard
    assert counts.syn_sent_hosts == len(asked)


@given(ears=st.lists(listeners, max_size=12), others=alike, short=st.booleans())
def test_a_port_that_is_listened_on_is_counted(ears: list[Socket], others: list[Socket], *, short: bool) -> None:
    """With the listeners ahead, as the kernel has them, every socket on their ports is counted, theirs included."""
    counts = counted([*ears, *others], CountedPorts(listening=True), short=short)
    heard = frozenset(socket.sport for socket in ears)
    assert set(counts.listeners) == heard
    assert counts.local == by_port([*ears, *others], "sport", heard)


@pytest.mark.heavy
@given(ears=st.lists(listeners, min_size=1, max_size=12), short=st.booleans())
def test_the_fullest_listener_speaks_for_its_port(ears: list[Socket], *, short: bool) -> None:
    """Of several on one port (SO_REUSEPORT, IPv4 beside IPv6), the one that is nearest to its limit."""
    counts = counted(ears, LISTENED, short=short)
    for port, listener in counts.listeners.items():
        queues = [(each.rqueue, each.wqueue) for each in ears if each.sport == port]
        assert (listener.waiting, listener.limit) in queues
        assert listener.pused == max(Listener(waiting=waiting, limit=limit).pused for waiting, limit in queues)


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize(
    ("sources", "is_loopback"),
    [
        (["127.0.0.1"], True),
        (["127.8.8.8", "::1"], True),
        (["::ffff:127.0.0.1"], True),
        ([ANY], False),
        (["::"], False),
        (["127.0.0.1", "192.0.2.1"], False),
        (["192.0.2.1", "127.0.0.1"], False),
        (["::ffff:192.0.2.1"], False),
        (["7f00::"], False),  # begins as 127.0.0.0 does
    ],
)
def test_loopback_is_where_every_listener_is(sources: list[str], *, is_loopback: bool, short: bool) -> None:
    """A port is on loopback only if nobody listens on it elsewhere."""
    ears = [Socket(state=TcpState.LISTEN, src=source, dst="", wqueue=1) for source in sources]
    assert counted(ears, LISTENED, short=short).listeners[443].is_loopback == is_loopback


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize(("devices", "is_loopback"), [([1], True), ([1, 1], True), ([2], False), ([1, 0], False)])
def test_the_loopback_device_is_loopback(devices: list[int], *, is_loopback: bool, short: bool) -> None:
    """Whatever its address, nobody elsewhere reaches a listener that is bound to lo, which is device 1 everywhere."""
    ears = [Socket(state=TcpState.LISTEN, src=ANY, dst="", wqueue=1, device=device) for device in devices]
    assert counted(ears, LISTENED, short=short).listeners[443].is_loopback == is_loopback


@pytest.mark.parametrize("short", [True, False])
def test_listeners_come_with_their_cgroups(*, short: bool) -> None:
    """Each of a port's own, once; where the kernel has none, that is told apart."""
    ears = [
        Socket(state=TcpState.LISTEN, sport=port, cgroup=cgroup) for port, cgroup in [(1, 7), (1, 7), (2, 8), (2, 9)]
    ]
    assert counted(ears, LISTENED, short=short).cgroups == {1: {7}, 2: {8, 9}}
    assert counted([Socket(state=TcpState.LISTEN, attributes=36)], LISTENED, short=short).cgroups == {443: {0}}


@given(attributes=st.binary(max_size=60))
def test_no_attributes_stop_a_count(attributes: bytes) -> None:
    """Whatever a kernel of tomorrow says of a listener beside what is known, the listener is counted."""
    message = bytearray(Socket(state=TcpState.LISTEN).message() + attributes + bytes(-len(attributes) % 4))
    length = SOCKET_LEN + len(attributes)
    message[:4] = struct.pack("=I", length)
    counts = SocketCounts(LISTENED)
    counts.count([Alike(message, len(message), length)])
    assert len(counts.cgroups[443]) == 1


def test_only_wanted_listeners_are_noted() -> None:
    """Without `listening`, the queues of named ports alone."""
    ears = [Socket(state=TcpState.LISTEN, sport=port, wqueue=128) for port in (22, 443)]
    assert counted(ears, CountedPorts(local=frozenset({443}))).listeners == {443: Listener(limit=128)}


@given(
    targets=st.lists(st.sampled_from(ADDRESSES), max_size=20), other=st.sampled_from([1, 3, 6, 8]), short=st.booleans()
)
def test_hosts_in_syn_sent_are_told_apart(targets: list[str], other: int, *, short: bool) -> None:
    """Each address once, an IPv4 one in IPv6's clothes too, and none of a socket in another state."""
    asked = [
        Socket(state=TcpState.SYN_SENT, src="::1" if ":" in target else "192.0.2.1", dst=target) for target in targets
    ]
    counts = counted([Socket(state=other, dst="203.0.113.1"), *asked], CountedPorts(), short=short)
    assert counts.syn_sent_hosts == len({target.removeprefix("::ffff:") for target in targets})
