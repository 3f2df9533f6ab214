"""The documents' arithmetic of values: it follows from the table of keys, and each figure that they give is computed here."""

from __future__ import annotations

import math
import re

import pytest

from lab import documents
from sender.items import (
    DISCOVERIES,
    KEYS,
    LOCAL,
    QUEUE_KEYS,
    REMOTE,
    TCP_COUNTERS,
    TCP_EXT_COUNTERS,
    TEXTS,
    is_rare,
)
from sender.settings.schema import PortSettings, ServiceSettings

STATES = [state.name for state in PortSettings().states]
SIZING, SCALE = documents.text("docs/sizing.md"), documents.text("docs/scale.md")

DAY_S, HOUR_S = 86_400, 3600
HISTORY_D, TRENDS_D = 14, 365
BYTES = 90  # Zabbix's rule for a value, and for an hour's trend of an item


def of_port(where: str) -> list[str]:
    """Return the keys that are sent for each port with the default states."""
    keys = DISCOVERIES[where]
    return [key for key in keys if "status[" not in key or key.split("[")[1].split(",")[0] in STATES]


HOST = [key for key in KEYS if not is_rare(key)]
RARE = [key for key in KEYS if is_rare(key)]
PORT = [key for key in of_port(LOCAL) if not is_rare(key)]
PORT_RARE = [key for key in of_port(LOCAL) if is_rare(key)]
PORT_REMOTE = of_port(REMOTE)
COUNTERS = [key for key in KEYS if key.startswith("tcp.counter[")]
RATES = [key for key in HOST if key in COUNTERS]  # the template makes one of each, for each sample
SHARES = DAY_S // 60  # of segments sent again: it makes one a minute
# With the figures that it makes of counters.
ITEMS, PORT_ITEMS = len(KEYS) + len(TEXTS) + len(COUNTERS), len(of_port(LOCAL)) + 1
BEFORE = 90  # values of a host with ten ports, before there were counters: a quarter more may be sent


def values(ports: int) -> int:
    """Return the steady values of a sample with so many local ports."""
    return len(HOST) + ports * len(PORT)


def rows(ports: int, interval_s: int) -> int:
    """Return the values that Zabbix stores of a host in a day."""
    return (values(ports) + len(RATES)) * DAY_S // interval_s + SHARES


def history_mb(ports: int, interval_s: int) -> float:
    """Return what they take for as long as the template keeps them."""
    return rows(ports, interval_s) * HISTORY_D * BYTES / 1e6


def trends_mb(ports: int) -> float:
    """Return what a year of trends takes: of all but the text, and of the counters' rates in their place."""
    return (len(KEYS) - 1 + ports * len(of_port(LOCAL))) * 24 * TRENDS_D * BYTES / 1e6


