"""How a destination's connections are encrypted: with a pre-shared key or with certificates. Knows no node, no request.

It knows key files, and what can go wrong with them and in a handshake. Key material leaves it for OpenSSL alone.
"""

from __future__ import annotations

import logging
import os
import pwd
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import DeliveryError, Step
from sender.settings.files import KEY_BYTES, head, is_open_to_all, psk_digits
from sender.zabbix.names import issuer_and_subject

if TYPE_CHECKING:
    from sender.settings.schema import Tls

_LOG = logging.getLogger(__name__)
_SECRET = ("psk_file", "key_file")
_FILES = (*_SECRET, "ca_file", "cert_file")
_MAX_IDENTITY = 255  # bytes; PSK_MAX_IDENTITY_LEN, openssl/ssl.h
_CREDENTIALS = Path("/run/credentials")  # systemd.exec(5)
_ITS_LOG = "The log of the server (or proxy) says more."
_PSK_ADVICE = (
    "Probably the key in psk_file is not the one that Zabbix has for psk_identity, or no host there has this identity. A "
    f"server learns a new one within a minute, a proxy within its ConfigFrequency. {_ITS_LOG}"
)
_CERT_ADVICE = f"Probably it has no TLSCertFile=, or does not trust the certificate in cert_file. {_ITS_LOG}"
_REFUSED_ADVICE = (  # after a good handshake
    "Probably it does not accept the certificate in cert_file. Check whether that has expired, and whether the server's "
    f"TLSCAFile= has its CA. {_ITS_LOG}"
)
_PLAIN_ADVICE = "Is the port right, and does a Zabbix that was built with encryption listen there?"
_PLAIN = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")  # OpenSSL's reasons, if it is not TLS
_VERSION_ADVICE = (
    "Zabbix itself does. Allow it where Zabbix runs, in the system's OpenSSL configuration (MinProtocol) or crypto policy, or in "
    "what stands before Zabbix."
)
_VERSIONS = ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")  # OpenSSL's reasons: theirs, and ours
# verify_code: X509_V_ERR_*, openssl/x509_vfy.h
_UNTRUSTED = {2, 18, 19, 20, 21, 27}
_TIMES = {
    9: ("is not valid yet", "Is this host's clock right?"),
    10: ("has expired", "Renew it on the server."),
}


class TlsConnector:
    """Encrypts the connections of one destination. Key files are read when something is to be sent, and once they change."""

    def __init__(self, settings: Tls, destination: str) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._stamp: object = None  # of the files that the context was made of
        for name, path in self._files(_SECRET):
            if is_open_to_all(path):
                _LOG.warning("%s: every user of this host can read %s %s; `chmod 600` it", destination, name, path)

    def prepare(self) -> None:
        """Read the key files if they are new or have changed. Raises DeliveryError where they cannot be used."""
        if self._settings.connect == "unencrypted":
            return
        stamp = [_stamp(name, path) for name, path in self._files(_FILES)]
        if stamp != self._stamp:
            self._context = self._psk() if self._settings.connect == "psk" else self._certificates()
            self._stamp = stamp

    def wrap(self, connection: socket.socket, timeout_s: float) -> socket.socket:
        """Return `connection`, encrypted as the files were when last prepared. DeliveryError is raised with it closed."""
        if not self._context:
            return connection
        connection.settimeout(timeout_s)  # for the handshake as a whole
        ours = connection
        try:
            _raise_what_came(connection)
            ours = wrapped = self._context.wrap_socket(connection, do_handshake_on_connect=False)
            wrapped.do_handshake()
            self._check_names(wrapped)
        except OSError as error:
            ours.close()
            found, advice = self._why_no_handshake(error, timeout_s)
            raise DeliveryError(found, advice=advice, step=Step.TLS) from error
        except DeliveryError:
            ours.close()
            raise
        return wrapped

    def why_no_answer(self, error: Exception) -> tuple[str, str] | None:
        """Return what is so and what to do, where TLS may be why there was no answer after a good handshake."""
        if self._settings.connect != "cert" or not isinstance(error, (ssl.SSLError, ConnectionError)):
            return None
        said = f" ({_reason(error)})" if isinstance(error, ssl.SSLError) else ""
        return f"it closed the encrypted connection without an answer{said}", _REFUSED_ADVICE

    def _files(self, names: tuple[str, ...]) -> list[tuple[str, Path]]:
        return [(name, path) for name in names if (path := getattr(self._settings, name))]

    def _psk(self) -> ssl.SSLContext:
        identity = self._settings.psk_identity or ""
        if len(identity.encode()) > _MAX_IDENTITY:
            found = f"psk_identity has more than {_MAX_IDENTITY} bytes in UTF-8, which TLS cannot carry"
            raise _key_files_error(found, "Choose a shorter one, in Zabbix and here.")
        from sender.zabbix.psk import PskContext

        context = PskContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.set_psk(identity, _psk_key(self._settings.psk_file or Path()))
        except OSError as error:
            advice = "Use Python 3.13 or newer, or the Python of a distribution."
            raise _key_files_error(f"this Python cannot use a pre-shared key: {error}", advice) from error
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
            raise _key_files_error(f"ca_file {files['ca_file']} holds no certificates in PEM form") from None
        try:
            context.load_cert_chain(files["cert_file"], files["key_file"], password=lambda: b"")
        except (OSError, ValueError) as error:
            raise _key_files_error(_why_no_pair(error, files["cert_file"], files["key_file"])) from None
        return context

    def _check_names(self, connection: ssl.SSLSocket) -> None:
        """Compare as TLSServerCertIssuer and TLSServerCertSubject are: character by character. Raises DeliveryError."""
        expected_names = self._settings.server_cert_issuer, self._settings.server_cert_subject
        if not any(expected_names):
            return
        try:
            names = issuer_and_subject(connection.getpeercert(binary_form=True) or b"")
        except ValueError as error:
            raise DeliveryError(f"the server's certificate cannot be read: {error}", step=Step.TLS) from error
        for part, expected, found in zip(("issuer", "subject"), expected_names, names, strict=True):
            if expected not in (None, found):
                text = f"the server's certificate has the {part} {found}, but server_cert_{part} is {expected}"
                advice = f"Is this the right server? If so, correct `server_cert_{part}`."
                raise DeliveryError(text, advice=advice, step=Step.TLS)

    def _why_no_handshake(self, error: OSError, timeout_s: float) -> tuple[str, str]:
        """Return what is so, in an admin's words, and what to do."""
        connect = self._settings.connect
        match error:
            case TimeoutError():
                return f"connected, but no TLS handshake within {timeout_s:.3g} s", _PLAIN_ADVICE
            case ssl.SSLCertVerificationError():
                return _why_no_trust(error, self._settings.ca_file)
            case ssl.SSLError() if error.reason in _PLAIN:
                return "it does not answer in TLS", _PLAIN_ADVICE
            case ssl.SSLError() if error.reason in _VERSIONS:
                return f"it does not speak TLS 1.2{'' if connect == 'psk' else ' or later'}", _VERSION_ADVICE
        said = f" ({_reason(error)})" if isinstance(error, ssl.SSLError) and "EOF" not in _reason(error) else ""
        advice = _PSK_ADVICE if connect == "psk" else _CERT_ADVICE
        return f"the TLS handshake with connect: {connect} was broken off{said}", advice


