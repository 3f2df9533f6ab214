"""`check` at a real Zabbix 6.0 server: each planted fault is found, and named as what it is."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND, tcp_status_sender
from lab.findings import elsewhere
from lab.keys import CLOSE, FIRST, STORED
from lab.silence import silent_port
from lab.zabbix_stack import free_ports
from sender.commands.check.check import check_all
from sender.commands.check.report import as_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
ACCEPTED = {f"each of {count} keys is accepted" for count in (FIRST, FIRST - 1)}  # the latter without CLOSE
DISABLED, AGENT_ACTIVE, PASSIVE_PROXY, AUTOREGISTRATION = 1, 7, 6, 2  # in the API
PSK, NO_ADDRESS = 2, "192.0.2.1"
HOSTS = (
    "healthy",
    "disabled",
    "bare",
    "of a proxy",
    "encrypted",
    "one disabled",
    "one of another type",
    "allowed hosts",
)


@pytest.fixture(scope="module")
def hosts(zabbix: ZabbixStack) -> ZabbixStack:
    """Return a Zabbix with hosts of which each but the healthy one has a fault."""
    api = zabbix.api
    ids = {name: zabbix.create_host(name, [] if name == "bare" else [TEMPLATE]) for name in HOSTS}
    api.host.update(hostid=ids["disabled"], status=DISABLED)
    proxy = api.proxy.create(
        host="proxy", status=PASSIVE_PROXY, interface={"useip": 1, "ip": NO_ADDRESS, "port": "9", "dns": ""}
    )
    api.host.update(hostid=ids["of a proxy"], proxy_hostid=proxy["proxyids"][0])
    api.host.update(hostid=ids["encrypted"], tls_accept=PSK, tls_psk_identity="identity", tls_psk="5a" * 16)
    change(zabbix, ids["one disabled"], "tcp.status[LISTEN]", status=DISABLED)
    change(zabbix, ids["allowed hosts"], "tcp.syn_sent.hosts", trapper_hosts=NO_ADDRESS)
    # An item that a template made keeps its type; one that stays after the link is taken away does not.
    (template,) = api.template.get(output=[], filter={"host": TEMPLATE})
    api.host.massremove(hostids=[ids["one of another type"]], templateids=[template["templateid"]])
    change(zabbix, ids["one of another type"], "tcp.status[LAST_ACK]", type=AGENT_ACTIVE, delay="1h")
    zabbix.wait_for_items("healthy")
    return zabbix


def change(zabbix: ZabbixStack, host_id: str, key: str, **to: Any) -> None:
    """Change one item."""
    (item,) = zabbix.api.item.get(output=[], hostids=[host_id], filter={"key_": key})
    zabbix.api.item.update(itemid=item["itemid"], **to)


@pytest.fixture
def config(hosts: ZabbixStack, tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a configuration for a host, by name, to the server, which `destination` changes."""

    def config(host: str, destination: dict[str, Any] | None = None, **settings: Any) -> Path:
        destinations = [{"nodes": [f"127.0.0.1:{hosts.trapper_port}"], "timeout": 2, **(destination or {})}]
        defaults = {
            "ports": {"listening": False},
            "services": {"report": False},
            "spool": {"path": str(tmp_path / "spool.db")},
        }
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({"host": host, "destinations": destinations, **defaults, **settings}))
        return path

    return config


def checks(path: Path) -> list[dict[str, Any]]:
    """Return what is found, as programs get it."""
    findings: list[dict[str, Any]] = json.loads(as_json(check_all(path)))["checks"]
    return findings


def command(path: Path, *before: str) -> list[dict[str, Any]]:
    """Return what the command finds; exit code and `ok` must say whether anything fails."""
    done = subprocess.run(
        [*before, COMMAND, "check", "--json", "--config", path], capture_output=True, text=True, check=False, timeout=60
    )
    found = json.loads(done.stdout)
    findings: list[dict[str, Any]] = found["checks"]
    failed = any(each["result"] == "fail" for each in findings)
    assert (found["ok"], done.returncode, done.stderr) == (not failed, int(failed), "")
    return findings


