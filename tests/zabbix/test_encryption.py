"""Encryption against a real Zabbix 6.0 server: what it takes, and what is said of each thing that can be wrong."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.certificates import Authority, Pair
from lab.command import COMMAND, tcp_status_sender
from lab.watched_daemon import Daemon
from lab.zabbix_stack import ZabbixStack

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

TEMPLATE = "TCP states by Zabbix trapper"
PLAIN, PSK, CERT = 1, 2, 4  # tls_accept of a host in the API
SUBJECT, ISSUER = "CN=Zabbix server,OU=Ops,O=Example", "CN=Signing CA,O=Example,DC=example,DC=com"
KEYS = {name: secrets.token_hex(32) for name in ("psk host", "other host")}
KEY, OTHER = KEYS.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A Zabbix, its CA, and who has signed nothing there."""

    zabbix: ZabbixStack
    authority: Authority
    stranger: Authority
    client: Pair


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a Zabbix with a certificate, and a host for each way to connect, all known to the server."""
    directory = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(directory / "ca", ISSUER), Authority(directory / "stranger", "CN=Stranger")
    server = authority.issue("server", SUBJECT)
    files = {"TLSCAFile": authority.ca, "TLSCertFile": server.cert, "TLSKeyFile": server.key}
    settings = "".join(f"{name}={path}\n" for name, path in files.items())
    template = tcp_status_sender("template").stdout
    with ZabbixStack(tmp_path_factory.mktemp("zabbix"), settings) as zabbix:
        zabbix.import_template(template)
        for name, key in KEYS.items():
            identity = {"tls_psk_identity": f"PSK {name}", "tls_psk": key}
            zabbix.create_host(name, [TEMPLATE], tls_accept=PSK, **identity)
        zabbix.create_host("cert host", [TEMPLATE], tls_accept=CERT)
        zabbix.create_host("plain host", [TEMPLATE], tls_accept=PLAIN)
        zabbix.wait_for_items("plain host")
        yield Site(zabbix=zabbix, authority=authority, stranger=stranger, client=authority.issue("client", "CN=web-01"))


class Host:
    """What is installed on a host under test: its configuration, and its files."""

    def __init__(self, directory: Path, site: Site) -> None:
        self.directory = directory
        self.path = directory / "config.yaml"
        self._port = site.zabbix.trapper_port
        self._site = site

    def psk(self, host: str, key: str, identity: str = "PSK psk host") -> Path:
        """Return configured to be `host`, with this key."""
        file = self.directory / "psk"
        file.touch(mode=0o600)
        file.write_text(key + "\n")
        return self.configure(host, connect="psk", psk_identity=identity, psk_file=str(file))

    def cert(self, host: str, pair: Pair | None = None, ca: Path | None = None, **more: str) -> Path:
        """Return configured to be `host`, with this certificate and CA, or good ones."""
        pair = pair or self._site.client
        files = {"ca_file": str(ca or self._site.authority.ca), "cert_file": str(pair.cert), "key_file": str(pair.key)}
        return self.configure(host, connect="cert", **files, **more)

    def configure(self, host: str, **tls: str) -> Path:
        """Return configured to be `host`, sending every second."""
        destination = {"name": "main", "nodes": [f"127.0.0.1:{self._port}"], "tls": tls}
        spool = {"path": str(self.directory / "spool.db")}
        config = {"host": host, "interval": 1, "destinations": [destination], "spool": spool}
        self.path.write_text(
            json.dumps({**config, "ports": {"listening": False}, "services": {"report": False}, "log_level": "debug"})
        )
        return self.path


@pytest.fixture
def host(tmp_path: Path, site: Site) -> Host:
    """Return a host of the test's own, with nothing on it."""
    return Host(tmp_path, site)


def once(config: Path) -> subprocess.CompletedProcess[str]:
    """`run --once`."""
    return tcp_status_sender("run", "--once", "--config", config)


def test_a_host_with_a_pre_shared_key(site: Site, host: Host) -> None:
    """A host that accepts nothing but its key gets its values, all of them."""
    done = once(host.psk("psk host", KEY))
    assert done.returncode == 0, done.stderr
    assert "main: Zabbix accepts all values of host 'psk host'" in done.stderr
    assert site.zabbix.wait_for_history("psk host", 20)


def test_a_host_with_a_certificate(site: Site, host: Host) -> None:
    """A host that accepts nothing but certificates gets its values; the server's names are as expected."""
    done = once(host.cert("cert host", server_cert_issuer=ISSUER, server_cert_subject=SUBJECT))
    assert done.returncode == 0, done.stderr
    assert site.zabbix.wait_for_history("cert host", 20)


