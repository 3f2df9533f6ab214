"""How a destination's connections are encrypted: with a pre-shared key or with certificates. Knows no node, no request.

It knows key files, and what can go wrong with them and in a handshake. Key material leaves it for OpenSSL alone.
"""

from __future__ import annotations

import logging
import os
import pwd
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.errors import DeliveryError
from sender.settings import values as fields
from sender.zabbix.psk import PskContext

if TYPE_CHECKING:
    import socket

    from sender.settings.schema import Tls

_LOG = logging.getLogger(__name__)
_SECRET = ("psk_file", "key_file")
_FILES = (*_SECRET, "ca_file", "cert_file")
_MAX_IDENTITY = 255  # bytes; PSK_MAX_IDENTITY_LEN, openssl/ssl.h
_CREDENTIALS = Path("/run/credentials")  # systemd.exec(5)
_ITS_LOG = "the server's (or proxy's) log says more"
_PSK_ADVICE = (
    "probably the key in psk_file is not the one that Zabbix has for psk_identity, or no host there has this identity "
    f"(a server takes up to a minute to learn one, a proxy up to its ConfigFrequency); {_ITS_LOG}"
)
_CERT_ADVICE = f"probably it has no TLSCertFile= or does not trust the certificate in cert_file; {_ITS_LOG}"
_PLAIN_ADVICE = "it does not answer in TLS; is the port right, and does a Zabbix that was built with encryption listen?"
# verify_code: X509_V_ERR_*, openssl/x509_vfy.h
_UNTRUSTED = {2, 18, 19, 20, 21, 27}
_TIMES = {9: "is not valid yet; is this host's clock right?", 10: "has expired; it must be renewed on the server"}


class TlsConnector:
    """Of one destination. The files are read when something is to be sent, and again once they have changed."""

    def __init__(self, settings: Tls, destination: str) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._stamp: object = None  # of the files that the context was made of
        for name, path in self._files(_SECRET):
            if fields.is_open_to_all(path):
                _LOG.warning("%s: every user of this host can read %s %s; `chmod 600` it", destination, name, path)

    def prepare(self) -> None:
        """Read the files if that is to be done. Raises DeliveryError where they cannot be used."""
        if self._settings.connect == "unencrypted":
            return
        stamp = [_stamp(name, path) for name, path in self._files(_FILES)]
        if stamp != self._stamp:
            self._context = self._psk() if self._settings.connect == "psk" else self._certificates()
            self._stamp = stamp

    def wrap(self, connection: socket.socket, timeout_s: float) -> socket.socket:
        """`connection`, encrypted as the files were when last prepared. It is closed if DeliveryError is raised."""
        if not self._context:
            return connection
        connection.settimeout(timeout_s)  # for the handshake as a whole
        wrapped = self._context.wrap_socket(connection, do_handshake_on_connect=False)
        try:
            wrapped.do_handshake()
            self._check_names(wrapped)
        except (OSError, DeliveryError) as error:
            wrapped.close()
            raise DeliveryError(self._why_no_handshake(error, timeout_s)) from error
        return wrapped

    def why_no_answer(self, error: Exception) -> str | None:
        """Where TLS has to do with it that nothing was answered after a good handshake: what may be wrong."""
        if self._settings.connect != "cert" or not isinstance(error, (ssl.SSLError, ConnectionError)):
            return None
        said = f" ({_reason(error)})" if isinstance(error, ssl.SSLError) else ""
        return (
            f" closed the encrypted connection without an answer{said}; probably it does not accept the certificate in "
            f"cert_file: look there whether it has expired, and whether TLSCAFile= has its CA; {_ITS_LOG}"
        )

    def _files(self, names: tuple[str, ...]) -> list[tuple[str, Path]]:
        return [(name, path) for name in names if (path := getattr(self._settings, name))]

    def _psk(self) -> ssl.SSLContext:
        identity = self._settings.psk_identity or ""
        if len(identity.encode()) > _MAX_IDENTITY:
            raise DeliveryError(f"psk_identity has more than {_MAX_IDENTITY} bytes in UTF-8, which TLS cannot carry")
        context = PskContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.set_psk(identity, _psk_key(self._settings.psk_file or Path()))
        except OSError as error:
            raise DeliveryError(str(error)) from error
        return context

    def _certificates(self) -> ssl.SSLContext:
        files = dict(self._files(_FILES))
        for name, path in files.items():
            _read(name, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # Zabbix's certificates need not have the name; issuer and subject are compared
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(files["ca_file"])
        except (OSError, ValueError):
            raise DeliveryError(f"ca_file {files['ca_file']} holds no certificates in PEM form") from None
        try:
            context.load_cert_chain(files["cert_file"], files["key_file"], password=lambda: b"")
        except (OSError, ValueError) as error:
            raise DeliveryError(_why_no_pair(error, files["cert_file"], files["key_file"])) from None
        return context

    def _check_names(self, connection: ssl.SSLSocket) -> None:
        """As TLSServerCertIssuer and TLSServerCertSubject are: character by character."""
        certificate: Any = connection.getpeercert() or {}
        for part in ("issuer", "subject"):
            expected, found = getattr(self._settings, f"server_cert_{part}"), distinguished(certificate.get(part, ()))
            if expected not in (None, found):
                raise DeliveryError(
                    f"the server's certificate has the {part} {found}, but server_cert_{part} is {expected}"
                )

    def _why_no_handshake(self, error: Exception, timeout_s: float) -> str:
        connect = self._settings.connect
        match error:
            case DeliveryError():
                return str(error)
            case TimeoutError():
                return f"connected, but no TLS handshake within {timeout_s:.3g} s; {_PLAIN_ADVICE}"
            case ssl.SSLCertVerificationError():
                return f"the server's certificate {_why_no_trust(error, self._settings.ca_file)}"
            case ssl.SSLError() if error.reason in (
                "WRONG_VERSION_NUMBER",
                "PACKET_LENGTH_TOO_LONG",
                "UNKNOWN_PROTOCOL",
            ):
                return _PLAIN_ADVICE
        said = f" ({_reason(error)})" if isinstance(error, ssl.SSLError) and "EOF" not in _reason(error) else ""
        advice = _PSK_ADVICE if connect == "psk" else _CERT_ADVICE
        return f"the TLS handshake with connect: {connect} was broken off{said}; {advice}"


def distinguished(names: Any) -> str:
    """RFC 4514's text of a name as getpeercert() gives it: the last part first, and each by its short name."""
    parts = [
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in reversed(part)) for part in names
    ]
    return ",".join(reversed(parts))