def _stamp(name: str, path: Path) -> tuple[int, ...]:
    """Return what changes when the file does. Raises DeliveryError."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(name, path, error) from error
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_size


def _raise_what_came(connection: socket.socket) -> None:
    """Raise OSError where the connection was reset already: Python's wrap_socket() would, too, and leave its own open."""
    if code := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


def _read(name: str, path: Path) -> bytes:
    """Return at most as much as a key file may have, and enough to see that it has more. Raises DeliveryError."""
    try:
        return head(path, KEY_BYTES)
    except OSError as error:
        raise _unreadable(name, path, error) from error


def _unreadable(name: str, path: Path, error: OSError) -> DeliveryError:
    advice = ""
    if isinstance(error, FileNotFoundError) and _CREDENTIALS in path.parents:
        advice = "systemd puts the unit's LoadCredential= there while it runs. Without it, give the file's own path."
    if isinstance(error, PermissionError):
        advice = f"Let {_user()}, as whom this runs, read it. Under systemd, hand it over with LoadCredential=."
    return _key_files_error(f"{name} {path} cannot be read: {error.strerror}", advice)


def _user() -> str:
    uid = os.geteuid()
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with the id {uid}"


def _key_files_error(found: str, advice: str = "") -> DeliveryError:
    return DeliveryError(found, advice=advice, step=Step.KEY_FILES)


def _psk_key(path: Path) -> bytes:
    """Return the key in a file. Raises DeliveryError."""
    try:
        return bytes.fromhex(psk_digits(_read("psk_file", path).decode(errors="replace")))
    except ValueError as error:
        raise _key_files_error(f"psk_file {path} {error}") from None


def _why_no_pair(error: Exception, cert_file: Path, key_file: Path) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in key_file {key_file} is not that of the certificate in cert_file {cert_file}"
    return (
        f"cert_file {cert_file} and key_file {key_file} do not hold a certificate and its key in PEM form, the key without "
        "a passphrase"
    )


def _why_no_trust(error: ssl.SSLCertVerificationError, ca_file: Path | None) -> tuple[str, str]:
    """Return what is so, in an admin's words, and what to do."""
    if error.verify_code in _UNTRUSTED:
        found = f"is not signed by a CA in ca_file {ca_file} ({error.verify_message})"
        advice = "Put the certificate of the CA that signed it into `ca_file`."
    else:
        found, advice = _TIMES.get(error.verify_code, (f"is not accepted: {error.verify_message}", ""))
    return f"the server's certificate {found}", advice


def _reason(error: ssl.SSLError) -> str:
    """Return why, in OpenSSL's words."""
    return (error.reason or str(error)).replace("_", " ").lower() if "EOF" not in str(error) else "EOF"
