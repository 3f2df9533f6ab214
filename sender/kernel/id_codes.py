"""Tells ids of cgroups in many messages apart by one byte, so that they are counted in C's loops. Bytes in, bytes out.

A host has few cgroups with sockets. Mostly one byte of the id is enough to tell them apart; that the other seven are those of
the same id is checked for all messages at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sender.kernel.alike import repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sender.kernel.alike import Alike, Column

_MOST = 128  # ids: of more, no byte tells them apart
_BYTES = range(8) if sys.byteorder == "little" else range(7, -1, -1)  # where the bytes of an id are, the lowest first


def _lowest(number: int) -> int:
    return number & 255


def _second(number: int) -> int:
    return number >> 8 & 255


def _both(number: int) -> int:
    return (number ^ number >> 8) & 255


class IdCodes:
    """A byte for each of some `known` ids; `ids` are these by that byte, empty where none tells them apart."""

    def __init__(self, known: Iterable[int] = ()) -> None:
        self.known = frozenset(known)
        self.ids: dict[int, int] = {}
        self._code_of: Callable[[int], int] = _lowest
        for code_of in (_lowest, _second, _both):
            ids = {code_of(each): each for each in self.known}
            if len(ids) == len(self.known):
                self.ids, self._code_of = ids, code_of
                break
        # What each byte of an id is, by its code. Of a code that no id has, an id of another code: nothing can fit.
        others = {code: code ^ 1 if self._code_of is not _second else (code ^ 1) << 8 for code in range(256)}
        table = {**others, **self.ids}
        used = next(size for size in (2, 4, 8) if max(self.known, default=0) < 1 << 8 * size)
        self._bytes = [bytes(table[code] >> 8 * byte & 255 for code in range(256)) for byte in range(used)]

    def with_more(self, ids: Iterable[int]) -> IdCodes:
        """Return codes for these ids, too; the same where they would be too many."""
        known = self.known.union(ids)
        return self if known == self.known or len(known) > _MOST else IdCodes(known)

    def of(self, group: Alike, place: int) -> Column | None:
        """Return for each message of a group the code of the id at `place`; None where one has an id that is not known."""
        if not self.ids or not self._has_high_zeros(group, place):
            return None
        columns = [group.column(place + _BYTES[byte]) for byte in range(len(self._bytes))]
        codes = columns[0]
        if self._code_of is _second:
            codes = columns[1]
        elif self._code_of is _both:
            mixed = int.from_bytes(columns[0], "little") ^ int.from_bytes(columns[1], "little")
            codes = mixed.to_bytes(len(codes), "little")
        is_known = all(column == codes.translate(table) for column, table in zip(columns, self._bytes, strict=True))
        return codes if is_known else None

    def _has_high_zeros(self, group: Alike, place: int) -> bool:
        """Return whether the bytes that are 0 in every known id are 0 in each message: one look instead of several."""
        high = group.words(place + min(_BYTES[4:]))
        if len(self._bytes) <= 4 and high != repeated(0, len(high)):  # noqa: PLR2004
            return False
        middle = group.halves(place + min(_BYTES[2:4]))
        return len(self._bytes) > 2 or middle == repeated(0, len(middle), "H")  # noqa: PLR2004
