"""Ports that appear and go, at a real Zabbix 6.0 server: no value of theirs is lost, refused or left stale."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

from lab.daemon import Daemon
from lab.trapper import Trapper
from lab.zabbix_stack import Value, free_ports
from sender.items import LOCAL, is_rare, port_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

FIELDS = ("key", "value", "clock", "ns")
BACKLOG = 77
SEVEN = 7  # values of a port in every sample: four states, three of the accept queue


class Scene:
    """A daemon that sends samples of one port, and of nothing else on this machine, to a real Zabbix and a witness."""

    def __init__(self, zabbix: ZabbixStack, host: str, directory: Path) -> None:
        self.zabbix = zabbix
        self.host = host
        self.witness = Trapper()
        (self.port,) = free_ports(1)
        self._directory = directory

    @contextmanager
    def daemon(self, *, may_be_refused: bool = False, ports: object = None) -> Iterator[Daemon]:
        """Run the daemon. At the end of the context all that it has sampled of the port is stored, once."""
        nodes = {"zabbix": self.zabbix.trapper_port, "witness": self.witness.port}
        settings = {
            "host": self.host,
            "interval": "1s",
            "destinations": [{"name": name, "nodes": [f"127.0.0.1:{nodes[name]}"]} for name in nodes],
            "services": {"report": False},
            "ports": ports or {"exclude": [f"1-{self.port - 1}", f"{self.port + 1}-65535"], "ephemeral_after": 0},
            "spool": {"path": str(self._directory / "spool.db")},
        }
        config = self._directory / "config.yaml"
        config.write_text(json.dumps(settings))
        with self.witness, Daemon(config) as daemon:
            yield daemon
            if may_be_refused:
                return
            self.wait_until_stored()
            daemon.stop()
            self.wait_until_stored()  # the server writes what it has accepted a second later
            assert self.stored() == self.sampled()
            assert not re.search("refuse[sd] .*of host", daemon.log)

    def sampled(self) -> list[Value]:
        """Every value of the port that the witness has, in order; each sample is whole."""
        values = [Value(**{name: sent[name] for name in FIELDS}) for sent in self.witness.values]
        values = in_order(values)
        assert set(Counter((each.clock, each.ns) for each in values if not is_rare(each.key)).values()) <= {SEVEN}
        return values

    def stored(self) -> list[Value]:
        """Return the same, in Zabbix's database."""
        return in_order(self.zabbix.history(self.host))

    def wait_until_stored(self) -> None:
        """Until Zabbix has what the witness has of the port by now, which is something."""
        self.zabbix.wait_until(lambda: bool(self.sampled()), "the witness has the port", 20)
        wanted = set(self.sampled())
        self.zabbix.wait_until(lambda: wanted <= set(self.stored()), "every value of the port is stored", 60)

    def listener(self) -> socket.socket:
        """Somebody who listens on the port."""
        return socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)

    def zabbix_is_missed(self, daemon: Daemon) -> None:
        """Until the daemon has found that the server is away."""
        deadline = time.monotonic() + 20
        while "zabbix: delivery failed" not in daemon.log:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ports(self) -> set[str]:
        """Return the ports of which Zabbix has items."""
        found = self.zabbix.api.item.get(host=self.host, filter={"flags": 4}, output=["key_"])
        return {port_of(item["key_"]) for item in found} - {""}  # a rate is of no key that is sent

    def delete_items(self) -> None:
        """Delete what discovery has made."""
        found = self.zabbix.api.item.get(host=self.host, filter={"flags": 4}, output=["itemid"])
        self.zabbix.api.item.delete(*[item["itemid"] for item in found])
        self.zabbix.wait_for_items(self.host)

    def names(self) -> set[str]:
        """Return what the items that discovery has made are called."""
        found = self.zabbix.api.item.get(host=self.host, filter={"flags": 4}, output=["name"])
        return {item["name"] for item in found}

    def wait_for_samples(self, count: int) -> None:
        """Until so many more have come to the witness."""
        self.witness.wait_for(len(self.witness.requests) + count)

    def last(self, key: str) -> float:
        """Return the newest value of a key that Zabbix has."""
        return [float(value.value) for value in self.stored() if value.key == key][-1]


def in_order(values: Iterable[Value]) -> list[Value]:
    """Those of ports, by moment and key, each value as a number that a database may have written in another way."""
    numbers = [replace(value, value=f"{float(value.value):g}") for value in values if port_of(value.key)]
    return sorted(numbers, key=attrgetter("clock", "ns", "key"))


@pytest.fixture
def scene(zabbix: ZabbixStack, host: str, tmp_path: Path) -> Scene:
    """Return a scene for one test, in which nothing has happened yet."""
    return Scene(zabbix, host, tmp_path)


