"""Encryption and `check` with every version of Zabbix: at its server, and at a proxy of it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from lab.command import tcp_status_sender
from lab.keys import WHOLE_MACHINE
from lab.zabbix_proxy import ZabbixProxy
from sender.items import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
PSK = 2  # tls_accept of a host in the API


def config(directory: Path, host: str, port: int, key: str) -> Path:
    """For `host`, which has this key."""
    file, path = directory / "psk", directory / "config.yaml"
    file.touch(mode=0o600)
    file.write_text(key)
    tls = {"connect": "psk", "psk_identity": f"PSK {host}", "psk_file": str(file)}
    destination = {"nodes": [f"127.0.0.1:{port}"], "tls": tls}
    spool = {"path": str(directory / "spool.db")}
    settings = {
        "host": host,
        "destinations": [destination],
        "ports": {"listening": False},
        "services": {"report": False},
        "spool": spool,
    }
    path.write_text(json.dumps(settings))
    return path


def assert_that_it_works(zabbix: ZabbixStack, directory: Path, host: str, port: int, key: str) -> None:
    """`check` finds nothing wrong and each value is stored; with another key nothing is taken, and the cause is named."""
    good = config(directory, host, port, key)
    done = tcp_status_sender("check", "--config", good)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    done = tcp_status_sender("run", "--once", "--config", good)
    assert done.returncode == 0, done.stderr
    expected = set(KEYS) - WHOLE_MACHINE
    stored = {value.key for value in zabbix.wait_for_history(host, len(expected))}
    assert stored >= expected
    bad = config(directory, host, port, secrets.token_hex(32))
    for verb in (("run", "--once"), ("check",)):
        done = tcp_status_sender(*verb, "--config", bad)
        assert done.returncode == 1
        said = " ".join((done.stdout + done.stderr).split())
        assert "Probably the key in psk_file is not the one that Zabbix has for psk_identity" in said


def test_a_pre_shared_key_at_the_server(imported: Any, tmp_path: Path) -> None:
    """A host that takes nothing unencrypted gets its values with its key, and with no other."""
    zabbix, key = imported.zabbix, secrets.token_hex(32)
    host = {"tls_accept": PSK, "tls_psk_identity": "PSK encrypted", "tls_psk": key}
    zabbix.create_host("encrypted", [TEMPLATE], **host)
    zabbix.wait_for_items("encrypted")
    assert_that_it_works(zabbix, tmp_path, "encrypted", zabbix.trapper_port, key)


def test_a_pre_shared_key_at_a_proxy(imported: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same at a proxy that monitors the host, which has its key from the server."""
    zabbix, key, directory = imported.zabbix, secrets.token_hex(32), tmp_path_factory.mktemp("encrypted")
    host = {"tls_accept": PSK, "tls_psk_identity": "PSK encrypted-behind", "tls_psk": key}
    with ZabbixProxy(zabbix, zabbix.directory / "proxy-tls", "proxy-tls", imported.pair.proxy) as proxy:
        zabbix.create_host("encrypted-behind", [TEMPLATE], **host, **proxy.hosts)
        proxy.wait_for_items("encrypted-behind")
        assert_that_it_works(zabbix, directory, "encrypted-behind", proxy.trapper_port, key)
