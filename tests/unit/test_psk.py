"""A foreign Python build, whose SSLContext is laid out in another way, gives an error and never a crash."""

from __future__ import annotations

import _ctypes
import _ssl
import ctypes
import ssl
import struct
from typing import Any

import pytest

from sender.zabbix.psk import PskContext, is_writable, set_callback, ssl_ctx

HEAD = object.__basicsize__
OFFSETS = [offset for offset in range(-32, 512, 4) if offset != HEAD]
LIBRARY = ctypes.CDLL(_ssl.__file__)


def context() -> PskContext:
    """Return a client's context as the daemon makes one."""
    return PskContext(ssl.PROTOCOL_TLS_CLIENT)


def test_where_the_address_is() -> None:
    """Right after the object's head, in each version that is asked for it, stands what OpenSSL takes for its context."""
    some = context()
    address = ssl_ctx(some, LIBRARY)
    assert ssl_ctx(some, LIBRARY) == address
    assert ssl_ctx(context(), LIBRARY) != address
    some.options |= ssl.OP_NO_TICKET
    assert ssl_ctx(some, LIBRARY) == address


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_layout_that_is_another(offset: int) -> None:
    """Wherever else in the object, or beside it, the address is looked for: an error says so, and nothing was called."""
    with pytest.raises(OSError, match="does not hold OpenSSL's"):
        ssl_ctx(context(), LIBRARY, offset)


def test_what_may_be_read_and_written() -> None:
    """Memory of the heap may be; code, what is mapped nowhere, what begins before or ends behind, and null may not."""
    buffer = ctypes.create_string_buffer(1 << 20)
    code = ctypes.cast(LIBRARY.SSL_CTX_get_options, ctypes.c_void_p).value
    assert code
    assert is_writable(ctypes.addressof(buffer))
    assert not any(map(is_writable, (0, 1, 8, 4096, code, 2**47 - 4096, 2**63, 2**64 - 8)))


class Foreign(float):
    """Stands for an SSLContext that is laid out in another way: what follows its head, a float's 8 bytes, is `address`."""

    options = 0

    @classmethod
    def at(cls, address: int, options: int) -> Any:
        """Return one whose options, as Python knows them, are these."""
        (number,) = struct.unpack("=d", struct.pack("=Q", address))
        foreign = cls(number)
        foreign.options = options
        return foreign


def test_an_address_of_something_else() -> None:
    """What is not memory that may be written is not touched, and what is no SSL_CTX is found out by its options."""
    one, other = context(), context()
    other.options |= ssl.OP_NO_TICKET
    right, options = ssl_ctx(one, LIBRARY), int(one.options)
    assert ssl_ctx(Foreign.at(right, options), LIBRARY) == right
    for wrong in (ssl_ctx(other, LIBRARY), id(other), id(Any), right + 8, right + 3, 0, 64, 2**47 - 4096):
        with pytest.raises(OSError, match="does not hold OpenSSL's"):
            ssl_ctx(Foreign.at(wrong, options), LIBRARY)


def test_an_ssl_without_pre_shared_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library that ssl is in lacks the functions, that is an error in words too."""
    monkeypatch.setattr(_ssl, "__file__", _ctypes.__file__)
    with pytest.raises(OSError, match=r"does not offer what is needed: .*SSL_CTX_set_psk_client_callback"):
        set_callback(context(), b"web-01", bytes(32))


def test_an_ssl_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ssl is linked into the program itself, its library cannot be asked."""
    monkeypatch.delattr(_ssl, "__file__")
    with pytest.raises(OSError, match="in a file of its own"):
        set_callback(context(), b"web-01", bytes(32))
