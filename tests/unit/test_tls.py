"""Encryption towards a trapper on loopback: what is spoken, what is wrong with key files, and what a peer can do to it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.certificates import Authority, Pair
from lab.tls_server import cert_server, psk_server
from lab.trapper import MUTE, Trapper, counts
from sender.errors import DeliveryError
from sender.model import Item, Outcome
from sender.settings.schema import Destination
from sender.zabbix.tls import distinguished
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = bytes(range(100, 132))
ITEMS = tuple(Item(host="web-01", key=f"key[{n}]", value=str(n), clock=1_700_000_000, ns=n + 1) for n in range(10))
LONG = [Item(host="web-01", key="key", value="x" * 5_000_000, clock=1_700_000_000, ns=1)]
ISSUER, SUBJECT = "CN=CA,OU=R\\+D,O=Example\\, Inc.,DC=example,DC=com", "CN=Zabbix server,O=Example\\, Inc."


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs what is trusted."""
    return Authority(tmp_path_factory.mktemp("ca") / "trusted", ISSUER)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs what is not."""
    return Authority(tmp_path_factory.mktemp("ca") / "stranger", "CN=Stranger")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    """A server's certificate as it should be."""
    return authority.issue("server", SUBJECT)


@pytest.fixture(scope="module")
def client(authority: Authority) -> Pair:
    """The certificate of this host as it should be."""
    return authority.issue("client", "CN=web-01")


@pytest.fixture
def psk_file(tmp_path: Path) -> Path:
    """The key, as the agent has it in its file."""
    path = tmp_path / "psk"
    path.touch(mode=0o600)
    path.write_text(KEY.hex() + "\n")
    return path


def psk(path: Path, port: int, identity: str = "web", **settings: Any) -> Uplink:
    """An uplink with this key."""
    tls = {"connect": "psk", "psk_identity": identity, "psk_file": str(path)}
    return Uplink(Destination.model_validate({"nodes": [f"127.0.0.1:{port}"], "tls": tls, **settings}))


def cert(pair: Pair, ca: Path, port: int, **tls: Any) -> Uplink:
    """An uplink with this certificate."""
    files = {"ca_file": str(ca), "cert_file": str(pair.cert), "key_file": str(pair.key)}
    return Uplink(
        Destination.model_validate({"nodes": [f"127.0.0.1:{port}"], "tls": {"connect": "cert", **files, **tls}})
    )


def error(subject: Uplink) -> str:
    """What it says of the next send, which must fail."""
    with pytest.raises(DeliveryError) as raised:
        subject.send(ITEMS)
    assert "\n" not in str(raised.value)
    return str(raised.value)


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


def test_names_are_written_as_in_rfc_4514() -> None:
    """The last part first, short names, special characters escaped where they are special."""
    names = ((("countryName", "DE"),), (("organizationName", 'A, "B"+<C>;\\'),), (("commonName", " #x = y "),))
    assert distinguished(names) == 'CN=\\ #x = y\\ ,O=A\\, \\"B\\"\\+\\<C\\>\\;\\\\,C=DE'
    assert distinguished(((("commonName", "#a"), ("userId", "b")),)) == "UID=b+CN=\\#a"


def refused(
    name: str, authority: Authority, stranger: Authority, client: Pair
) -> tuple[Pair, Path, Pair, dict[str, str]]:
    """The server's certificate, the CA it trusts, our certificate, and more settings: something is wrong with one."""
    good = authority.issue("good", SUBJECT)
    table: dict[str, tuple[Pair, Path, Pair, dict[str, str]]] = {
        "expired": (authority.issue("old", SUBJECT, days=(-9, -2)), authority.ca, client, {}),
        "not yet": (authority.issue("new", SUBJECT, days=(2, 9)), authority.ca, client, {}),
        "another CA": (stranger.issue("other", SUBJECT), authority.ca, client, {}),
        "issuer": (good, authority.ca, client, {"server_cert_issuer": "CN=ca"}),
        "subject": (good, authority.ca, client, {"server_cert_subject": "CN=zabbix server,O=Example\\, Inc."}),
        "ours": (good, authority.ca, stranger.issue("ours", "CN=web-01"), {}),
        "ours expired": (good, authority.ca, authority.issue("ours", "CN=web-01", days=(-9, -2)), {}),
    }
    return table[name]


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
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", str(client.key), "-out", str(locked)]
    subprocess.run(command, check=True)
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
    """The test runs as a user who may not read everything."""
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
            subject.send(LONG)
        took_s = time.monotonic() - begin
        stop.set()
        thread.join()
    assert took_s < 3


