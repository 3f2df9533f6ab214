"""Tells ids of cgroups in many messages apart by one byte, so that they are counted in C's loops. Bytes in, bytes out.

A host has few cgroups with sockets. Mostly one byte of the id is enough to tell them apart; that the other seven are those of
the same id is checked for all messages at once. Ids come as eight columns, the lowest byte of each first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.kernel.alike import Column

_MOST = 128  # ids: of more, no byte tells them apart


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
        self._used = next(size for size in range(2, 9) if max(self.known, default=0) < 1 << 8 * size)
        self._bytes = [bytes(table[code] >> 8 * byte & 255 for code in range(256)) for byte in range(self._used)]

    def with_more(self, ids: Iterable[int]) -> IdCodes:
        """Return codes for these ids, too; the same where they would be too many."""
        known = self.known.union(ids)
        return self if known == self.known or len(known) > _MOST else IdCodes(known)

    def of(self, columns: Sequence[Column]) -> Column | None:
        """Return the code of each id; None where one is not known."""
        codes, second, size = columns[0], columns[1], len(columns[0])
        if not self.ids or any(column != bytes(size) for column in columns[self._used :]):
            return None
        if self._code_of is _second:
            codes = second
        elif self._code_of is _both:
            mixed = int.from_bytes(codes, "little") ^ int.from_bytes(second, "little")
            codes = mixed.to_bytes(size, "little")
        is_known = all(column == codes.translate(table) for column, table in zip(columns, self._bytes, strict=False))
        return codes if is_known else None
