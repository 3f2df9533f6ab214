"""Encryption towards a trapper on loopback: what is spoken, what is wrong with key files, and what a peer can do to it."""

from __future__ import annotations

import os
import secrets
import select
import socket
import ssl
import stat
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.certificates import Authority, Pair, lock
from lab.tls_server import cert_server, psk_server
from lab.trapper import Trapper
from lab.uplinks import ISSUER, ITEMS, KEY, SUBJECT, cert, error, psk
from sender.errors import DeliveryError, Step
from sender.model import Outcome
from sender.settings import section
from sender.settings.schema import Tls
from sender.zabbix.tls import TlsConnector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_with_a_pre_shared_key(psk_file: Path) -> None:
    """Values arrive by TLS 1.2 with the key and identity of the settings."""
    with Trapper(encrypted=psk_server(web=KEY)) as trapper:
        assert psk(psk_file, trapper.port).send(ITEMS) == Outcome(accepted=10)
        assert len(trapper.values) == 10


@pytest.mark.parametrize("size", [16, 256])
def test_the_shortest_and_the_longest_key(psk_file: Path, size: int) -> None:
    """Keys of 32 to 512 digits, in either case, with or without an end of line, are keys."""
    key = secrets.token_bytes(size)
    psk_file.write_text(key.hex().upper())
    with Trapper(encrypted=psk_server(web=key)) as trapper:
        assert psk(psk_file, trapper.port).send(ITEMS) == Outcome(accepted=10)


def test_with_certificates(authority: Authority, server: Pair, client: Pair) -> None:
    """Values arrive where both sides trust each other, and where issuer and subject are those expected."""
    with Trapper(encrypted=cert_server(server, authority.ca)) as trapper:
        assert cert(client, authority.ca, trapper.port).send(ITEMS) == Outcome(accepted=10)
        names = {"server_cert_issuer": ISSUER, "server_cert_subject": SUBJECT}
        assert cert(client, authority.ca, trapper.port, **names).send(ITEMS) == Outcome(accepted=10)


def refused(
    name: str, authority: Authority, stranger: Authority, client: Pair
) -> tuple[Pair, Path, Pair, dict[str, str]]:
    """Return the server's certificate, the CA it trusts, our certificate, and more settings: something is wrong with one."""
    days = {"expired": (-9, -2), "not yet": (2, 9)}.get(name, (-1, 1))
    server = (stranger if name == "another CA" else authority).issue("refused", SUBJECT, days=days)
    if name == "ours":
        client = stranger.issue("ours", "CN=web-01")
    elif name == "ours expired":
        client = authority.issue("ours", "CN=web-01", days=(-9, -2))
    more = {
        "issuer": {"server_cert_issuer": "CN=ca"},
        "subject": {"server_cert_subject": "CN=zabbix server,O=Example\\, Inc."},
    }
    return server, authority.ca, client, more.get(name, {})


SAYS = {
    "expired": "the server's certificate has expired. Renew it",
    "not yet": "the server's certificate is not valid yet. Is this host's clock right?",
    "another CA": "the server's certificate is not signed by a CA in ca_file",
    "issuer": f"the server's certificate has the issuer {ISSUER}, but server_cert_issuer is CN=ca",
    "subject": f"the server's certificate has the subject {SUBJECT}, but server_cert_subject is CN=zabbix server,",
    "ours": "Probably it does not accept the certificate in cert_file",
    "ours expired": "Probably it does not accept the certificate in cert_file",
}


@pytest.mark.parametrize("name", SAYS)
def test_certificates_that_are_refused(name: str, authority: Authority, stranger: Authority, client: Pair) -> None:
    """Whoever refuses whom, one sentence names the node and what to look at; no value is sent to whom is not trusted."""
    pair, ca, ours, more = refused(name, authority, stranger, client)
    with Trapper(encrypted=cert_server(pair, ca)) as trapper:
        said = error(cert(ours, authority.ca, trapper.port, **more))
        assert said.startswith(f"127.0.0.1:{trapper.port}")
        assert SAYS[name] in said
    assert not trapper.requests