CROWD = """
import json, sys
from pathlib import Path
from sender.settings.schema import Destination
from sender.errors import DeliveryError
from sender.model import Item
from sender.zabbix.uplink import Uplink

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

subjects = [Uplink(Destination.model_validate(each)) for each in json.loads(sys.argv[1])]
accepted = [0] * len(subjects)
for number in range(1200):
    try:
        accepted[number % len(subjects)] += subjects[number % len(subjects)].send([Item(host="h", key="k", value="1", clock=1, ns=1)]).accepted
    except DeliveryError:
        pass
    if number in (300, 1199):
        print(resident(), len(list(Path("/proc/self/fd").iterdir())))
print(*accepted)
"""


def test_many_connections_leave_nothing(psk_file: Path, authority: Authority, server: Pair, client: Pair) -> None:
    """More than a thousand encrypted sends of every outcome leave no file descriptor and no memory behind."""
    keys = {"connect": "psk", "psk_identity": "web", "psk_file": str(psk_file)}
    certs = {"connect": "cert", "ca_file": str(authority.ca), "cert_file": str(client.cert)}
    certs["key_file"] = str(client.key)
    with (
        Trapper(encrypted=psk_server(web=KEY)) as good,
        Trapper(encrypted=psk_server(web=bytes(32))) as wrong,
        Trapper(encrypted=cert_server(server, authority.ca)) as other,
        Trapper(lambda _: b"", reads=5) as rude,
    ):
        destinations = [
            {"nodes": [good.node], "tls": keys},
            {"nodes": [wrong.node], "tls": keys},
            {"nodes": [rude.node], "tls": keys},
            {"nodes": [good.node], "tls": {**keys, "psk_identity": "who"}},
            {"nodes": [other.node], "tls": certs},
            {"nodes": [other.node], "tls": {**certs, "server_cert_subject": "CN=x"}},
        ]
        early, late, accepted = python(CROWD, json.dumps(destinations)).splitlines()
    assert accepted == "200 0 0 0 200 0"
    assert early.split()[1] == late.split()[1]
    assert int(late.split()[0]) - int(early.split()[0]) < 1_000


def python(script: str, *arguments: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


SANDBOXED = """
import sys
from sender.settings.schema import Destination
from sender.model import Item
from sender.zabbix.uplink import Uplink
from lab.seccomp import refuse_writable_code
refuse_writable_code()
tls = {"connect": "psk", "psk_identity": "web", "psk_file": sys.argv[2]}
subject = Uplink(Destination.model_validate({"nodes": [sys.argv[1]], "tls": tls}))
print(subject.send([Item(host="h", key="k", value="1", clock=1, ns=1)]))
"""


def test_in_the_sandbox_of_the_unit(psk_file: Path) -> None:
    """Where memory may not be both writable and executable (MemoryDenyWriteExecute=), keys are used all the same."""
    with Trapper(encrypted=psk_server(web=KEY)) as trapper:
        assert "accepted=1" in python(SANDBOXED, trapper.node, str(psk_file))


def test_a_server_that_says_nothing_after_the_handshake(psk_file: Path) -> None:
    """Silence behind encryption is silence."""
    with Trapper(lambda _: MUTE, encrypted=psk_server(web=KEY)) as trapper:
        assert "connected, but no whole answer within 1 s" in error(psk(psk_file, trapper.port, timeout="1s"))
