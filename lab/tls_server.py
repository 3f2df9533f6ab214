"""The server's side of TLS for a Trapper: what Zabbix asks of its clients, on every Python."""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Pair

# As in SSL_CTX_set_psk_server_callback(3).
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint)


class PskServer(ssl.SSLContext):
    """Takes `keys`, by identity."""

    keys: dict[str, bytes]
    _callback: Any

    def set_keys(self, keys: dict[str, bytes]) -> None:
        """Take these; to be called once."""
        self.keys = keys
        self.minimum_version = self.maximum_version = ssl.TLSVersion.TLSv1_2
        self.set_ciphers("kECDHEPSK+AES128:kPSK+AES128")
        if sys.version_info >= (3, 13):
            self.set_psk_server_callback(lambda identity: self.keys.get(identity or "", b""))
            return

        def answer(_ssl: Any, identity: bytes, key_at: int, _room: int) -> int:
            key = self.keys.get(identity.decode(), b"")
            ctypes.memmove(key_at, key, len(key))
            return len(key)

        self._callback = _CALLBACK(answer)
        set_callback = ctypes.CDLL(_ssl.__file__).SSL_CTX_set_psk_server_callback
        set_callback.argtypes, set_callback.restype = [ctypes.c_void_p, _CALLBACK], None
        set_callback(ctypes.c_void_p.from_address(id(self) + object.__basicsize__), self._callback)


def psk_server(**keys: bytes) -> PskServer:
    """Return what takes these identities with these keys."""
    context = PskServer(ssl.PROTOCOL_TLS_SERVER)
    context.set_keys(keys)
    return context


def cert_server(pair: Pair, ca: Path) -> ssl.SSLContext:
    """Return what shows this certificate, and takes those of clients that `ca` has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
