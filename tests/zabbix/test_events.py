"""What happens between the samples becomes a problem in a real Zabbix: one for one trouble, and it ends.

Sample after sample is pushed as the daemon sends it, what seldom changes left out, with clocks of the last half hour.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sender.model import Item, Outcome
from sender.sampling.rare import RareValues
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab.zabbix_stack import ZabbixStack

TEMPLATE = "TCP states by Zabbix trapper"
INTERVAL, SAMPLES = 30, 64
DROPS, PUSED, QUEUE_MAX = "tcp.listen.drops[443]", "tcp.listen.queue.pused[443]", "tcp.listen.queue.max[443]"
RATE = "tcp.listen.drops.rate[443]"
OF_HOST_DROPS = "tcp.counter[ListenDrops]"
OF_PORT, OF_HOST = "TCP port 443 https: ", "TCP: "


def grows(by: float, *, begin: int, end: int, every: int = 1, start: float = 1000) -> Callable[[int], float]:
    """Return a counter that grows by so much with each sample of a time, or with every so manieth."""
    return lambda n: start + by * len(range(begin, min(n + 1, end), every))


def level(value: float, *, begin: int, end: int) -> Callable[[int], float]:
    """Return a figure that has a value for a time, else 0."""
    return lambda n: value if begin <= n < end else 0


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a host's figures are at its nth sample, and the problems that come of it, in their order."""

    host: str
    figures: Mapping[str, Callable[[int], float]]
    problems: Sequence[str]
    late: bool = False  # whether all samples come at once, when all is over

    def values(self, n: int) -> dict[str, str]:
        """Return all values of the nth sample."""
        usual = {
            "tcp.status[TOTAL]": 100,
            "tcp.counter[OutSegs]": 5000 * n,
            "tcp.counter[RetransSegs]": 0,
            "tcp.counter[ListenOverflows]": 0,
            PUSED: 0,
            QUEUE_MAX: 128,
            DROPS: 0,
        }
        figures = {key: of(n) for key, of in self.figures.items()}
        of_host = {OF_HOST_DROPS: figures.get(DROPS, 0)}  # there is no other port
        return {key: f"{value:g}" for key, value in {**usual, **of_host, **figures}.items()}


FULL = {PUSED: level(100.78, begin=14, end=20), DROPS: grows(20, begin=14, end=20)}
BURST = {DROPS: grows(30, begin=14, end=15)}
FLOOD = {
    "tcp.counter[SyncookiesSent]": grows(5000, begin=14, end=50),
    "tcp.status[SYN_RECV]": level(900, begin=14, end=50),
    "tcp.status[SYN_RECV,443]": level(129, begin=14, end=50),
    "tcp.counter[RetransSegs]": grows(1000, begin=14, end=50),
}
STORIES = (
    Story(host="a queue stays full", figures=FULL, problems=[OF_PORT + "Accept queue is full"]),
    Story(host="a pause between two samples", figures=BURST, problems=[OF_PORT + "Requests are dropped"]),
    Story(
        host="a pause that one sample saw",
        figures={PUSED: level(100.78, begin=14, end=15), **BURST},
        problems=[OF_PORT + "Requests are dropped"],
    ),
    Story(
        host="pauses without end",
        figures={DROPS: grows(8, begin=14, end=50, every=2)},
        problems=[OF_PORT + "Requests are dropped", OF_PORT + "Requests are dropped all the time"],
    ),
    Story(
        host="pauses with cookies",
        figures={
            **BURST,
            "tcp.counter[SyncookiesSent]": grows(300, begin=14, end=15),
            "tcp.counter[ListenOverflows]": grows(3000, begin=14, end=15),
        },
        problems=[OF_PORT + "Requests are dropped"],
    ),
    Story(host="a flood on an ordinary backlog", figures=FLOOD, problems=[OF_HOST + "SYN cookies are sent"]),
    Story(
        host="a flood without cookies",
        figures={
            "tcp.counter[TCPReqQFullDrop]": grows(500, begin=14, end=40),
            DROPS: grows(500, begin=14, end=40),
            "tcp.status[SYN_RECV,443]": level(129, begin=14, end=40),
        },
        problems=[OF_HOST + "Half-open connections overflow, requests are dropped"],
    ),
    Story(
        host="a service starts anew",
        figures={DROPS: lambda n: 500 if n < 14 else 3 * (n > 20), OF_HOST_DROPS: lambda n: 500 + 3 * (n > 20)},
        problems=[],
    ),
    Story(
        host="requests are repeated while they are half-open",
        figures={DROPS: grows(20, begin=14, end=50), OF_HOST_DROPS: lambda _: 7},
        problems=[],
    ),
    Story(
        host="a queue was full and requests are repeated",
        figures={**FULL, DROPS: grows(20, begin=14, end=SAMPLES), OF_HOST_DROPS: grows(20, begin=14, end=20)},
        problems=[OF_PORT + "Accept queue is full"],
    ),
    Story(
        host="segments are lost",
        figures={"tcp.counter[RetransSegs]": grows(400, begin=0, end=44)},
        problems=[OF_HOST + "Many segments are sent again"],
    ),
    Story(host="a pause told late", figures=BURST, problems=[OF_PORT + "Requests are dropped"], late=True),
)