@pytest.mark.parametrize(("identity", "key"), [("web", bytes(32)), ("who", KEY)], ids=["key", "identity"])
def test_a_key_or_an_identity_that_the_server_does_not_have(psk_file: Path, identity: str, key: bytes) -> None:
    """It is said that key and identity do not belong together there, whichever of them it is."""
    with Trapper(encrypted=psk_server(web=key)) as trapper:
        said = error(psk(psk_file, trapper.port, identity))
    assert f"127.0.0.1:{trapper.port}: the TLS handshake with connect: psk was broken off" in said
    assert "Probably the key in psk_file is not the one that Zabbix has for psk_identity" in said


def test_a_server_without_encryption(psk_file: Path) -> None:
    """Who answers a handshake in plain text is said not to answer in TLS."""
    with Trapper(lambda _: b"SSH-2.0-OpenSSH_9.2p1\r\n" * 9, reads=5) as trapper:
        assert "it does not answer in TLS. Is the port right" in error(psk(psk_file, trapper.port))


def test_a_server_with_other_versions_of_tls(psk_file: Path) -> None:
    """As with a crypto policy of TLS 1.3 alone: it is said what is lacking, and the key is not blamed."""
    server = psk_server(web=KEY)
    server.maximum_version = server.minimum_version = ssl.TLSVersion.TLSv1_3
    with Trapper(encrypted=server) as trapper:
        said = error(psk(psk_file, trapper.port))
    assert f"127.0.0.1:{trapper.port}: it does not speak TLS 1.2. Zabbix itself does." in said
    assert "psk_file" not in said


def test_a_server_that_hangs_up(psk_file: Path, client: Pair, authority: Authority) -> None:
    """A connection closed in the handshake is no crash, with either kind of encryption."""
    with Trapper(lambda _: b"", reads=5) as trapper:
        assert "broken off. Probably the key" in error(psk(psk_file, trapper.port))
        assert "broken off. Probably it has no TLSCertFile=" in error(cert(client, authority.ca, trapper.port))


BAD_KEYS = {
    b"": "is empty",
    b"ab" * 15: "has too few hexadecimal digits",
    b"ab" * 257: "has too many hexadecimal digits",
    b"ab" * 5_000: "has too many hexadecimal digits",
    b"a" * 63: "has an odd number of hexadecimal digits: one is missing, or one too many",
    b"secretsecretsecretsecretsecretse": "has more in it than one line of hexadecimal digits",
    b"ab" * 32 + b"\n" + b"ab" * 32: "has more in it than one line of hexadecimal digits",
    b"\xff\xfe" * 32: "has more in it than one line of hexadecimal digits",
}


@pytest.mark.parametrize("content", BAD_KEYS)
def test_what_is_wrong_with_a_key_file(psk_file: Path, content: bytes) -> None:
    """What is no key is said to be none, by the file's name, without a word of what is in it; no node is blamed."""
    psk_file.write_bytes(content)
    said = error(psk(psk_file, 9))
    assert (
        said
        == f"psk_file {psk_file} {BAD_KEYS[content]}; expected 32 to 512 digits, such as `openssl rand -hex 32` prints"
    )


def test_an_identity_that_is_too_long_for_tls(psk_file: Path) -> None:
    """128 characters, which Zabbix allows, may be more bytes than TLS can carry."""
    assert "psk_identity has more than 255 bytes in UTF-8" in error(psk(psk_file, 9, "\u20ac" * 128))


