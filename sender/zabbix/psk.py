"""Pre-shared keys for a context of Python's ssl, which has them from 3.13 on; before, for the same context, by way of ctypes.

Before 3.13 the library that ssl itself is linked with is asked, through ssl's own handle, and so never another one that
is installed beside it. That takes the address of the SSL_CTX in an SSLContext: it follows the object's head in 3.10, 3.11
and 3.12, which get security fixes alone by now and keep their layout. Why none of the libraries that offer this is used:
sslpsk3 has no wheels for Linux, so that installing it fails on hosts without a compiler; pyOpenSSL's callbacks need memory
that is both writable and executable, which the unit forbids (MemoryDenyWriteExecute=), and so does pyopenssl-psk, of 2019;
python-mbedtls brings a library that gets no fixes any more, for x86-64 alone; openssl-psk does what stands here, but with
whichever libssl it finds first, which crashes where that is not Python's, with a new context for each connection, and
without closing the socket of a handshake that failed.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
from typing import Any


class PskContext(ssl.SSLContext):
    """A client's, which proves who it is with `identity` and `key`, and knows the server by it. Speaks TLS 1.2."""

    _callback: Any = None  # lives as long as this: OpenSSL has no more than its address

    def set_psk(self, identity: str, key: bytes) -> None:
        """To be called once. Raises OSError where this Python cannot do it."""
        self.check_hostname, self.verify_mode = False, ssl.CERT_NONE  # there are no certificates
        self.minimum_version = self.maximum_version = ssl.TLSVersion.TLSv1_2
        # As Zabbix's own programs have it. "PSK" alone would allow PSK-NULL-SHA256, too, which encrypts nothing.
        self.set_ciphers("kECDHEPSK+AES128:kPSK+AES128")
        if sys.version_info >= (3, 13):
            self.set_psk_client_callback(lambda _hint: (identity, key))
        else:
            self._callback = _set_callback(self, identity.encode(), key)


# SSL_CTX_set_psk_client_callback(3): it is given the SSL, the server's hint, and room for the identity and for the key.
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_uint,
    *(ctypes.c_void_p, ctypes.c_void_p),
    *(ctypes.c_void_p, ctypes.c_uint),
    *(ctypes.c_void_p, ctypes.c_uint),
)


def _set_callback(context: ssl.SSLContext, identity: bytes, key: bytes) -> Any:
    """The callback, which must outlive `context`. Raises OSError."""

    def answer(_ssl: Any, _hint: Any, identity_at: int, identity_room: int, key_at: int, key_room: int) -> int:
        if len(identity) >= identity_room or len(key) > key_room:
            return 0  # the handshake fails
        ctypes.memmove(identity_at, identity + b"\0", len(identity) + 1)
        ctypes.memmove(key_at, key, len(key))
        return len(key)

    if sys.implementation.name != "cpython" or not hasattr(_ssl, "__file__"):
        raise OSError(
            "this Python cannot do PSK: it must be 3.13 or newer, or one that has its ssl in a file of its own"
        )
    callback = _CALLBACK(answer)
    # A symbol of a library is looked up in those that it is linked with as well.
    set_callback = ctypes.CDLL(_ssl.__file__).SSL_CTX_set_psk_client_callback
    set_callback.argtypes, set_callback.restype = [ctypes.c_void_p, _CALLBACK], None
    set_callback(ctypes.c_void_p.from_address(id(context) + object.__basicsize__), callback)
    return callback
