"""Pre-shared keys for a context of Python's ssl, which has them from 3.13 on; before, for the same context, through ctypes.

Before 3.13 the library that ssl itself is linked with is asked, through ssl's own handle, and so never another one that
is installed beside it. That takes the address of the SSL_CTX in an SSLContext: it follows the object's head in 3.10, 3.11
and 3.12, which get security fixes alone by now and keep their layout. A build where it does not gets an error, no crash.

Why none of the libraries that offer this is used: sslpsk3 has no wheels for Linux, so that installing it fails on hosts
without a compiler; pyOpenSSL's callbacks need memory that is both writable and executable, which the unit forbids
(MemoryDenyWriteExecute=), and so does pyopenssl-psk, of 2019; python-mbedtls brings a library that gets no fixes any more,
for x86-64 alone; openssl-psk does what stands here, but with whichever libssl it finds first, which crashes where that is
not Python's, with a new context for each connection, and without closing the socket of a handshake that failed.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
from pathlib import Path
from typing import Any

# OpenSSL's default options have bit 31 set. Where a long has 32 bits, ssl takes that for a sign, and loses it.
_ALL_BUT_THE_SIGN = ctypes.c_ulong(-1).value >> 1
_MOST_READ = 512  # bytes of an SSL_CTX, at whose begin SSL_CTX_get_options(3) reads: at 312 in OpenSSL 3.0


class PskContext(ssl.SSLContext):
    """A client's context that proves who it is, and knows the server, by one key. Speaks TLS 1.2."""

    _callback: Any = None  # lives as long as this: OpenSSL has no more than its address

    def set_psk(self, identity: str, key: bytes) -> None:
        """Use `identity` and `key` from now on; to be called once. Raises OSError, with the reason, where it cannot."""
        self.check_hostname, self.verify_mode = False, ssl.CERT_NONE  # there are no certificates
        self.minimum_version = self.maximum_version = ssl.TLSVersion.TLSv1_2
        # As Zabbix's own programs have it. "PSK" alone would allow PSK-NULL-SHA256, too, which encrypts nothing.
        self.set_ciphers("kECDHEPSK+AES128:kPSK+AES128")
        if sys.version_info >= (3, 13):
            self.set_psk_client_callback(lambda _hint: (identity, key))
        else:
            self._callback = set_callback(self, identity.encode(), key)


# SSL_CTX_set_psk_client_callback(3): it is given the SSL, the server's hint, and room for the identity and for the key.
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_uint,
    *(ctypes.c_void_p, ctypes.c_void_p),
    *(ctypes.c_void_p, ctypes.c_uint),
    *(ctypes.c_void_p, ctypes.c_uint),
)


def set_callback(context: ssl.SSLContext, identity: bytes, key: bytes) -> Any:
    """Let OpenSSL ask a callback for identity and key, and return that: it must outlive `context`. Raises OSError."""

    def answer(_ssl: Any, _hint: Any, identity_at: int, identity_room: int, key_at: int, key_room: int) -> int:
        if len(identity) >= identity_room or len(key) > key_room:
            return 0  # the handshake fails
        ctypes.memmove(identity_at, identity + b"\0", len(identity) + 1)
        ctypes.memmove(key_at, key, len(key))
        return len(key)

    if sys.implementation.name != "cpython" or not hasattr(_ssl, "__file__"):
        raise OSError("it is not CPython with its ssl in a file of its own")
    library = ctypes.CDLL(_ssl.__file__)  # a symbol of a library is looked up in those that it is linked with as well
    callback = _CALLBACK(answer)
    try:
        function = library.SSL_CTX_set_psk_client_callback
        function.argtypes, function.restype = [ctypes.c_void_p, _CALLBACK], None
        function(ssl_ctx(context, library), callback)
    except AttributeError as error:
        raise OSError(f"its ssl does not offer what is needed: {error}") from error
    return callback


def ssl_ctx(context: ssl.SSLContext, library: ctypes.CDLL, offset: int = object.__basicsize__) -> int:
    """Return the address of the SSL_CTX that stands at `offset` in `context`. Raises OSError where none stands there.

    Nothing here can crash: the address is read inside the object, and OpenSSL gets it only if it may read and write there.
    It is an SSL_CTX if OpenSSL reads the very options there that Python knows of.
    """
    size = ctypes.sizeof(ctypes.c_void_p)
    if 0 <= offset <= _ssl._SSLContext.__basicsize__ - size:  # noqa: SLF001  the size of C's struct, not of ours
        address = ctypes.c_void_p.from_address(id(context) + offset).value or 0
        if address % size == 0 and is_writable(address):
            get_options = library.SSL_CTX_get_options
            get_options.argtypes, get_options.restype = [ctypes.c_void_p], ctypes.c_ulong
            if not (get_options(address) ^ context.options) & _ALL_BUT_THE_SIGN:
                return address
    raise OSError("its SSLContext does not hold OpenSSL's where it does in other builds")


def is_writable(address: int) -> bool:
    """Return whether what begins there may be read and written, as a heap may (proc_pid_maps(5)). Raises OSError."""
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        place, rights, *_ = line.split(maxsplit=2)
        begin, end = (int(each, 16) for each in place.split("-"))
        if begin <= address and address + _MOST_READ <= end:
            return rights == "rw-p"
    return False
