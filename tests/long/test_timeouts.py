"""A timeout is for the whole of what it stands for, plain and encrypted: it passes while a trapper drips, sips or is mute."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.tls_server import psk_server
from lab.trapper import MUTE, Trapper, counts
from lab.uplinks import ITEMS, KEY, LONG, error, psk, uplink
from sender.errors import DeliveryError
from sender.model import Item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("pause_s", [0.1, 60])
def test_the_timeout_is_for_the_whole_answer(pause_s: float) -> None:
    """A trapper that drips, and one that says nothing, are both given up after the timeout, not after each byte's."""
    with Trapper() as trapper:

        def answer(_: Any) -> Iterator[bytes]:
            for byte in counts(10, 0):
                if trapper.closing.wait(pause_s):
                    return
                yield bytes([byte])

        trapper.answer = answer
        begin = time.monotonic()
        with pytest.raises(DeliveryError, match="connected, but no whole answer within 1 s"):
            uplink(trapper.port, timeout="1s").send(ITEMS)
        assert time.monotonic() - begin < 5


def test_a_trapper_that_stops_reading_in_the_middle_of_the_request() -> None:
    """The timeout is for the request, too."""

    def answer(_: Any) -> bytes:
        trapper.closing.wait(60)
        return b""

    with Trapper(answer, reads=1_000_000) as trapper:
        begin = time.monotonic()
        with pytest.raises(DeliveryError, match="connected, but no whole answer within 1 s"):
            uplink(trapper.port, compression=False, timeout="1s").send(LONG)
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize("pause_s", [0.05, 60])
def test_the_timeout_is_for_the_whole_handshake(psk_file: Path, pause_s: float) -> None:
    """A server whose part of the handshake comes byte by byte, or not at all, is given up after the timeout."""
    with Trapper(reads=5) as trapper:

        def answer(_: Any) -> Iterator[bytes]:
            for byte in b"\x16\x03\x03\x40\x00" + bytes(9_000):  # a record, and nothing wrong in it yet
                if trapper.closing.wait(pause_s):
                    return
                yield bytes([byte])

        trapper.answer = answer
        begin = time.monotonic()
        assert "no TLS handshake within 1 s" in error(psk(psk_file, trapper.port, timeout="1s"))
        assert time.monotonic() - begin < 3


def test_an_encrypted_answer_that_drips(psk_file: Path) -> None:
    """The timeout is for the whole answer."""
    with Trapper(encrypted=psk_server(web=KEY)) as trapper:

        def answer(_: Any) -> Iterator[bytes]:
            for byte in counts(10, 0):
                if trapper.closing.wait(0.1):
                    return
                yield bytes([byte])

        trapper.answer = answer
        begin = time.monotonic()
        assert "connected, but no whole answer within 1 s" in error(psk(psk_file, trapper.port, timeout="1s"))
        assert time.monotonic() - begin < 3


SLOW = [Item(host="web-01", key="key", value="x" * 5_000_000, clock=1_700_000_000, ns=1)]  # where 160 KB/s are read


def test_an_encrypted_request_that_is_read_slowly(psk_file: Path) -> None:
    """The timeout is for the whole request, not for each of its records."""
    stop = threading.Event()
    context = psk_server(web=KEY)

    def sip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as encrypted:
            while not stop.wait(0.1):
                encrypted.recv(16_384)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=sip, args=(listener,))
        thread.start()
        begin = time.monotonic()
        subject = psk(psk_file, listener.getsockname()[1], timeout="1s", compression=False)
        with pytest.raises(DeliveryError, match="no whole answer within 1 s"):
            subject.send(SLOW)
        took_s = time.monotonic() - begin
        stop.set()
        thread.join()
    assert took_s < 3


def test_a_server_that_says_nothing_after_the_handshake(psk_file: Path) -> None:
    """Silence behind encryption is silence."""
    with Trapper(lambda _: MUTE, encrypted=psk_server(web=KEY)) as trapper:
        assert "connected, but no whole answer within 1 s" in error(psk(psk_file, trapper.port, timeout="1s"))