ENCRYPTION = "'Connections from host' (tab Encryption of the host) allow what `tls` says here"
# What is installed, and what is said about it.
FAULTS: dict[str, tuple[Callable[[Site, Host], Path], str]] = {
    "wrong key": (
        lambda _, host: host.psk("psk host", OTHER),
        "the TLS handshake with connect: psk was broken off. Probably the key in psk_file is not the one",
    ),
    "unknown identity": (
        lambda _, host: host.psk("psk host", KEY, identity="PSK of nobody"),
        "broken off. Probably the key in psk_file is not the one that Zabbix has for psk_identity, or no host there has this",
    ),
    "key of another host": (lambda _, host: host.psk("other host", KEY), ENCRYPTION),
    "plain to a PSK host": (lambda _, host: host.configure("psk host"), ENCRYPTION),
    "plain to a certificate host": (lambda _, host: host.configure("cert host"), ENCRYPTION),
    "PSK to a plain host": (lambda _, host: host.psk("plain host", KEY), ENCRYPTION),
    "wrong CA": (
        lambda site, host: host.cert("cert host", ca=site.stranger.ca),
        "the server's certificate is not signed by a CA in ca_file",
    ),
    "wrong issuer": (
        lambda _, host: host.cert("cert host", server_cert_issuer="CN=Signing CA"),
        f"the server's certificate has the issuer {ISSUER}, but server_cert_issuer is CN=Signing CA",
    ),
    "wrong subject": (
        lambda _, host: host.cert("cert host", server_cert_subject="CN=zabbix"),
        f"the server's certificate has the subject {SUBJECT}, but server_cert_subject is CN=zabbix",
    ),
    "ours from a stranger": (
        lambda site, host: host.cert("cert host", site.stranger.issue("client", "CN=web-01")),
        "Probably it does not accept the certificate in cert_file",
    ),
    "ours has expired": (
        lambda site, host: host.cert("cert host", site.authority.issue("old", "CN=web-01", days=(-9, -2))),
        "Probably it does not accept the certificate in cert_file",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_can_be_wrong(name: str, site: Site, host: Host) -> None:
    """Each fault is one sentence that names the destination and what to look at, and no key is in it."""
    install, says = FAULTS[name]
    done = once(install(site, host))
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if says in line]
    assert "main" in line
    for key in KEYS.values():
        assert key not in done.stdout + done.stderr


def test_a_server_whose_certificate_has_expired_and_one_without(site: Site, host: Host) -> None:
    """An expired server certificate is said to be one; a server that has none is said to have none, probably."""
    old = site.authority.issue("old server", SUBJECT, days=(-9, -2))
    good = site.zabbix.settings
    try:
        for settings, says in (
            (
                f"TLSCAFile={site.authority.ca}\nTLSCertFile={old.cert}\nTLSKeyFile={old.key}\n",
                "certificate has expired",
            ),
            ("", "with connect: cert was broken off. Probably it has no TLSCertFile="),
        ):
            site.zabbix.stop_server()
            site.zabbix.settings = settings
            site.zabbix.start_server()
            done = once(host.cert("cert host"))
            assert done.returncode == 1
            assert says in done.stderr
    finally:
        if site.zabbix.server_is_running:
            site.zabbix.stop_server()
        site.zabbix.settings = good
        site.zabbix.start_server()


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.usefixtures("site")
def test_no_key_is_anywhere_but_in_its_file(host: Host, *, is_right: bool) -> None:
    """With a debug log, right key or wrong: neither log nor spool, status, command line or environment holds the key."""
    key = KEY if is_right else OTHER
    daemon = Daemon([COMMAND, "run", "--config", host.psk("psk host", key)])
    try:
        daemon.until("main: Zabbix accepts all values" if is_right else "main: delivery failed")
        process = Path(f"/proc/{daemon.process.pid}")
        seen = {name: (process / name).read_bytes() for name in ("cmdline", "environ", "comm")}
        seen |= {path.name: path.read_bytes() for path in host.directory.glob("spool.db*")}
        status = tcp_status_sender("status", "--config", host.path)
        seen["status"] = (status.stdout + status.stderr).encode()
        seen["--help"] = tcp_status_sender("run", "--help").stdout.encode()
    finally:
        daemon.stop()
    seen["log"] = "".join(daemon.log).encode()
    assert "spool.db" in seen
    assert b"debug" in seen["log"].lower()
    for name, content in seen.items():
        assert content or name == "status"
        for form in (key, key.upper(), key[:16], key[-16:]):
            assert form.encode() not in content, name
        assert bytes.fromhex(key)[:8] not in content, name
