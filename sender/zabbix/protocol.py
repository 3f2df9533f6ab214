"""The Zabbix protocol's packets. Pure: bytes in, values out; sees no socket.

Written from the Zabbix manual (Appendix, Protocols, Header) and not with zabbix_utils, whose ZabbixProtocol spends nine
tenths of its time on shortening the whole packet for a debug line, logged or not, and whose reader believes an announced
2 GB and unpacks 60 KB to a gigabyte. A test proves that each reads what the other writes. Importing it would cost the daemon
1 MB (docs/cost.md). Why its Sender is not used either stands in uplink.py.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from itertools import accumulate
from typing import Any

_MAGIC = b"ZBXD"  # <PROTOCOL> of the header; ZBX_TCP_HEADER_DATA, include/zbxcomms.h
_HEADER = struct.Struct("<4sBII")  # magic, flags, length of the body, its length before compression
_PLAIN, _COMPRESSED = 0x01, 0x03  # flags
_LEVEL = 1  # of zlib; of 1,000 values each costs 0.15 us and 7.0 bytes, at level 6 0.47 us and 6.4 bytes
_MAX_ANSWER = (
    2**18
)  # bytes, packed and unpacked; 100 in answer to values, about as many for each active check of a host
_MAX_DEPTH = 20  # brackets within brackets: Zabbix's own answers have 3, and each costs 58 bytes from Python 3.14 on
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[][{}]', re.DOTALL)  # "?: in one pass, come what may
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def to_packet(request: dict[str, Any], *, compression: bool) -> bytes:
    """Return `request` as it goes over the wire."""
    body = json.dumps(request).encode()
    if not compression:
        return _HEADER.pack(_MAGIC, _PLAIN, len(body), 0) + body
    packed = zlib.compress(body, _LEVEL)
    return _HEADER.pack(_MAGIC, _COMPRESSED, len(packed), len(body)) + packed


def missing(begin: bytes | bytearray) -> int:
    """Return how many bytes an answer that begins so lacks at least; 0 when it is whole. Raises ValueError when it is none."""
    if len(begin) < _HEADER.size:
        return _HEADER.size - len(begin)
    magic, flags, length, _ = _HEADER.unpack_from(begin)
    if magic != _MAGIC or flags not in (_PLAIN, _COMPRESSED) or length > _MAX_ANSWER:
        raise ValueError("not an answer")
    whole: int = _HEADER.size + length
    return whole - len(begin)


def from_packet(packet: bytes) -> dict[str, Any]:
    """Return the JSON object in a whole answer. Raises ValueError when there is none."""
    body = packet[_HEADER.size :]
    try:
        if packet[len(_MAGIC)] == _COMPRESSED:
            unpacking = zlib.decompressobj()
            body = unpacking.decompress(body, _MAX_ANSWER)
            if not unpacking.eof:
                raise ValueError("not a whole answer, or too large a one")
        said = _parsed(body.decode())
    except zlib.error as error:
        raise ValueError("not an answer") from error
    if not isinstance(said, dict):
        raise ValueError("not an answer")  # noqa: TRY004  a caller's mistake it is not
    return said


def _parsed(text: str) -> object:
    """Return what JSON says. Raises ValueError where it is none, or nested too deeply to be an answer.

    How deep Python's own parser goes, and what that costs, differs from one version to the next.
    """
    if text.count("[") + text.count("{") > _MAX_DEPTH:
        depths = accumulate(_STEP.get(found[0], 0) for found in _STRING_OR_BRACKET.finditer(text))
        if any(depth > _MAX_DEPTH for depth in depths):
            raise ValueError("nested too deeply")
    return json.loads(text)
