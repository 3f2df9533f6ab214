"""The decoder: bytes in, counts out. No socket is opened here; every datagram is written out or generated."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import KernelError, TornError
from sender.kernel.dump import SLACK, DumpReader
from sender.kernel.requests import by_family, one_walk

if TYPE_CHECKING:
    from collections.abc import Callable

MULTI, DUMP_INTR = 0x02, 0x10  # NLM_F_MULTI, NLM_F_DUMP_INTR
NOOP, ERROR, DONE, OVERRUN = 1, 2, 3, 4  # NLMSG_*
GETSOCK, BY_FAMILY = 18, 20  # TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY


def sequence_of(reader: DumpReader) -> int:
    """Return the sequence number that an answer to this reader's request must carry."""
    (sequence,) = struct.unpack_from("=I", reader.request, 8)
    return int(sequence)


def message(kind: int, body: bytes, sequence: int, *, flags: int = MULTI) -> bytes:
    """One netlink message as the kernel writes it, padded to four bytes."""
    header = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 4711)
    return header + body + bytes(-len(body) % 4)


def a_socket(state: int, sequence: int, *, attributes: bytes = bytes(36), kind: int = GETSOCK) -> bytes:
    """Return the message for one IPv6 socket in `state`, whose ports and addresses are all the byte 0x12."""
    return message(kind, bytes([10, state, 0, 0]) + b"\x12" * 68 + attributes, sequence)


def done(sequence: int, code: int = 0) -> bytes:
    """Return the end of a dump, with the errno it ended with."""
    return message(DONE, struct.pack("=i", code), sequence)


def add(reader: DumpReader, datagram: bytes) -> bool:
    """Feed one datagram; behind it, as in a reused buffer, stand the remains of an earlier one."""
    stale = a_socket(1, sequence_of(reader))[:SLACK]
    return reader.add(bytearray(datagram + stale), len(datagram))


def counted(reader: DumpReader) -> dict[int, int]:
    """Return the states that were counted, without the zeros."""
    return {state: count for state, count in enumerate(reader.counts.states) if count}


def test_counts_a_literal_answer() -> None:
    """The literal bytes of three sockets and an end are counted as what they say."""
    reader = DumpReader(one_walk())
    sequence = struct.pack("=I", sequence_of(reader)).hex()
    established = "60000000 1200 0200" + sequence + "67120000" + "02 01 00 00 0016 c350" + "00" * 72
    listen = "58000000 1200 0200" + sequence + "67120000" + "0a 0a 00 00 0016 0000" + "00" * 64
    end = "14000000 0300 0200" + sequence + "67120000 00000000"
    assert not add(reader, bytes.fromhex(established + established + listen))
    assert add(reader, bytes.fromhex(end))
    assert counted(reader) == {1: 2, 10: 1}


def test_the_request_is_what_the_header_files_say() -> None:
    """One walk asks with struct inet_diag_req for all states of any family; a family with struct inet_diag_req_v2."""
    assert one_walk().hex() == "4c00000012000103" + "00" * 8 + "00" * 52 + "fe1f000000000000"
    assert by_family(2).hex() == "4800000014000103" + "00" * 8 + "02060000fe1f0000" + "00" * 48


def test_each_request_has_a_sequence_of_its_own() -> None:
    """Answers to an earlier dump cannot be taken for this one's: the sequence differs, and all else stays."""
    readers = [DumpReader(one_walk()) for _ in range(20)]
    assert len({sequence_of(reader) for reader in readers}) > 1
    assert {reader.request[:8] + reader.request[12:] for reader in readers} == {one_walk()[:8] + one_walk()[12:]}


@pytest.mark.parametrize("request_bytes", [one_walk(), by_family(2)])
def test_an_answer_has_the_type_of_its_request(request_bytes: bytes) -> None:
    """The two kinds of request are answered with two message types; neither is taken for the other."""
    (kind,) = struct.unpack_from("=H", request_bytes, 4)
    other = {GETSOCK: BY_FAMILY, BY_FAMILY: GETSOCK}[kind]
    reader = DumpReader(request_bytes)
    assert not add(reader, a_socket(1, sequence_of(reader), kind=kind))
    assert counted(reader) == {1: 1}
    with pytest.raises(TornError, match=f"unexpected message: type {other}"):
        add(reader, a_socket(1, sequence_of(reader), kind=other))