def failure(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the one that fails."""
    (finding,) = [each for each in findings if each["result"] == "fail"]
    return finding


def test_all_is_well(hosts: ZabbixStack, config: Callable[..., Path]) -> None:
    """A healthy host passes every check; its own values, one sample of them, are in the database."""
    before = len(hosts.history("healthy"))
    findings = command(config("healthy"))
    assert [(each["check"], each["result"]) for each in elsewhere(findings)] == [
        (check, "ok")
        for check in ("config", "kernel", "ports", "spool", "connection", "protocol", "version", "host", "keys")
    ]
    assert [each["found"][:11] for each in findings if each["check"] == "version"] == ["Zabbix 6.0."]
    assert findings[-1]["found"] in ACCEPTED
    hosts.wait_until(
        lambda: {value.key for value in hosts.history("healthy")[before:]} | {CLOSE} == set(STORED), "all is stored", 30
    )
    values = hosts.history("healthy")[before:]
    assert len({(value.clock, value.ns) for value in values}) == 1
    done = tcp_status_sender("check", "--config", config("healthy"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{len(findings)} checks: {len(findings)} ok")


@pytest.mark.parametrize(
    ("host", "check", "found", "advice"),
    [
        ("unknown", "host", "host [unknown] not found", "Create the host"),
        ("Healthy", "host", "host [Healthy] not found", "case matters"),
        ("disabled", "host", "host [disabled] not monitored", "Enable the host"),
        ("of a proxy", "host", "host [of a proxy] not found", "monitored by another server or by a proxy"),
        ("encrypted", "host", 'connection of type "unencrypted" is not allowed for', "'Connections from host'"),
        ("bare", "keys", "probably the template is not linked to it", "Link the template"),
        ("one disabled", "keys", "keys are rejected: tcp.status[LISTEN].", "enabled"),
        ("one of another type", "keys", "keys are rejected: tcp.status[LAST_ACK].", "of type Zabbix trapper"),
        ("allowed hosts", "keys", "keys are rejected: tcp.syn_sent.hosts.", "'Allowed hosts'"),
    ],
)
def test_faults_in_zabbix(config: Callable[..., Path], host: str, check: str, found: str, advice: str) -> None:
    """What is wrong with the host or its items is told apart."""
    failed = failure(checks(config(host)))
    assert (failed["check"], failed["destination"]) == (check, "main")
    assert found in f"{failed['found']}."
    assert advice in failed["advice"]


@pytest.mark.parametrize(
    ("host", "secret", "check", "found"),
    [
        ("encrypted", ("identity", "5a" * 16), None, None),
        ("encrypted", ("identity", "a5" * 16), "TLS", "the TLS handshake with connect: psk was broken off"),
        ("encrypted", ("another", "5a" * 16), "TLS", "the TLS handshake with connect: psk was broken off"),
        (
            "healthy",
            ("identity", "5a" * 16),
            "host",
            'connection of type "TLS with PSK" is not allowed for host "healthy"',
        ),
        ("encrypted", ("identity", "5a"), "key files", "has too few hexadecimal digits"),
    ],
)
def test_encryption(
    config: Callable[..., Path],
    tmp_path: Path,
    host: str,
    secret: tuple[str, str],
    check: str | None,
    found: str | None,
) -> None:
    """A host that demands a pre-shared key passes with it; a wrong key or identity, a host without one are told apart."""
    identity, key = secret
    file = tmp_path / "psk"
    file.write_text(key)
    file.chmod(0o600)
    findings = checks(config(host, {"tls": {"connect": "psk", "psk_identity": identity, "psk_file": str(file)}}))
    if check:
        failed = failure(findings)
        assert (failed["check"], str(found) in failed["found"]) == (check, True), failed
    else:
        steps = [each["check"] for each in findings if each["node"]]
        assert steps == ["key files", "connection", "TLS", "protocol", "version"]
        assert findings[-1]["found"] in ACCEPTED
    assert key not in json.dumps(findings) or len(key) < 32


def test_asking_for_a_host_registers_nothing(hosts: ZabbixStack, config: Callable[..., Path]) -> None:
    """Where no registration action is enabled, to ask for an unknown host leaves nothing behind; where one is, it acts."""
    traces = "select host from autoreg_host where host in ('unknown', 'registered')"
    assert failure(checks(config("unknown")))["check"] == "host"
    assert hosts.query(traces) == []
    action = {"name": "registration", "eventsource": AUTOREGISTRATION, "operations": [{"operationtype": 2}]}
    (created,) = hosts.api.action.create(**action)["actionids"]

    def has_acted() -> bool:
        checks(config("registered"))
        return bool(hosts.api.host.get(output=[], filter={"host": "registered"}))

    try:
        hosts.wait_until(has_acted, "the action makes the host", 30)
    finally:
        hosts.api.action.delete(created)
    assert hosts.query(traces) == [("registered",)]


def test_ports(hosts: ZabbixStack, config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A port whose items do not exist yet is no failure; once Zabbix has made them, it passes; a state without one fails."""
    monkeypatch.setattr(
        "sender.commands.check.destination._PROBE_S", 60.0
    )  # on a busy machine, too, every key is tried
    (port,) = free_ports(1)
    ports = {"listening": False, "local": [port], "states": ["ESTABLISHED"]}
    (warning,) = [each for each in checks(config("healthy", ports=ports)) if each["result"] == "warn"]
    assert warning["found"] == f"there are no items of port {port} yet"

    def has_items() -> bool:
        return {each["result"] for each in checks(config("healthy", ports=ports))} == {"ok"}

    hosts.wait_until(has_items, "Zabbix has the items of the port", 60)
    failed = failure(checks(config("healthy", ports={**ports, "states": ["ESTABLISHED", "FIN_WAIT1"]})))
    assert failed["found"] == f"rejected: 1 of 6 values of port {port}"
    assert "be discovered" in failed["advice"]


def test_faults_on_the_way(hosts: ZabbixStack, config: Callable[..., Path]) -> None:
    """A name, a port, a web server, a source address, a server that hangs: each fails at its step."""
    (closed,) = free_ports(1)
    web = hosts.web_url.removeprefix("http://").rstrip("/")
    for destination, check, found in (
        ({"nodes": ["zbx.invalid"]}, "name", "the name cannot be resolved"),
        ({"nodes": [f"127.0.0.1:{closed}"]}, "connection", "connection refused"),
        ({"nodes": [web]}, "protocol", "it closed the connection without an answer"),
        ({"source_ip": "192.0.2.10"}, "connection", "source_ip 192.0.2.10 is not an address of this host"),
    ):
        failed = failure(checks(config("healthy", destination)))
        assert (failed["check"], failed["found"][: len(found)]) == (check, found)
    with hosts.frozen_server():
        failed = failure(checks(config("healthy")))
    assert (failed["check"], failed["found"]) == ("protocol", "connected, but no whole answer within 2 s")


def test_a_spool_that_cannot_be_written(config: Callable[..., Path], tmp_path: Path) -> None:
    """On a file system that is mounted read-only not even root can write, and nothing else is wrong."""
    script = f'mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path} && exec "$@"'
    failed = failure(command(config("healthy"), "unshare", "--mount", "sh", "-c", script, "sh"))
    assert (failed["check"], failed["found"]) == (
        "spool",
        f"{tmp_path}/spool.db cannot be written by root: no right to write in {tmp_path}",
    )


def test_a_firewall(hosts: ZabbixStack, config: Callable[..., Path]) -> None:
    """A node that does not answer at all costs its timeout, and spoils nothing for one that does."""
    with silent_port() as silent:
        nodes = [f"127.0.0.1:{port}" for port in (silent, hosts.trapper_port)]
        findings = checks(config("healthy", {"nodes": nodes}))
    (warning,) = [each for each in findings if each["result"] == "warn"]
    assert (warning["check"], warning["found"]) == ("connection", "no connection within 2 s")