def test_files_that_are_no_certificates(client: Pair, server: Pair, authority: Authority, tmp_path: Path) -> None:
    """What is no certificate, no key, or a pair of two, is named; a passphrase is never asked for."""
    empty = tmp_path / "empty"
    empty.touch()
    assert error(cert(client, empty, 9)) == f"ca_file {empty} holds no certificates in PEM form"
    mixed = Pair(cert=client.cert, key=server.key)
    assert f"the key in key_file {server.key} is not that of the certificate" in error(cert(mixed, authority.ca, 9))
    locked = tmp_path / "locked"
    lock(client.key, locked)
    for key in (empty, locked):
        said = error(cert(Pair(cert=client.cert, key=key), authority.ca, 9))
        assert said.endswith("do not hold a certificate and its key in PEM form, the key without a passphrase")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    """It is named, with the system's reason."""
    said = error(psk(tmp_path / "none", 9))
    assert said == f"psk_file {tmp_path / 'none'} cannot be read: No such file or directory"


def test_a_credential_that_is_missing() -> None:
    """Where systemd would put it, it is said when it does, and what to do without it."""
    file = Path("/run/credentials/none.service/psk")
    said = error(psk(file, 9))
    assert said == (
        f"psk_file {file} cannot be read: No such file or directory. systemd puts the unit's LoadCredential= there while it "
        "runs. Without it, give the file's own path."
    )


@pytest.fixture
def nobody() -> Iterator[None]:
    """Yield the test runs as a user who may not read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_file_that_may_not_be_read(psk_file: Path, nobody: None) -> None:
    """It is said who must be able to read it, and how that is done under systemd."""
    del nobody
    if os.geteuid() != 65534:
        psk_file.chmod(0)
    said = error(psk(psk_file, 9))
    assert f"psk_file {psk_file} cannot be read: Permission denied. Let " in said
    assert "as whom this runs, read it. Under systemd, hand it over with LoadCredential=" in said


def test_a_key_that_everybody_can_read(
    psk_file: Path, client: Pair, authority: Authority, logged: Callable[[], list[str]]
) -> None:
    """A key that others can read is warned about once, with the remedy; a certificate, which is public, is not."""
    logged()
    psk(psk_file, 9)
    cert(client, authority.ca, 9)
    assert stat.S_IMODE(client.cert.stat().st_mode) & 0o004
    assert logged() == []
    psk_file.chmod(0o644)
    with Trapper(encrypted=psk_server(web=KEY)) as trapper:
        subject = psk(psk_file, trapper.port)
        for _ in range(3):
            subject.send(ITEMS)
    warned = [message for message in logged() if "chmod" in message]
    assert warned == [f"main: every user of this host can read psk_file {psk_file}; `chmod 600` it"]


def test_a_key_is_changed_without_a_restart(psk_file: Path) -> None:
    """A file that has changed is read for the next send; one that has not, never again."""
    reads = []
    sys.addaudithook(
        lambda event, details: reads.append(1) if event == "open" and details[0] == str(psk_file) else None
    )
    context = psk_server(web=KEY)
    with Trapper(encrypted=context) as trapper:
        subject = psk(psk_file, trapper.port)
        for _ in range(5):
            subject.send(ITEMS)
        assert len(reads) == 1
        context.keys = {"web": bytes(range(32))}
        assert "Probably the key" in error(subject)
        new = psk_file.with_suffix(".new")
        new.write_text(bytes(range(32)).hex())
        new.replace(psk_file)
        assert subject.send(ITEMS) == Outcome(accepted=10)
    assert len(reads) == 2


def test_a_connection_that_is_reset_before_the_handshake(psk_file: Path) -> None:
    """It is an error of TLS as any other, though Python meets it before the handshake begins."""
    connector = TlsConnector(
        section.read(Tls, {"connect": "psk", "psk_identity": "web", "psk_file": str(psk_file)}), "main"
    )
    connector.prepare()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        accepted.close()  # which resets it
        select.select([connection], [], [], 10)
        with pytest.raises(DeliveryError) as caught:
            connector.wrap(connection, 1)
    assert caught.value.step is Step.TLS
