"""Packets, byte by byte, as the Zabbix manual describes them (Appendix, Protocols, Header)."""

from __future__ import annotations

import json
import logging
import socket
import string
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zabbix_utils.common import ZabbixProtocol

from sender.zabbix.protocol import from_packet, missing, to_packet

REQUEST = {"request": "sender data", "data": []}
BODY = b'{"request": "sender data", "data": []}'
PLAIN = b"ZBXD\x01\x26\x00\x00\x00\x00\x00\x00\x00" + BODY
ANSWER = b'{"response":"success"}'
FOREIGN = logging.getLogger("zabbix_utils")
VALUES = {"request": "sender data", "data": [{"host": "web-01", "key": "tcp.status[LISTEN]", "value": "Grüße"}] * 99}


def packet(body: bytes, *, flags: int = 1, announced: int | None = None) -> bytes:
    """Return an answer with this body, whatever it is."""
    return b"ZBXD" + struct.pack("<BII", flags, len(body) if announced is None else announced, 0) + body


def test_a_plain_packet() -> None:
    """Protocol, flag 1, length of the data, four zero bytes, the data: little-endian, all of it literal here."""
    assert to_packet(REQUEST, compression=False) == PLAIN


def test_a_compressed_packet() -> None:
    """Protocol, flags 1 and 2, length of the compressed data, length of the data before, the data from zlib."""
    made = to_packet(REQUEST, compression=True)
    assert made[:5] == b"ZBXD\x03"
    assert made[5:9] == bytes([len(made) - 13, 0, 0, 0])
    assert made[9:13] == b"\x26\x00\x00\x00"
    assert zlib.decompress(made[13:]) == BODY


def test_a_packet_of_more_than_64_kilobytes() -> None:
    """Lengths have four bytes, the lowest first."""
    made = to_packet({"data": "x" * 0x010203}, compression=False)
    assert made[5:9] == b"\x0f\x02\x01\x00"
    assert len(made) == 13 + 0x01020F


def test_text_of_any_script_is_ascii_on_the_wire() -> None:
    """What is not ASCII, a lone surrogate among it, is escaped: it cannot fail to be encoded."""
    made = to_packet({"value": "Grüße \ud800"}, compression=False)
    assert made[13:] == b'{"value": "Gr\\u00fc\\u00dfe \\ud800"}'


@pytest.mark.parametrize(
    "answer",
    [
        b'ZBXD\x01\x16\0\0\0\0\0\0\0{"response":"success"}',
        b"ZBXD\x03\x1e\0\0\0\x16\0\0\0x\x9c\xabV*J-.\xc8\xcf+NU\xb2R*.MNN-.V\xaa\x05\x00^/\x08#",
    ],
)
def test_an_answer_is_the_object_in_it(answer: bytes) -> None:
    """Plain or compressed, the JSON object comes out, and not a byte more is asked for."""
    assert missing(answer) == 0
    assert from_packet(answer) == {"response": "success"}


def test_an_answer_that_comes_byte_by_byte() -> None:
    """First the rest of the header is missing, and when that has come, the rest of the body."""
    whole = packet(ANSWER)
    assert [missing(whole[:size]) for size in range(13)] == list(range(13, 0, -1))
    assert [missing(whole[:size]) for size in range(13, len(whole) + 1)] == list(range(22, -1, -1))


@pytest.mark.parametrize(
    "begin",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        packet(ANSWER, flags=0),
        packet(ANSWER, flags=2),
        packet(ANSWER, flags=5),
        packet(b"", announced=2**18 + 1),
        packet(b"", announced=2_000_000_000),
    ],
)
def test_another_protocol_and_a_hostile_size_are_refused_by_the_header(begin: bytes) -> None:
    """What cannot become an answer is refused before a byte of its body is read."""
    with pytest.raises(ValueError, match="not an answer"):
        missing(begin)