@pytest.mark.parametrize("lengths", [(36, 36, 36), (36, 8, 36), (0, 0, 0), (3, 36, 1)])
def test_cut_at_every_byte_it_is_never_a_count(lengths: tuple[int, ...]) -> None:
    """A datagram cut anywhere but between two messages raises, and no part of it ends the dump."""
    reader = DumpReader(one_walk())
    sequence = sequence_of(reader)
    parts = [a_socket(1, sequence, attributes=bytes(length)) for length in lengths] + [done(sequence)]
    whole = b"".join(parts)
    borders = {sum(map(len, parts[:count])) for count in range(len(parts))}
    for cut in range(len(whole)):
        again = DumpReader(reader.request)
        datagram = whole[:cut].replace(struct.pack("=I", sequence), struct.pack("=I", sequence_of(again)))
        if cut in borders:
            assert not add(again, datagram)
        else:
            with pytest.raises(TornError):
                add(again, datagram)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EPERM, errno.EINVAL, errno.EACCES, errno.EOPNOTSUPP])
@pytest.mark.parametrize("kind", [DONE, ERROR])
def test_a_refusal_raises_wherever_it_hides(kind: int, code: int) -> None:
    """An errno in NLMSG_ERROR and one in NLMSG_DONE both raise, with its name; never an empty count."""
    reader = DumpReader(one_walk())
    body = struct.pack("=i", -code) + (bytes(20) if kind == ERROR else b"")
    with pytest.raises(KernelError, match=f"{errno.errorcode[code]} ") as raised:
        add(reader, message(kind, body, sequence_of(reader), flags=0 if kind == ERROR else MULTI))
    assert not isinstance(raised.value, TornError)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EOPNOTSUPP])
def test_a_missing_module_is_named(code: int) -> None:
    """Where the kernel has no tcp_diag, the message says which command brings it."""
    reader = DumpReader(one_walk())
    with pytest.raises(KernelError, match="modprobe tcp_diag"):
        add(reader, done(sequence_of(reader), -code))


def test_an_errno_without_advice_still_has_its_name() -> None:
    """An errno that nobody foresaw is shown with its name and the C library's words."""
    reader = DumpReader(one_walk())
    with pytest.raises(KernelError, match=r"EXDEV \(Invalid cross-device link\)$"):
        add(reader, done(sequence_of(reader), -errno.EXDEV))


