"""Where connections go: local ports in use towards one destination, in bounded memory, and requests without an answer."""

from __future__ import annotations

import struct
from collections import Counter
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.kernel import ephemeral
from sender.kernel.alike import SOCKET_LEN, Alike
from sender.kernel.counts import SocketCounts
from sender.kernel.destinations import BoundedCounts, Reuse, UsablePorts
from sender.model import CountedPorts, EphemeralPorts, TcpState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

USABLE = UsablePorts(range(32768, 61000), {33000, 33001})


def socket(state: int, source: tuple[str, int], target: tuple[str, int] = ("", 0), left_ms: int = 0) -> bytes:
    """Return the message of a socket from `source` to `target`, whose timer ends in `left_ms`."""
    (src, sport), (dst, dport) = source, target
    family = AF_INET6 if ":" in src else AF_INET
    pack = [inet_pton(family, each).ljust(16, b"\0") if each else bytes(16) for each in (src, dst)]
    head = struct.pack("=IQI", SOCKET_LEN, 0x0123456789ABCDEF, 1) + struct.pack("=BBBB", family, state, 0, 0)
    body = (head + struct.pack(">HH", sport, dport) + b"".join(pack)).ljust(68, b"\0") + struct.pack("=I", left_ms)
    return body.ljust(SOCKET_LEN, b"\0")


def worst(messages: Iterable[bytes], usable: UsablePorts = USABLE) -> EphemeralPorts:
    """Return what is found among these sockets."""
    raw = b"".join(messages)
    counts = SocketCounts(CountedPorts(), usable)
    counts.count([Alike(raw, len(raw), SOCKET_LEN)] if raw else [])
    assert counts.ephemeral
    return counts.ephemeral.worst()


ONE, OTHER = ("192.0.2.1", "198.51.100.7"), ("192.0.2.2", "198.51.100.7")


def test_the_worst_destination_is_found_in_any_state() -> None:
    """By own address, remote address and remote port; TIME_WAIT takes a port as well as an open connection does."""
    messages = [socket(state, (ONE[0], 40000 + n), (ONE[1], 5432)) for n, state in enumerate([1, 6, 8, 4, 2] * 10)]
    messages += [socket(1, (OTHER[0], 40000 + n), (OTHER[1], 5432)) for n in range(40)]
    messages += [socket(1, (ONE[0], 50000 + n), (ONE[1], 443)) for n in range(45)]
    assert worst(messages) == EphemeralPorts(used=50, usable=28230, destination="198.51.100.7:5432 from 192.0.2.1")


def test_only_ports_that_the_kernel_may_take_count() -> None:
    """Not those outside of its range, reserved ones, and those that somebody listens on, whose connections are clients'."""
    target = (ONE[1], 5432)
    messages = [socket(TcpState.LISTEN, ("192.0.2.1", 40000))]
    messages += [socket(1, (ONE[0], port), target) for port in (32767, 61000, 33000, 33001, 22, 40000)]
    assert worst(messages).used == 0
    assert worst([*messages, socket(1, (ONE[0], 32768), target), socket(1, (ONE[0], 60999), target)]).used == 2
    assert worst(messages).usable == 28229


def test_one_destination_in_two_forms_is_one() -> None:
    """A socket of IPv6 that speaks IPv4 takes a port of the same ones."""
    messages = [socket(1, (ONE[0], 40000), (ONE[1], 443))]
    messages += [socket(1, (f"::ffff:{ONE[0]}", 40001), (f"::ffff:{ONE[1]}", 443))]
    messages += [socket(1, ("2001:db8::1", 40002), ("2001:db8::2", 443))]
    assert worst(messages).used == 2
    assert worst(messages[2:]).destination == "[2001:db8::2]:443 from 2001:db8::1"


HOSTS = ["127.0.0.1", "::1", "::ffff:127.0.0.2", "192.0.2.1", "2001:db8::1"]
LOOPBACK = HOSTS[:3]
some = st.tuples(st.sampled_from(list(TcpState)), st.sampled_from(HOSTS), st.sampled_from([0, 59_000, 59_001, 60_000]))


@pytest.mark.parametrize(
    "reuse",
    [Reuse(), Reuse(on_loopback=True, after_ms=1000), Reuse(everywhere=True, after_ms=1000)],
    ids=["never", "on loopback", "everywhere"],
)
@given(found=st.lists(some, max_size=30))
def test_a_port_that_is_taken_again_is_not_in_use(reuse: Reuse, found: list[tuple[TcpState, str, int]]) -> None:
    """One in TIME_WAIT for a second, where the kernel does that; a younger one is in use, and so are all in another state."""
    found = [each for each in found if each[0] != TcpState.LISTEN]
    usable = UsablePorts(range(32768, 61000), reuse=reuse)
    messages = [socket(state, (host, 40000), (host, 80), left) for state, host, left in found]
    in_use = Counter(
        host
        for state, host, left in found
        if state != TcpState.TIME_WAIT
        or left > 59_000
        or not (reuse.everywhere or (reuse.on_loopback and host in LOOPBACK))
    )
    assert worst(messages, usable).used == max(in_use.values(), default=0)