def test_a_new_port_loses_nothing(scene: Scene) -> None:
    """From the very sample in which a port is port_of, every value is stored, though its items have to be made first."""
    with scene.daemon():
        scene.wait_for_samples(2)
        assert not scene.sampled()
        with scene.listener() as server, socket.create_connection(server.getsockname()):
            scene.wait_for_samples(3)
            scene.wait_until_stored()
            scene.wait_for_samples(2)
        (_, discovery) = [value for value in scene.witness.values if value["key"] == LOCAL]
        assert json.loads(discovery["value"]) == [
            {"{#PORT}": str(scene.port), "{#SERVICE}": "", "{#NAME}": str(scene.port), "{#SCOPE}": "loopback"}
        ]
        assert scene.sampled()[0].clock == discovery["clock"]
        assert scene.last(f"tcp.listen.queue.max[{scene.port}]") == BACKLOG
        assert scene.names() >= {f"TCP port {scene.port}: ESTABLISHED", f"TCP port {scene.port}: Accept queue"}


def test_a_port_that_appears_while_the_server_is_away(scene: Scene) -> None:
    """What was sampled before the server has even heard of a port arrives too, in order, once it has made the items."""
    with scene.daemon() as daemon:
        scene.wait_for_samples(2)
        with ExitStack() as stack:
            with scene.zabbix.without_server():
                scene.zabbix_is_missed(daemon)
                stack.enter_context(scene.listener())
                scene.wait_for_samples(3)
            scene.wait_until_stored()


def test_a_port_that_goes_ends_in_zeros(scene: Scene) -> None:
    """When a service stops its port goes on in zeros, over a restart of the daemon too, and then comes back as it was."""
    key = f"tcp.listen.queue.max[{scene.port}]"
    with scene.daemon() as daemon:
        with scene.listener():
            scene.wait_for_samples(2)
            scene.wait_until_stored()
        assert scene.last(key) == BACKLOG
        for restart in (False, True):
            if restart:
                daemon.stop()
                daemon.start()
            scene.wait_for_samples(2)
            scene.wait_until_stored()
            assert scene.last(key) == 0
        with scene.listener():
            scene.wait_for_samples(2)
            scene.wait_until_stored()
            assert scene.last(key) == BACKLOG


def test_items_that_somebody_deletes_come_back(scene: Scene) -> None:
    """When Zabbix loses the items of a port, discovery is sent anew, and its values go on."""
    with scene.daemon(may_be_refused=True) as daemon, scene.listener():
        scene.wait_for_samples(2)
        scene.wait_until_stored()
        scene.delete_items()
        scene.zabbix.wait_until(lambda: f"all of port {scene.port}" in daemon.log, "the loss is noticed", 60)
        before = len(scene.witness.requests)
        scene.wait_for_samples(2)
        newest = scene.witness.requests[before]["data"][0]["clock"]
        scene.zabbix.wait_until(lambda: any(value.clock >= newest for value in scene.stored()), "its values go on", 120)


def test_listeners_on_ever_another_port_make_no_items(scene: Scene) -> None:
    """Zabbix gets items for a service on a low port, and in time for one in the ephemeral range, and for nothing between.

    A program listens on ever another port of that range meanwhile, for a second each.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:  # a port that the kernel chooses
        first = min(server.getsockname()[1], 60_000)
    window = range(first, first + 300)
    others, opened = listeners(window), 0
    with ExitStack() as stack:
        services = [stack.enter_context(next(found)) for found in (listeners(range(20_000, 32_000)), others)]
        low, high = (service.getsockname()[1] for service in services)
        left_out = [f"1-{low - 1}", f"{low + 1}-{window[0] - 1}", f"{window[-1] + 1}-65535"]
        stack.enter_context(scene.daemon(ports={"exclude": left_out, "ephemeral_after": "15s"}, may_be_refused=True))
        deadline, due, strangers = time.monotonic() + 120, {str(low), str(high)}, set[str]()
        while opened < 20 or not scene.ports() >= due:
            assert time.monotonic() < deadline, scene.ports()
            with next(others):
                scene.wait_for_samples(1)
            opened += 1
            more = scene.ports() - due - strangers
            strangers |= {port for port in more if is_used(int(port))}  # of another test, for as long as a service
            assert more <= strangers


def is_used(port: int) -> bool:
    """Return whether somebody else listens there now."""
    for server in listeners([port]):
        server.close()
        return False
    return True


def listeners(ports: Iterable[int]) -> Iterator[socket.socket]:
    """Yield a listener on one of the ports after the other, but for those that somebody uses."""
    for port in ports:
        with suppress(OSError):
            yield socket.create_server(("127.0.0.1", port))