class Teller:
    """Tells all stories, sample by sample."""

    def __init__(self, zabbix: ZabbixStack) -> None:
        self._zabbix = zabbix
        self._uplink = Uplink(section.read(Destination, {"nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}))
        self._begin = int(time.time()) - (SAMPLES + 1) * INTERVAL
        self._rare = {story.host: RareValues() for story in STORIES}
        self.ids = {story.host: zabbix.create_host(story.host, [TEMPLATE]) for story in STORIES}

    def tell(self) -> None:
        """Discover the port on every host, and push one sample after the other."""
        self._zabbix.wait_for_items(STORIES[-1].host)
        port = [{"{#PORT}": "443", "{#SERVICE}": "https", "{#NAME}": "443 https", "{#SCOPE}": "any"}]
        for story in STORIES:
            self._send([self._item(story.host, "tcp.port.discovery", json.dumps(port), 0)])
        search = {"hostids": list(self.ids.values()), "search": {"key_": RATE}, "countOutput": True}
        self._zabbix.wait_until(
            lambda: int(self._zabbix.api.item.get(**search)) == len(STORIES), "all have the items of the port", 60
        )
        self._zabbix.wait_for_items(STORIES[-1].host)
        for n in range(SAMPLES):
            for story in STORIES:
                if not story.late:
                    self._send(self._sample(story, n))
            self._wait(n)
        for story in STORIES:
            if story.late:
                self._send([item for n in range(SAMPLES) for item in self._sample(story, n)])
        self._zabbix.wait_until(lambda: not any(self.open().values()), "all problems are over", 60)

    def problems(self, host: str) -> list[str]:
        """Return the problems that began, in their order."""
        events = self._zabbix.api.event.get(hostids=self.ids[host], value=1, output=["name"], sortfield=["eventid"])
        return [event["name"].partition(" (")[0] for event in events]

    def open(self) -> dict[str, int]:
        """Return how many triggers of each host are in problem state."""
        found = {
            host: {"hostids": known, "filter": {"value": 1}, "countOutput": True} for host, known in self.ids.items()
        }
        return {host: int(self._zabbix.api.trigger.get(**question)) for host, question in found.items()}

    def history(self, host: str, key: str) -> list[float]:
        """Return the values of an item of floating-point numbers, in their order."""
        (item,) = self._zabbix.api.item.get(hostids=self.ids[host], filter={"key_": key}, output=["itemid"])
        found: list[dict[str, Any]] = self._zabbix.api.history.get(
            itemids=item["itemid"], history=0, sortfield="clock", output=["value"]
        )
        return [float(value["value"]) for value in found]

    def _sample(self, story: Story, n: int) -> tuple[Item, ...]:
        items = [self._item(story.host, key, value, n) for key, value in story.values(n).items()]
        return self._rare[story.host].due(items, n * INTERVAL)

    def _item(self, host: str, key: str, value: str, n: int) -> Item:
        return Item(host=host, key=key, value=value, clock=self._begin + n * INTERVAL, ns=7)

    def _send(self, items: Sequence[Item]) -> None:
        assert self._uplink.send(items) == Outcome(accepted=len(items))

    def _wait(self, n: int) -> None:
        """Wait until the server has judged the nth sample of all hosts: the next one must not come to it together."""
        told = [story.host for story in STORIES if not story.late]
        steady = {"hostids": [self.ids[host] for host in told], "filter": {"key_": ["tcp.status[TOTAL]", PUSED]}}
        clock = str(self._begin + n * INTERVAL)

        def is_known() -> bool:
            items = self._zabbix.api.item.get(**steady, output=["lastclock"])
            return {item["lastclock"] for item in items} == {clock}

        self._zabbix.wait_until(is_known, f"the server knows sample {n}", 30)


@pytest.fixture(scope="module")
def teller(zabbix: ZabbixStack) -> Teller:
    """Return the one who has told all stories."""
    teller = Teller(zabbix)
    teller.tell()
    return teller


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.host)
def test_one_trouble_is_one_problem(teller: Teller, story: Story) -> None:
    """The problems are those that the story has, each raised once, and all are over at its end."""
    assert teller.problems(story.host) == list(story.problems)
    assert teller.open()[story.host] == 0


def test_a_rate_is_that_of_its_interval(teller: Teller) -> None:
    """Thirty drops between two samples 30 s apart are one a second, however long the counter was not sent before."""
    assert teller.history("a pause between two samples", RATE)[-2:] == [1, 0]


def test_a_rate_is_never_negative(teller: Teller) -> None:
    """A counter that begins anew makes no rate until it has two values."""
    rates = teller.history("a service starts anew", RATE)
    assert rates[-2:] == [3 / INTERVAL, 0]
    assert not any(rates[:-2])


def test_the_share_of_segments_sent_again_is_calculated(zabbix: ZabbixStack, teller: Teller) -> None:
    """It is a number between 0 and 100 on a host that sends, and 0 where nothing is sent again."""
    question = {"filter": {"key_": "tcp.retrans.pshare"}, "output": ["lastvalue", "lastclock", "state", "error"]}

    def share() -> Any:
        return zabbix.api.item.get(hostids=teller.ids["a pause told late"], **question)[0]

    zabbix.wait_until(lambda: int(share()["lastclock"]) > 0, "the server has calculated the share", 150)
    assert float(share()["lastvalue"]) == 0


def test_the_template_can_be_unlinked_and_cleared(zabbix: ZabbixStack, teller: Teller) -> None:
    """From a host with ports, too: no trigger of a port depends on one of the host, for which Zabbix would refuse it."""
    host_id = teller.ids["a flood without cookies"]
    (host,) = zabbix.api.host.get(hostids=host_id, selectParentTemplates=["templateid"])
    of_host = {"hostids": host_id, "countOutput": True}
    assert int(zabbix.api.trigger.get(**of_host)) > len(STORIES)
    zabbix.api.host.update(hostid=host_id, templates_clear=host["parentTemplates"])
    assert [int(found.get(**of_host)) for found in (zabbix.api.trigger, zabbix.api.item)] == [0, 0]
