"""Counts sockets by the cgroup that they have in their messages, and finds those that have none. Bytes in, counts out.

A full socket's message carries the id of its cgroup, unasked, since Linux 5.8. Sockets in TIME_WAIT and SYN_RECV, and most in
FIN_WAIT2, are no full ones and have none.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter, defaultdict
from itertools import compress
from typing import TYPE_CHECKING

from sender.kernel.alike import SOCKET_LEN, repeated
from sender.kernel.id_codes import IdCodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sender.kernel.alike import Alike, Column

CGROUP_ID = 21  # INET_DIAG_CGROUP_ID, include/uapi/linux/inet_diag.h

_AT_ONCE = 4096  # sockets: enough that a step for each cgroup does not matter
_FEW = 32  # ids: it takes less time to count each than to see which of them occur
_ATTRIBUTE, _ID = struct.Struct("=HH"), struct.Struct("=Q")  # struct nlattr: length with this head, type
_BYTES = range(8) if sys.byteorder == "little" else range(7, -1, -1)  # where the bytes of an id are, the lowest first
_HEAD = struct.Struct("=I")  # the same as one number
(_ID_HEAD,) = _HEAD.unpack(_ATTRIBUTE.pack(_ATTRIBUTE.size + _ID.size, CGROUP_ID))


class OwnerCounts:
    """The sockets that have a cgroup, by state and its id."""

    def __init__(self) -> None:
        self._counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._places: dict[int, int] = {}  # of the id's attribute, by the length of a message
        self._codes = IdCodes()
        self._columns, self._states = [bytearray() for _ in _BYTES], bytearray()  # of sockets not counted yet

    @property
    def by_state(self) -> Mapping[int, Mapping[int, int]]:
        """Return how many sockets each cgroup has, by state."""
        self._count_collected()
        return self._counts

    def count(self, group: Alike, states: Column) -> bool | None:
        """Count the sockets of a group, which are in these states; return whether they have an id, None where only some do.

        Of sockets without an id nothing is counted, and of a group in which only some have one neither.
        """
        place = self._place(group)
        if not place:
            return None if place is None else False
        buffer, size, room, begin = group.buffer, group.size, group.room, place + _ATTRIBUTE.size
        for column, byte in zip(self._columns, _BYTES, strict=True):
            column += buffer[begin + byte : size : room]  # noqa: PLW2901  a bytearray grows in its place
        self._states += states
        if len(self._states) >= _AT_ONCE:
            self._count_collected()
        return True

    def _count_collected(self) -> None:
        columns, states = self._columns, self._states
        self._columns, self._states = [bytearray() for _ in _BYTES], bytearray()
        if not states:
            return
        codes = self._codes.of(columns)
        if codes is None:
            self._count_each(columns, states)
            return
        ids = self._codes.ids
        for state, found in _by_state(codes, states):
            by_id = self._counts[state]
            for code in ids if len(ids) <= _FEW else set(found):
                if count := found.count(code):
                    by_id[ids[code]] += count

    def _count_each(self, columns: Sequence[bytearray], states: bytearray) -> None:
        """Count sockets one by one, and know their ids from now on."""
        raw = bytearray(_ID.size * len(states))
        for column, byte in zip(columns, _BYTES, strict=True):
            raw[byte :: _ID.size] = column
        ids = memoryview(raw).cast("Q").tolist()
        for (state, cgroup), count in Counter(zip(states, ids, strict=True)).items():
            self._counts[state][cgroup] += count
        self._codes = self._codes.with_more(ids)

    def _place(self, group: Alike) -> int | None:
        """Return where in each message of a group the id's attribute is, 0 where none has one, None where only some do."""
        known = self._places.get(group.length, 0)
        if known and _is_everywhere(group, known, _ID_HEAD):
            return known
        attributes = _attributes(group.buffer, SOCKET_LEN, group.length)
        heads: dict[int, int] = {place: _HEAD.unpack_from(group.buffer, place)[0] for place, *_ in attributes}
        place = next((place for place, head in heads.items() if head == _ID_HEAD), 0)
        # Where the first message has no id, the others have none if their attributes are of the same kinds and lengths.
        to_check = {place: _ID_HEAD} if place else heads
        if not all(_is_everywhere(group, each, head) for each, head in to_check.items()):
            return None
        self._places[group.length] = place
        return place


def _by_state(codes: Column, states: Column) -> Iterator[tuple[int, Column]]:
    """Yield each state, and the codes of the sockets in it."""
    if states.count(states[:1]) == len(states):  # mostly
        yield states[0], codes
        return
    for state in set(states):
        yield state, bytes(compress(codes, map(state.__eq__, states)))


def _attributes(buffer: bytes | bytearray, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield place, length and kind of each attribute (struct nlattr), up to the first that is broken."""
    while begin + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(buffer, begin)
        if not _ATTRIBUTE.size <= length <= end - begin:
            return
        yield begin, length, kind
        begin += length + 3 & ~3  # NLA_ALIGN


def _is_everywhere(group: Alike, place: int, word: int) -> bool:
    """Return whether every message has this word at this place."""
    words = group.words(place)
    return words == repeated(word, len(words))


def each_attribute(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each attribute behind a socket's message, up to the first that is broken."""
    for place, length, kind in _attributes(attributes, 0, len(attributes)):
        yield kind, attributes[place + _ATTRIBUTE.size : place + length]


def cgroup_of(attributes: bytes) -> int:
    """Return the id of a socket's cgroup, 0 where it is not among the attributes."""
    for kind, content in each_attribute(attributes):
        if kind == CGROUP_ID and len(content) == _ID.size:
            return int(_ID.unpack(content)[0])
    return 0