def row(text: str, title: str) -> list[str]:
    """Return the figures in a table's row."""
    (found,) = re.findall(rf"^\| {re.escape(title)} \|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def prose(text: str) -> str:
    """Return a document's text without its line breaks."""
    return " ".join(text.split())


def test_a_host_with_ten_ports_sends_little_more_than_before() -> None:
    """At most a quarter above what it was: of the counters, those that seldom change are rare."""
    assert values(10) <= 1.25 * BEFORE
    assert values(10) == 105


def test_rare_keys_are_of_what_seldom_changes() -> None:
    """The steady ones are the levels; of a port, its queue and its states."""
    assert not [key for key in RARE if key.startswith("tcp.status[")]
    assert sorted(COUNTERS) == sorted([*RATES, *(key for key in RARE if key in COUNTERS)])
    assert (len(RATES), len(COUNTERS)) == (len(TCP_COUNTERS), len(TCP_COUNTERS) + len(TCP_EXT_COUNTERS))
    assert [key for key in QUEUE_KEYS if is_rare(key)] == PORT_RARE


@pytest.mark.parametrize("text", [SIZING, SCALE], ids=["sizing", "scale"])
def test_the_values_of_a_sample(text: str) -> None:
    """Both pages say the same of a host, a port and what is rare."""
    said = prose(text)
    assert re.search(rf"A sample (has|is) at most {len(HOST)} values", said)
    assert re.search(rf"Each local port adds {len(PORT)}\b", said)
    assert re.search(rf"[Ee]ach remote port (adds )?{len(PORT_REMOTE)}\b", said)
    assert re.search(rf"[Ee]ach unit (adds )?{len(ServiceSettings().states)}\b", said)
    assert re.search(rf"\b{len(TEXTS)} texts\b", said)
    assert f"{len(RARE)} of the host and {len(PORT_RARE)} of each local port" in said
    for ports in (0, 10, 50):
        rare = len(RARE) + ports * len(PORT_RARE)
        assert rare / (values(ports) * HOUR_S / 30) < 0.005, "less than half a percent"


def test_what_a_sample_is_made_of() -> None:
    """The groups that scale.md counts are those of the table of keys."""
    groups = {
        "eleven states": 11,
        "their total": 1,
        "the addresses in SYN_SENT": 1,
        "the sockets against the limit of TIME_WAIT": 1,
        "those in no state": 1,
        "two of MPTCP": 2,
        "four of orphaned sockets and TCP memory": 4,
        "nine of the kernel's counters": len(RATES),
        "two of ephemeral ports": 2,
        "three about the daemon": sum(key.startswith("tcp.sender.") for key in HOST),
    }
    assert sum(groups.values()) == len(HOST)
    assert f"{', '.join(list(groups)[:-1])}, and {list(groups)[-1]}" in prose(SCALE)
    queue = [key for key in PORT if key in QUEUE_KEYS]
    assert (len(STATES), len(queue)) == (4, 3)
    assert "(four states, three of the accept queue)" in SCALE


def test_the_table_of_sizing() -> None:
    """Values per sample, per hour and per second, for no ports, ten and fifty."""
    assert row(SIZING, "values per sample") == [str(values(ports)) for ports in (0, 10, 50)]
    rare = [str(2 * (len(RARE) + ports * len(PORT_RARE))) for ports in (0, 10, 50)]  # the next sample has them, too
    assert row(SIZING, "rare values per hour") == rare
    per_second = [f"{values(ports) / 30:.1f}" for ports in (0, 10, 50)]
    assert row(SIZING, "values per second and host, at the server") == per_second


def test_the_server_of_sizing() -> None:
    """What a host without ports takes there."""
    said = prose(SIZING)
    assert f"{history_mb(0, 30) / HISTORY_D:.0f} MB of history a day, {history_mb(0, 30):.0f} MB in" in said
    assert f"{trends_mb(0):.0f} MB of trends in a year" in said
    by_setting = [key for key in HOST if key in COUNTERS or key.startswith(("tcp.orphans", "tcp.memory"))]
    assert f"`counters: false` saves {len(by_setting)} values per sample" in said


def test_the_values_per_second_of_scale() -> None:
    """Of so many hosts, at so many intervals, and the formula."""
    formula = f"hosts x ({len(HOST)} + {len(PORT)} x local ports + {len(PORT_REMOTE)} x remote ports) / interval"
    assert formula in SCALE
    for hosts in (1_000, 10_000, 100_000, 1_000_000):
        ways = ((0, 30), (10, 30), (0, 60), (0, 300))
        expected = [f"{hosts * values(ports) / interval_s:,.0f}" for ports, interval_s in ways]
        assert row(SCALE, f"{hosts:,}") == [*expected, f"{hosts / 30:,.0f}"]
    unit = len(ServiceSettings().states)
    assert f"With three ports and one unit a host sends {values(3) + unit}." in prose(SCALE)
    assert f"Ten ports are {values(10) - values(0)} of {values(10)} values" in SCALE


@pytest.mark.parametrize(
    ("title", "ports", "interval_s"),
    [("30 s, 10 ports", 10, 30), ("30 s, none", 0, 30), ("60 s, none", 0, 60), ("5 min, none", 0, 300)],
)
def test_the_storage_of_scale(title: str, ports: int, interval_s: int) -> None:
    """Rows a day, history and trends of a host; a million of them."""
    history, trends = history_mb(ports, interval_s), trends_mb(ports)
    assert row(SCALE, title) == [
        f"{rows(ports, interval_s):,}",
        f"{history:.0f} MB",
        f"{trends:.0f} MB",
        f"{history + trends:.0f} TB",
    ]


def test_a_million_hosts() -> None:
    """The table, and what is said of it before and after."""
    million, ways = 1_000_000, (0, 10)
    items = [ITEMS + ports * PORT_ITEMS for ports in ways]
    per_second = [million * values(ports) / 30 for ports in ways]
    hosts = [million / each for each in items]
    at_proxy = [5_000, 2_000]
    assert row(SCALE, "items") == [f"{million * each:,}" for each in items]
    assert row(SCALE, "values per second") == [f"{each:,.0f}" for each in per_second]
    assert row(SCALE, "servers of 1,000,000 items, each with its database") == [f"{each:,}" for each in items]
    assert row(SCALE, "hosts per server") == [f"{each:,.0f}" for each in hosts]
    at_server = [f"{each / servers:,.0f}" for each, servers in zip(per_second, items, strict=True)]
    assert row(SCALE, "values per second at a server") == at_server
    proxies = [f"{math.ceil(each / of) + 1}" for each, of in zip(hosts, at_proxy, strict=True)]
    assert row(SCALE, "proxies per server, of 5,000 and 2,000 hosts, and one to spare") == proxies
    at_each = [f"{of * values(ports) / 30:,.0f}" for of, ports in zip(at_proxy, ways, strict=True)]
    assert row(SCALE, "values per second at a proxy") == at_each
    storage = [f"{history_mb(ports, 30) + trends_mb(ports):.0f} TB" for ports in ways]
    assert row(SCALE, "history and trends in all") == storage
    said = prose(SCALE)
    assert f"A host has {ITEMS} items and {PORT_ITEMS} for each port" in said
    assert f"{hosts[0]:,.0f} of our hosts without ports, or {hosts[1]:,.0f} with ten, which send" in said
    assert f"which send {at_server[0]} or {at_server[1]} values per second at 30 s" in said
    assert f"two cores for a server's {at_server[1]}" in said
    storage_60 = f"{history_mb(0, 60) + trends_mb(0):.0f} TB"
    assert f"it is {million * values(0) / 60:,.0f} values per second and {storage_60}" in said
