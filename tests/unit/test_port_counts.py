"""Sockets counted by port and state, many at once."""

from __future__ import annotations

from collections import Counter
from socket import htons

from hypothesis import given
from hypothesis import strategies as st

from sender.kernel.port_counts import PortCounts

# Few bytes, of which some are 0, so that ports share one, or both in the other order.
ports = st.builds(
    lambda first, second: 256 * first + second, st.sampled_from([0, 1, 2, 255]), st.sampled_from([0, 1, 2])
)
sockets = st.lists(st.tuples(ports, st.integers(1, 11)), max_size=40)


def counted(counts: PortCounts, datagrams: list[list[tuple[int, int]]]) -> dict[tuple[int, int], int]:
    """Count the sockets of each datagram, and return the counts by port and state."""
    for datagram in datagrams:
        first, second = bytearray(port >> 8 for port, _ in datagram), bytearray(port & 255 for port, _ in datagram)
        counts.count_all(first, second, bytearray(state for _, state in datagram))
    return {(port, int(state)): count for (port, state), count in counts.by_port().items()}


@given(wanted=st.sets(ports), datagrams=st.lists(sockets, max_size=5), at_once=st.integers(1, 100))
def test_each_socket_on_a_port_that_was_added_is_counted_once(
    wanted: set[int], datagrams: list[list[tuple[int, int]]], at_once: int
) -> None:
    """Whatever the bytes of a port, and wherever a datagram ends: the counts are those of a look at each socket."""
    found = counted(PortCounts(wanted, at_once=at_once), datagrams)
    assert found == Counter(each for datagram in datagrams for each in datagram if each[0] in wanted)


@given(datagrams=st.lists(sockets, max_size=5))
def test_every_port_can_be_counted(datagrams: list[list[tuple[int, int]]]) -> None:
    """Without a list of ports each one that occurs has its count."""
    assert counted(PortCounts(every=True), datagrams) == Counter(each for datagram in datagrams for each in datagram)


def test_a_port_that_is_added_later_is_counted_from_then_on() -> None:
    """A listening port is known by the time its connections come: one that was added counts beside those before."""
    counts = PortCounts([443])
    counts.add(htons(256))
    assert counted(counts, [[(256, 1), (443, 1), (257, 1)]]) == {(256, 1): 1, (443, 1): 1}
