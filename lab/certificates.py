"""Certificates and keys for one test run, as PEM files. Knows X.509; knows nothing of `sender`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, in files."""

    cert: Path
    key: Path


class Authority:
    """A CA named `name` (RFC 4514), whose files stand in `directory`; `ca` is its own certificate."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir()
        self._directory = directory
        self._name = x509.Name.from_rfc4514_string(name)
        self._key = _key()
        self._keys: defaultdict[str, rsa.RSAPrivateKey] = defaultdict(_key)
        self.ca = self._pair("ca", self._name, self._key, days=(-1, 1), is_ca=True).cert

    def issue(self, file: str, name: str | x509.Name, *, days: tuple[int, int] = (-1, 1)) -> Pair:
        """Return a certificate for `name`, valid between these days from now; for the same `file` with the key that it had."""
        name = name if isinstance(name, x509.Name) else x509.Name.from_rfc4514_string(name)
        return self._pair(file, name, self._keys[file], days=days)

    def _pair(
        self,
        file: str,
        name: x509.Name,
        key: rsa.RSAPrivateKey,
        *,
        days: tuple[int, int],
        is_ca: bool = False,
    ) -> Pair:
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        pair = Pair(cert=self._directory / f"{file}.crt", key=self._directory / f"{file}.key")
        pair.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair


def lock(key: Path, locked: Path) -> None:
    """Write to `locked` the same key with a passphrase."""
    content = load_pem_private_key(key.read_bytes(), password=None)
    locked.write_bytes(content.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))


def _key() -> rsa.RSAPrivateKey:
    """RSA, which is all that Zabbix's default ciphers allow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