def test_out_of_memory_is_worth_asking_again() -> None:
    """ENOBUFS is passing: it raises TornError, which makes the sampler ask again."""
    reader = DumpReader(one_walk())
    with pytest.raises(TornError, match="ENOBUFS"):
        add(reader, done(sequence_of(reader), -errno.ENOBUFS))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda seq: a_socket(1, seq + 1 & 0xFFFFFFFF), "an answer to something else"),
        (lambda seq: done(seq + 1 & 0xFFFFFFFF), "an answer to something else"),
        (lambda seq: a_socket(1, seq).replace(b"\x02\x00", b"\x12\x00", 1), "interrupted"),
        (lambda seq: message(DONE, bytes(4), seq, flags=MULTI | DUMP_INTR), "interrupted"),
        (lambda seq: bytes(4) + a_socket(1, seq)[4:], "cut short"),
        (lambda seq: bytes(64), "cut short"),
        (lambda seq: struct.pack("=I", 0xFFFFFFFF) + a_socket(1, seq)[4:], "cut short"),
        (lambda seq: struct.pack("=I", 0x80000000) + done(seq)[4:], "cut short"),
        (lambda seq: message(GETSOCK, bytes(71), seq), "unexpected message: type 18, 87 bytes"),
        (lambda seq: message(DONE, b"", seq), "unexpected message: type 3, 16 bytes"),
        (lambda seq: message(ERROR, bytes(24), seq), "unexpected message: type 2"),
        (lambda seq: message(OVERRUN, b"", seq), "unexpected message: type 4"),
        (lambda seq: message(NOOP, b"", seq), "unexpected message: type 1"),
        (lambda seq: message(DONE, struct.pack("=i", 7), seq), "unexpected message: type 3"),
        (lambda seq: message(99, bytes(72), seq), "unexpected message: type 99"),
        (lambda seq: done(seq) + a_socket(1, seq), "unexpected message: type 3"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_is_no_part_of_the_answer_is_torn(make: Callable[[int], bytes], says: str, before: int) -> None:
    """Foreign sequences, interruptions, zero and huge lengths, stray types: each raises, wherever it stands."""
    reader = DumpReader(one_walk())
    sequence = sequence_of(reader)
    with pytest.raises(TornError, match=says):
        add(reader, before * a_socket(6, sequence, attributes=bytes(8)) + make(sequence))


@pytest.mark.parametrize("state", [0, 12, 13, 15, 16, 255])
@pytest.mark.parametrize("attributes", [[36], [36, 8]], ids=["alike", "mixed"])
def test_an_impossible_state_is_torn(state: int, attributes: list[int]) -> None:
    """A socket in a state that was not asked for voids the dump: it must neither be counted nor be left out."""
    reader = DumpReader(one_walk())
    sequence = sequence_of(reader)
    others = b"".join(a_socket(1, sequence, attributes=bytes(length)) for length in attributes)
    with pytest.raises(TornError, match="a state that was not asked for"):
        [add(reader, datagram) for datagram in (others + a_socket(state, sequence), done(sequence))]


sockets = st.lists(st.tuples(st.integers(1, 11), st.sampled_from([0, 8, 36, 36, 36, 48])), max_size=40)


@given(datagrams=st.lists(sockets, max_size=5), end_apart=st.booleans())
def test_any_dump_is_counted_exactly(datagrams: list[list[tuple[int, int]]], *, end_apart: bool) -> None:
    """Whatever the states, the lengths of the messages and their division into datagrams: the counts are exact."""
    reader = DumpReader(one_walk())
    sequence = sequence_of(reader)
    raw = [b"".join(a_socket(s, sequence, attributes=bytes(n)) for s, n in datagram) for datagram in datagrams]
    raw += [b""] if end_apart or not raw else []
    raw[-1] += done(sequence)
    assert [add(reader, datagram) for datagram in raw] == [False] * (len(raw) - 1) + [True]
    assert counted(reader) == Counter(state for datagram in datagrams for state, _ in datagram)


@given(noise=st.binary(max_size=600))
def test_noise_is_never_counted(noise: bytes) -> None:
    """Bytes that are no answer to the request raise, and nothing is counted."""
    reader = DumpReader(one_walk())
    if not noise:
        return
    with pytest.raises(KernelError):
        add(reader, noise)
    assert not any(reader.counts.states)


@given(data=st.data(), lengths=st.lists(st.sampled_from([0, 8, 36]), min_size=1, max_size=10))
def test_damaged_headers_never_pass_for_an_answer(data: st.DataObject, lengths: list[int]) -> None:
    """With any byte of any header but the sender's port changed, no dump comes to its end with a wrong count.

    Save one change that nobody can tell: a length that reaches exactly to where a later message begins.
    """
    reader = DumpReader(one_walk())
    sequence = sequence_of(reader)
    parts = [a_socket(1, sequence, attributes=bytes(length)) for length in lengths] + [done(sequence)]
    starts = [sum(map(len, parts[:count])) for count in range(len(parts))]
    raw = bytearray(b"".join(parts))
    changed = data.draw(st.integers(0, len(starts) - 1))
    start = starts[changed]
    raw[start + data.draw(st.integers(0, 11))] ^= data.draw(st.integers(1, 255))
    (length,) = struct.unpack_from("=I", raw, start)
    if start + (length + 3 & ~3) in starts[changed + 2 :]:
        return
    try:
        ended = add(reader, bytes(raw))
    except KernelError:
        return
    # What is left is harmless: a length that pads to the same multiple of four, a flag on the end of the dump, or an
    # end that was swallowed, so that the dump is still waited for.
    if ended:
        assert counted(reader) == {1: len(lengths)}
