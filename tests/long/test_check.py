"""`check` where a destination says nothing: what is found when a timeout has passed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.findings import checks, one
from lab.silence import silent_port
from lab.trapper import MUTE, Trapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_firewall_and_a_mute_server(config: Callable[..., Path]) -> None:
    """None of many holds another up: they are found within one timeout, not one after the other, each at its step."""
    with Trapper(lambda _: MUTE) as mute, silent_port() as silent:
        nodes = [f"127.0.0.1:{port}" for port in (silent, mute.port)]
        destinations = [{"name": f"{node} {n}", "nodes": [node], "timeout": 2} for node in nodes for n in range(5)]
        path = config(destinations=destinations)
        begin = time.monotonic()
        findings = checks(path, 1)
        assert time.monotonic() - begin < 10
    failed = [(each["check"], each["found"]) for each in findings if each["result"] == "fail"]
    assert failed == [
        *[("connection", "no connection within 2 s")] * 5,
        *[("protocol", "connected, but no whole answer within 2 s")] * 5,
    ]


def test_key_files(config: Callable[..., Path], tmp_path: Path) -> None:
    """A key file that is missing fails before any node is asked; one that everybody can read is to be looked at, once."""
    file = tmp_path / "psk"
    tls = {"connect": "psk", "psk_identity": "identity", "psk_file": str(file)}
    with Trapper() as trapper:
        path = config(destinations=[{"nodes": [trapper.node], "tls": tls}])
        missing = one(checks(path, 1), "fail")
        file.write_text("5a" * 16)
        file.chmod(0o644)
        findings = checks(path, 1)
    assert (missing["check"], missing["found"]) == (
        *("key files", f"psk_file {file} cannot be read: No such file or directory"),
    )
    assert one(findings, "fail")["check"] == "TLS"
    assert one(findings, "warn")["found"] == f"main: every user of this host can read psk_file {file}; `chmod 600` it"
    assert "5a5a" not in json.dumps(findings)
