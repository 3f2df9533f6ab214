"""Uplinks to a trapper on loopback, plain and encrypted, and what is sent through them. Knows no trapper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sender.errors import DeliveryError
from sender.model import Item, Node
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Pair

ITEMS = tuple(Item(host="web-01", key=f"key[{n}]", value=str(n), clock=1_700_000_000, ns=n + 1) for n in range(10))
LONG = [Item(host="web-01", key="key", value="x" * 20_000_000, clock=1_700_000_000, ns=1)]
KEY = bytes(range(100, 132))
ISSUER, SUBJECT = "CN=CA,OU=R\\+D,O=Example\\, Inc.,DC=example,DC=com", "CN=Zabbix server,O=Example\\, Inc."


def uplink(*ports: int, address: str = "127.0.0.1", **settings: Any) -> Uplink:
    """Return an uplink to these ports, as the nodes of one cluster."""
    nodes = [str(Node(address=address, port=port)) for port in ports]
    return Uplink(section.read(Destination, {"nodes": nodes, **settings}))


def psk(path: Path, port: int, identity: str = "web", **settings: Any) -> Uplink:
    """Return an uplink with the key in this file."""
    tls = {"connect": "psk", "psk_identity": identity, "psk_file": str(path)}
    return Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{port}"], "tls": tls, **settings}))


def cert(pair: Pair, ca: Path, port: int, **tls: Any) -> Uplink:
    """Return an uplink with this certificate."""
    files = {"ca_file": str(ca), "cert_file": str(pair.cert), "key_file": str(pair.key)}
    return Uplink(
        section.read(Destination, {"nodes": [f"127.0.0.1:{port}"], "tls": {"connect": "cert", **files, **tls}})
    )


def error(subject: Uplink) -> str:
    """Return what it says of the next send, which must fail."""
    with pytest.raises(DeliveryError) as raised:
        subject.send(ITEMS)
    assert "\n" not in str(raised.value)
    return str(raised.value)