_SHORT = {  # OpenSSL's long names and short ones, crypto/objects/objects.txt
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "generationQualifier": "generationQualifier",
    "givenName": "GN",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}


def _escaped(value: str) -> str:
    """RFC 4514, 2.4: special characters anywhere, a space at either end, a number sign at the beginning."""
    return re.sub(r'([,+"\\<>;]|^[ #]| $)', r"\\\1", value)


def _stamp(name: str, path: Path) -> tuple[int, ...]:
    """What changes when the file does. Raises DeliveryError."""
    try:
        found = path.stat()
    except OSError as error:
        raise DeliveryError(_why_unreadable(name, path, error)) from error
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_size


def _read(name: str, path: Path) -> bytes:
    """At most as much as a key file may have, and enough to see that it has more. Raises DeliveryError."""
    try:
        with path.open("rb") as file:
            return file.read(2 * fields.PSK_DIGITS.stop)
    except OSError as error:
        raise DeliveryError(_why_unreadable(name, path, error)) from error


def _why_unreadable(name: str, path: Path, error: OSError) -> str:
    text = f"{name} {path} cannot be read: {error.strerror}"
    if isinstance(error, FileNotFoundError) and _CREDENTIALS in path.parents:
        return (
            f"{text}; systemd puts the unit's LoadCredential= there while it runs: without it, give the file's own path"
        )
    if not isinstance(error, PermissionError):
        return text
    uid = os.geteuid()
    try:
        user = f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        user = f"the user with the id {uid}"
    return f"{text}; {user}, as whom this runs, must be able to: under systemd, hand it over with LoadCredential="


def _psk_key(path: Path) -> bytes:
    """The key in a file. Raises DeliveryError."""
    try:
        return bytes.fromhex(fields.psk_digits(_read("psk_file", path).decode(errors="replace")))
    except ValueError as error:
        raise DeliveryError(f"psk_file {path} {error}") from None


def _why_no_pair(error: Exception, cert_file: Path, key_file: Path) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in key_file {key_file} is not that of the certificate in cert_file {cert_file}"
    return (
        f"cert_file {cert_file} and key_file {key_file} do not hold a certificate and its key in PEM form, the key without "
        "a passphrase"
    )


def _why_no_trust(error: ssl.SSLCertVerificationError, ca_file: Path | None) -> str:
    if error.verify_code in _UNTRUSTED:
        return f"is not signed by a CA in ca_file {ca_file} ({error.verify_message})"
    return _TIMES.get(error.verify_code, f"is not accepted: {error.verify_message}")


def _reason(error: ssl.SSLError) -> str:
    """In OpenSSL's words."""
    return (error.reason or str(error)).replace("_", " ").lower() if "EOF" not in str(error) else "EOF"
