"""What breaks between the daemon and the database of a real Zabbix 6.0, and that nothing is lost by it. Needs root.

The truth is the wall clock: at an interval of 1 s there is one sample for every second of each of the daemon's lives. A
second destination, which never fails, shows that sampling goes on, and what must be in the database.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lab.daemon import Daemon
from lab.keys import CLOSE, STEADY
from lab.program import StackError
from lab.relay import REFUSING, SILENT, WHOLE, Line, Relay
from lab.trapper import Trapper
from lab.zabbix_stack import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lab.daemon import Life
    from lab.zabbix_stack import ZabbixStack

EVERY_TIME = set(STEADY) - {CLOSE}
SAMPLE_S = 0.5  # what a sample may take on a busy machine, until it is safe

Row = tuple[int, int, str, float]  # clock, ns, key, value


class Scene:
    """A daemon that sends to a real Zabbix, as its host `host`, and to a witness."""

    def __init__(self, zabbix: ZabbixStack, host: str, directory: Path) -> None:
        self.zabbix = zabbix
        self._host = host
        self._directory = directory
        self._witness = Trapper()

    @contextmanager
    def daemon(self, port: int, *, timeout: str = "5s", **others: int) -> Iterator[Daemon]:
        """Run the daemon, to which Zabbix is at `port`. Once the context ends, each of its samples is stored, once."""
        with self._witness:
            ports = {"zabbix": port, "witness": self._witness.port, **others}
            # Not compressed, or a request would end before a test has it cut.
            common = {"timeout": timeout, "compression": False}
            settings = {
                "host": self._host,
                "interval": "1s",
                "ports": {"listening": False},
                "services": {"report": False},
                "destinations": [{"name": name, "nodes": [f"127.0.0.1:{ports[name]}"], **common} for name in ports],
                "spool": {"path": str(self._directory / "spool.db")},
            }
            config = self._directory / "config.yaml"
            config.write_text(json.dumps(settings))
            with Daemon(config) as daemon:
                yield daemon
                self.wait_for_samples(1)  # which is stored only once the daemon has found Zabbix again
                self.wait_until_stored(self._witness.values)
                daemon.stop()
                self.wait_until_stored(self._witness.values)
                self._assert_each_sample_is_stored_once(daemon.lives)

    def wait_for_samples(self, count: int) -> None:
        """Until so many more have come to the witness."""
        self._witness.wait_for(len(self._witness.requests) + count)

    def wait_until_stored(self, values: Iterable[dict[str, Any]]) -> None:
        """Until the database holds these values, and whatever else."""
        missing = set(rows(values))

        def none_is_missing() -> bool:
            missing.difference_update(self._stored())
            return not missing

        try:
            self.zabbix.wait_until(none_is_missing, "the database holds what was sampled", 30)
        except StackError as error:
            raise StackError(f"{len(missing)} values are missing, the first is {min(missing)}; {error}") from None

    def _stored(self) -> list[Row]:
        values = self.zabbix.history(self._host)
        return [(v.clock, v.ns, v.key, float(v.value)) for v in values if v.key in EVERY_TIME]

    def _assert_each_sample_is_stored_once(self, lives: Iterable[Life]) -> None:
        stored = self._stored()
        assert sorted(stored) == sorted(set(rows(self._witness.values)))
        samples: dict[tuple[int, int], set[str]] = defaultdict(set)
        for clock, ns, key, _ in stored:
            samples[clock, ns].add(key)
        assert [stamp for stamp, keys in samples.items() if keys != EVERY_TIME] == []
        clocks = sorted(clock for clock, _ in samples)
        assert clocks == sorted(set(clocks))
        for life in lives:
            due = range(math.ceil(life.began), math.floor(life.ended - SAMPLE_S) + 1)
            assert [clock for clock in due if clock not in clocks] == []


@pytest.fixture
def scene(zabbix: ZabbixStack, host: str, tmp_path: Path) -> Scene:
    """Return a scene for one test, in which nothing has happened yet."""
    return Scene(zabbix, host, tmp_path)


def rows(values: Iterable[dict[str, Any]]) -> list[Row]:
    """How values in requests must stand in the database."""
    return [(v["clock"], v["ns"], v["key"], float(v["value"])) for v in values if v["key"] in EVERY_TIME]


def test_the_server_is_stopped_and_the_daemon_killed(scene: Scene) -> None:
    """What was sampled while the server was stopped arrives when it is back, by whatever end of the daemon meanwhile."""
    with Relay(scene.zabbix.trapper_port) as relay, scene.daemon(relay.port) as daemon:
        relay.wait_until(lambda: len(relay.answered) >= 2)
        # A server that is stopped can, rarely, lose what it has accepted: nothing is on its way when that happens.
        relay.become(REFUSING)
        scene.wait_until_stored(value for exchange in relay.answered for value in exchange.values)
        with scene.zabbix.without_server():
            for end in (daemon.kill, daemon.stop):
                scene.wait_for_samples(2)
                end()
                daemon.start()
            scene.wait_for_samples(1)
        relay.become(WHOLE)


@pytest.mark.parametrize("passed", [0, 13, 700])
def test_the_network_is_cut_within_a_request(scene: Scene, passed: int) -> None:
    """A sample of which the server got nothing, the header, or some of the values, is sent again."""
    with Relay(scene.zabbix.trapper_port) as relay, scene.daemon(relay.port):
        relay.wait_until(lambda: len(relay.answered) >= 1)
        relay.become(Line(request_bytes=passed))
        relay.wait_until(lambda: len(relay.cuts) >= 1)
        relay.become(WHOLE)
    assert {bool(exchange.answer) for exchange in relay.cuts} == {False}


@pytest.mark.parametrize("passed", [0, 20])
def test_the_network_is_cut_before_the_answer(scene: Scene, passed: int) -> None:
    """What the server has stored, though it could not say so, is sent again, and stored once."""
    with Relay(scene.zabbix.trapper_port) as relay, scene.daemon(relay.port):
        relay.become(Line(answer_bytes=passed))
        relay.wait_until(lambda: len(relay.cuts) >= 1)
        relay.become(REFUSING)
        twice = relay.cuts[0].values
        scene.wait_until_stored(twice)
        relay.become(WHOLE)
    sent = [value for exchange in relay.answered for value in exchange.values]
    assert [value for value in twice if value not in sent] == []


def test_the_server_is_frozen(scene: Scene) -> None:
    """A server that hangs for longer than the timeout, and then reads every attempt at once, stores each sample once."""
    with scene.daemon(scene.zabbix.trapper_port, timeout="1s") as daemon:
        scene.wait_for_samples(1)
        with scene.zabbix.frozen_server():
            scene.wait_for_samples(5)
        assert "no whole answer within 1 s" in daemon.log


def test_the_database_is_stopped(scene: Scene) -> None:
    """What the server has accepted, or could not, while its database was stopped, is stored when that is back."""
    with scene.daemon(scene.zabbix.trapper_port):
        scene.wait_for_samples(1)
        logged = len(scene.zabbix.server_log)
        with scene.zabbix.without_database():
            scene.wait_for_samples(3)
            scene.zabbix.wait_until(
                lambda: "database is down" in scene.zabbix.server_log[logged:], "it has noticed", 30
            )


def test_other_destinations_are_dead_or_hang(scene: Scene) -> None:
    """A destination that refuses and one that takes connections in silence cost the good one nothing, not even time."""
    (dead,) = free_ports(1)
    with (
        Relay(scene.zabbix.trapper_port) as good,
        Relay(dead, SILENT) as hanging,
        scene.daemon(good.port, timeout="3s", dead=dead, hanging=hanging.port) as daemon,
    ):
        good.wait_until(lambda: len(good.answered) >= 6)
    assert f"127.0.0.1:{dead}: connection refused" in daemon.log
    assert f"127.0.0.1:{hanging.port}: connected, but no whole answer within 3 s" in daemon.log
    delays_s = [exchange.ended - value["clock"] for exchange in good.answered for value in exchange.values]
    assert max(delays_s) < 2  # one interval, and what a busy machine takes
