"""Ports that appear and go, at a real Zabbix 6.0 server: no value of theirs is lost, refused or left stale."""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sender.items import discovered
from support.daemon import Daemon
from support.trapper import Trapper
from support.zabbix_stack import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.zabbix_stack import ZabbixStack

SEVEN = 7  # values of a port in one sample: four states, three of the accept queue


class Scene:
    """A daemon that sends samples of one port, and of nothing else on this machine, to a real Zabbix and a witness."""

    def __init__(self, zabbix: ZabbixStack, host: str, directory: Path) -> None:
        self.zabbix = zabbix
        self.host = host
        self.witness = Trapper()
        (self.port,) = free_ports(1)
        self._directory = directory

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """The daemon; at the end of the context all that it has sampled of the port is stored, once."""
        nodes = {"zabbix": self.zabbix.trapper_port, "witness": self.witness.port}
        settings = {
            "host": self.host,
            "interval": "1s",
            "destinations": [{"name": name, "nodes": [f"127.0.0.1:{nodes[name]}"]} for name in nodes],
            "ports": {"exclude": [f"1-{self.port - 1}", f"{self.port + 1}-65535"]},
            "spool": {"path": str(self._directory / "spool.db")},
        }
        config = self._directory / "config.yaml"
        config.write_text(json.dumps(settings))
        with self.witness, Daemon(config) as daemon:
            yield daemon
            self.wait_until_stored()
            daemon.stop()
            assert self.stored() == self.sampled()
            assert not daemon.said("refuse")

    def sampled(self) -> list[tuple[int, int, str, float]]:
        """Every value of the port that the witness has, by clock, ns and key; each sample is whole."""
        return in_order(value for value in self.witness.values if discovered(value["key"]))

    def stored(self) -> list[tuple[int, int, str, float]]:
        """The same, in Zabbix's database."""
        values = [vars_of(value) for value in self.zabbix.history(self.host)]
        return in_order(value for value in values if discovered(value["key"]))

    def wait_until_stored(self) -> None:
        """Until Zabbix has what the witness has by now."""
        wanted = set(self.sampled())
        self.zabbix.wait_until(lambda: wanted <= set(self.stored()), "every value of the port is stored", 60)

    def wait_for_samples(self, count: int) -> None:
        """Until so many more have come to the witness."""
        self.witness.wait_for(len(self.witness.requests) + count)

    def last(self, key: str) -> float:
        """The newest value of a key that Zabbix has."""
        return [value for _, _, found, value in self.stored() if found == key][-1]


def vars_of(value: Any) -> dict[str, Any]:
    """A stored value as it is in a request."""
    return {"key": value.key, "value": value.value, "clock": value.clock, "ns": value.ns}


def in_order(values: Any) -> list[tuple[int, int, str, float]]:
    """By moment and key; each sample must have all seven values of the port."""
    rows = sorted((v["clock"], v["ns"], v["key"], float(v["value"])) for v in values)
    return rows


@pytest.fixture
def scene(zabbix: ZabbixStack, host: str, tmp_path: Path) -> Scene:
    """A scene for one test, in which nothing has happened yet."""
    return Scene(zabbix, host, tmp_path)


def test_a_new_port_loses_nothing(scene: Scene) -> None:
    """From the very sample in which a port is discovered, every value is stored, though Zabbix has to make its items first."""
    with scene.daemon() as daemon:
        scene.wait_for_samples(2)
        with socket.create_server(("127.0.0.1", scene.port)) as server, socket.create_connection(server.getsockname()):
            scene.wait_for_samples(3)
            scene.wait_until_stored()
            scene.wait_for_samples(2)
        assert scene.sampled()
        assert {count for count in counts(scene.sampled()).values()} == {SEVEN}
        (first,) = [value for value in scene.witness.values if value["value"].startswith(f'[{{"{{#PORT}}":"{scene.port}"')][:1]
        assert scene.sampled()[0][:2] == (first["clock"], first["ns"])
        assert scene.last(f"tcp.listen.queue.max[{scene.port}]") == 128
        assert daemon.said("accepts every value of host")


def counts(rows: list[tuple[int, int, str, float]]) -> dict[tuple[int, int], int]:
    """How many values each sample has."""
    found: dict[tuple[int, int], int] = defaultdict(int)
    for clock, ns, _, _ in rows:
        found[clock, ns] += 1
    return found


def test_a_port_that_appears_while_the_server_is_away(scene: Scene) -> None:
    """What was sampled before the server has even heard of the port arrives too, in order, once it has made the items."""
    with scene.daemon() as daemon:
        scene.wait_for_samples(2)
        with scene.zabbix.without_server():
            daemon.until("delivery to zabbix fails")
            server = socket.create_server(("127.0.0.1", scene.port))
            scene.wait_for_samples(3)
        scene.wait_until_stored()
        server.close()


def test_a_port_that_goes_ends_in_zeros(scene: Scene) -> None:
    """When a service stops its port goes on with zeros, over a restart of the daemon too, and comes back as it was."""
    key = f"tcp.listen.queue.max[{scene.port}]"
    with socket.create_server(("127.0.0.1", scene.port)), scene.daemon() as daemon:
        scene.wait_for_samples(2)
        scene.wait_until_stored()
    assert scene.last(key) == 128