def test_without_connections_there_is_none() -> None:
    """Nothing in use is 0 percent; without a usable port there is no percent."""
    assert worst([]) == EphemeralPorts(used=0, usable=28230)
    assert worst([]).pused == 0
    assert EphemeralPorts(used=0, usable=0).pused is None


@given(found=st.lists(st.integers(0, 30), max_size=300), most=st.integers(2, 40))
def test_counts_are_bounded_and_never_too_high(found: list[int], most: int) -> None:
    """Past its limit of things the count of each is true, or too low by `error` at most; within the limit it is true."""
    counts = BoundedCounts(most)
    for each in found:
        counts.add([bytes([each])])
    assert len(counts.counts) <= most
    for each, count in Counter(found).items():
        assert count - counts.error <= counts.counts[bytes([each])] <= count
    if len(set(found)) <= most:
        assert counts.error == 0


def test_among_a_million_destinations_the_worst_is_exact() -> None:
    """Sockets come in the order of a hash. One destination in forty is the same, the others are ever new ones."""
    counts = BoundedCounts()
    for n in range(0, 1_000_000, 250):
        counts.add(b"worst" if each % 40 == 0 else each.to_bytes(4, "big") for each in range(n, n + 250))
    assert counts.counts[b"worst"] == 25_000
    assert len(counts.counts) <= 1024


def test_requests_without_an_answer_say_where_they_go() -> None:
    """By address and port, IPv4 in either form together."""
    messages = [socket(2, (ONE[0], 40000 + n), (ONE[1], 443)) for n in range(3)]
    messages += [socket(2, (f"::ffff:{ONE[0]}", 40009), (f"::ffff:{ONE[1]}", 443))]
    messages += [socket(2, ("2001:db8::1", 40010), ("2001:db8::2", 80)), socket(1, (ONE[0], 1), (ONE[1], 2))]
    raw = b"".join(messages)
    counts = SocketCounts()
    counts.count([Alike(raw, len(raw), SOCKET_LEN)])
    assert counts.destinations == {"198.51.100.7:443": 4, "[2001:db8::2]:80": 1}


@pytest.mark.parametrize(
    ("bounds", "reserved", "usable"),
    [("32768\t60999\n", "\n", 28232), ("32768 60999", "32768-32777,40000,8080\n", 28221), ("1030 1030", "", 1)],
)
def test_usable_ports_are_the_range_less_the_reserved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bounds: str, reserved: str, usable: int
) -> None:
    """As net.ipv4.ip_local_port_range and ip_local_reserved_ports say; where the kernel says nothing, nothing is known."""
    monkeypatch.setattr(ephemeral, "RANGE", tmp_path / "range")
    monkeypatch.setattr(ephemeral, "RESERVED", tmp_path / "reserved")
    assert ephemeral.usable_ports() is None
    assert not ephemeral.ephemeral_ports()
    (tmp_path / "range").write_text(bounds)
    (tmp_path / "reserved").write_text(reserved)
    found = ephemeral.usable_ports()
    assert found is not None
    assert len(found) == usable


@pytest.mark.parametrize(
    ("how", "delay", "timestamps", "reuse"),
    [
        ("2\n", "1000\n", "1\n", Reuse(on_loopback=True, after_ms=1000)),
        ("1", "50", "2", Reuse(everywhere=True, after_ms=50)),
        ("2", "", "1", Reuse(on_loopback=True, after_ms=1000)),
        ("0", "1000", "1", Reuse()),
        ("2", "1000", "0", Reuse()),
        ("", "", "", Reuse()),
    ],
)
def test_whether_time_wait_is_taken_again_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, delay: str, timestamps: str, reuse: Reuse
) -> None:
    """As net.ipv4.tcp_tw_reuse and its delay say, which an older kernel does not have, and only with timestamps."""
    values = {
        "RANGE": "32768 60999",
        "RESERVED": "",
        "TW_REUSE": how,
        "TW_REUSE_DELAY": delay,
        "TIMESTAMPS": timestamps,
    }
    for name, value in values.items():
        monkeypatch.setattr(ephemeral, name, tmp_path / name)
        if value:
            (tmp_path / name).write_text(value)
    found = ephemeral.usable_ports()
    assert found is not None
    assert found.reuse == found.copy().reuse == reuse