@pytest.mark.parametrize(
    "whole",
    [
        packet(b""),
        packet(b"processed: 10"),
        packet(b"\xff\xfe\xff"),
        packet(b"7"),
        packet(b"null"),
        packet(b"[]"),
        packet(b"[" * 60_000),
        packet(b'{"a":' * 10_000),
        packet(b'{"a":[' * 20 + b"]}" * 20),
        packet(b"[" * 2**18),
        packet(b'"' + b'\\"' * 130_000),
        packet(b'{"a":"' + b'\\"[' * 10_000),
        packet('{"a":1}'.encode("utf-16")),
        packet(b"1" * 5_000),
        packet(b"not zlib", flags=3),
        packet(zlib.compress(ANSWER)[:-1], flags=3),
        packet(zlib.compress(bytes(60_000_000)), flags=3),
    ],
)
def test_what_is_no_json_object_is_refused(whole: bytes) -> None:
    """No JSON, no object, bad compression, and 60 KB that unpack to 60 MB: refused within a megabyte of memory."""
    assert missing(whole) == 0
    tracemalloc.start()
    with pytest.raises(ValueError):  # noqa: PT011  which kind is nothing that a caller tells apart
        from_packet(whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_brackets_in_an_answer_are_counted_by_depth() -> None:
    """An answer of many objects, or with brackets in its text, is no deep one; 20 levels are read, 21 are not."""
    wide = {"data": [{"key": "net.if.in[eth0]", "delay": "{$X}"}] * 2000}
    text = {"info": "[" * 5000 + '\\"{' * 5000}
    for answer in (wide, text):
        assert from_packet(packet(json.dumps(answer).encode())) == answer
    assert from_packet(packet(b'{"a":' + b"[" * 19 + b"]" * 19 + b"}"))
    with pytest.raises(ValueError, match="too deeply"):
        from_packet(packet(b'{"a":' + b"[" * 20 + b"]" * 20 + b"}"))


@given(st.binary(max_size=200).map(lambda noise: b"ZBXD\x01" + noise) | st.binary(max_size=200))
def test_noise_is_refused_or_asks_for_more(noise: bytes) -> None:
    """Whatever comes in, it lacks a bounded number of bytes, is an object, or raises ValueError."""
    try:
        size = missing(noise)
        if size <= 0:
            from_packet(noise)
    except ValueError:
        return
    assert size <= 2**18 + 13


# Not all of Unicode, whose table takes seconds to build: each length of UTF-8, and what JSON escapes.
texts = st.text(alphabet=string.printable + "\x00\x7f\xe9\u2028\ud7ff\ufeff\U0001d11e")


@given(st.dictionaries(texts, texts | st.integers()), st.booleans())
def test_what_is_packed_is_unpacked(said: dict[str, str | int], compression: bool) -> None:  # noqa: FBT001
    """A packet made here is read here as what it was, plain or compressed."""
    made = to_packet(said, compression=compression)
    assert missing(made) == 0
    assert from_packet(made) == json.loads(json.dumps(said))


@pytest.mark.parametrize("compression", [False, True])
def test_zabbix_utils_reads_what_is_written_here(compression: bool) -> None:  # noqa: FBT001
    """The reader of Zabbix's own library takes a packet whole, and finds in it what was to be sent."""
    left, right = socket.socketpair()
    with left, right:
        left.sendall(to_packet(VALUES, compression=compression))
        left.shutdown(socket.SHUT_WR)
        body = ZabbixProtocol.parse_sync_packet(right, FOREIGN, ValueError)
        assert right.recv(1) == b""
    assert json.loads(body) == VALUES


@pytest.mark.parametrize("compression", [False, True])
def test_what_zabbix_utils_writes_is_read_here(compression: bool) -> None:  # noqa: FBT001
    """A packet of Zabbix's own library is whole, not a byte less, and holds what was put into it."""
    made = ZabbixProtocol.create_packet(VALUES, FOREIGN, compression=compression)
    assert missing(made) == 0
    assert missing(made[:-1]) == 1
    assert from_packet(made) == VALUES
