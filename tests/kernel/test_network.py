"""An uplink in networks that fail, each in a network namespace of the test's own: routes, ports, names. Needs root."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lab.namespace import Namespace
from lab.trapper import Trapper
from lab.watched_daemon import wait_until
from sender.errors import DeliveryError
from sender.model import Item, Outcome
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ITEMS = [Item(host="web-01", key="key", value="1", clock=1_700_000_000, ns=1)]
LONG = [Item(host="web-01", key="key", value="x" * 20_000_000, clock=1_700_000_000, ns=1)]
ROUTES = "Check this host's routes (`ip route get`) and firewall."

# A pair of which one end is nobody's: what is sent there is swallowed in silence, as by a firewall that drops. Its
# neighbours are given, so that the kernel does not look for them and give up.
SETUP = """
link set lo up
link add name silent type veth peer name deaf
link set silent up
link set deaf up
addr add 192.0.2.254/24 dev silent
addr add 2001:db8::fe/64 dev silent nodad
neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 dev silent
neigh add 192.0.2.3 lladdr 02:00:00:00:00:09 dev silent
neigh add 192.0.2.4 lladdr 02:00:00:00:00:09 dev silent
neigh add 192.0.2.5 lladdr 02:00:00:00:00:09 dev silent
neigh add 2001:db8::1 lladdr 02:00:00:00:00:09 dev silent
route add unreachable 198.51.100.1
route add blackhole 198.51.100.2
route add prohibit 198.51.100.3
-6 route add unreachable 2001:db8:1::1
-6 route add blackhole 2001:db8:1::2
-6 route add prohibit 2001:db8:1::3
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """Yield a namespace with routes that lead nowhere, in each of the ways that Linux has."""
    with Namespace() as namespace:
        for line in SETUP.strip().splitlines():
            namespace.run("ip", *line.split())
        # An IPv6 route comes into force a moment after it was added, when a kernel worker has had its turn.
        route = ("sh", "-c", "ip -6 route get 2001:db8::1 || true")
        wait_until(lambda: "dev silent" in namespace.run(*route), "the route to 2001:db8::1 is in force")
        yield namespace


def error(namespace: Namespace, *nodes: str, items: list[Item] = ITEMS) -> str:
    """Return what a send from within that must fail says."""
    subject = Uplink(section.read(Destination, {"nodes": nodes, "timeout": "1s", "compression": False}))
    begin = time.monotonic()
    with pytest.raises(DeliveryError) as raised:
        namespace.call(lambda: subject.send(items))
    assert time.monotonic() - begin < 5
    return str(raised.value)


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ("198.51.100.1:10051", f"no connection: No route to host. {ROUTES}"),
        ("198.51.100.2:10051", f"no connection: Invalid argument. {ROUTES}"),
        ("198.51.100.3:10051", f"no connection: Permission denied. {ROUTES}"),
        ("198.51.100.4:10051", f"no connection: Network is unreachable. {ROUTES}"),
        ("[2001:db8:1::1]:10051", f"no connection: No route to host. {ROUTES}"),
        ("[2001:db8:1::2]:10051", f"no connection: Invalid argument. {ROUTES}"),
        ("[2001:db8:1::3]:10051", f"no connection: Permission denied. {ROUTES}"),
        ("[2001:db8:2::1]:10051", f"no connection: Network is unreachable. {ROUTES}"),
        ("192.0.2.1:10051", "no connection within 1 s. Is a firewall in between?"),
        ("[2001:db8::1]:10051", "no connection within 1 s. Is a firewall in between?"),
    ],
)
def test_no_way_there(namespace: Namespace, node: str, says: str) -> None:
    """Whatever the kernel says to a route that leads nowhere is one sentence that names the node."""
    assert error(namespace, node) == f"{node}: {says}"


def test_the_next_node_where_no_way_leads_to_the_first(namespace: Namespace) -> None:
    """Unreachable networks and silent hosts pass the turn to the next node, as a refused connection does."""
    nodes = ["198.51.100.1", "[2001:db8:1::2]", "192.0.2.1"]

    def outcome() -> Outcome:
        with Trapper() as trapper:
            return Uplink(section.read(Destination, {"nodes": [*nodes, trapper.node], "timeout": "1s"})).send(ITEMS)

    assert namespace.call(outcome) == Outcome(accepted=1)


NAMES = """
192.0.2.1 first-is-silent all-are-dead all-are-silent
192.0.2.3 all-are-silent
192.0.2.4 all-are-silent
192.0.2.5 all-are-silent
2001:db8:1::1 all-are-dead first-is-unreachable
127.0.0.1 first-is-silent first-is-unreachable only-v4
"""
SEND = """
import sys
from sender.settings import section
from sender.settings.schema import Destination
from sender.errors import DeliveryError
from sender.model import Item
from sender.zabbix.uplink import Uplink
node, *source_ip = sys.argv[1:]
settings = {"nodes": [node], "timeout": "2s"} | ({"source_ip": source_ip[0]} if source_ip else {})
try:
    print(Uplink(section.read(Destination, settings)).send([Item(host="h", key="k", value="1", clock=1, ns=1)]))
except DeliveryError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "source_ip", "says"),
    [
        ("first-is-silent", None, "Outcome(accepted=1, rejected=0, kept=0, postponed=0)"),
        ("first-is-unreachable", None, "Outcome(accepted=1, rejected=0, kept=0, postponed=0)"),
        ("only-v4", "127.0.0.7", "Outcome(accepted=1, rejected=0, kept=0, postponed=0)"),
        ("only-v4", "::1", "it has no address of the IP version of source_ip ::1. Check `nodes` and `source_ip`."),
        ("all-are-silent", None, "no connection within 2 s. Is a firewall in between?"),
        ("all-are-dead", None, f"no connection within 2 s, and no connection: No route to host. {ROUTES} Is a firewall in between?"),
    ],
)  # fmt: skip
def test_a_name_with_several_addresses(
    namespace: Namespace, tmp_path: Path, name: str, source_ip: str | None, says: str
) -> None:
    """Each address has its share of one timeout; where all fail, each reason is given, once."""
    hosts = tmp_path / "hosts"
    hosts.write_text(NAMES)
    trapper = namespace.call(Trapper)
    with trapper:
        node = f"{name}:{trapper.port}"
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, str(hosts), sys.executable, "-I", "-c", SEND, node]
        begin = time.monotonic()
        said = namespace.run(*command, *([source_ip] if source_ip else []))
        assert time.monotonic() - begin < 6  # and not four times 2 s
    assert said.strip() == (says if says.startswith("Outcome") else f"{node}: {says}")


def test_a_network_that_ends_in_the_middle_of_the_request() -> None:
    """Where the link goes away while the request is sent, the timeout ends the send."""
    with Namespace() as namespace:
        namespace.run("ip", "link", "set", "lo", "up")

        def cut(_: object) -> bytes:
            namespace.run("ip", "link", "set", "lo", "down")
            return b""

        trapper = namespace.call(lambda: Trapper(cut, reads=1_000_000))
        with trapper:
            said = error(namespace, trapper.node, items=LONG)
    assert said == f"{trapper.node}: connected, but no whole answer within 1 s. Is it overloaded?"


def test_no_port_left_to_connect_from() -> None:
    """Where all local ports are taken, which a host full of TIME_WAIT knows, the error says where to look."""
    with Namespace() as namespace:
        namespace.run("ip", "link", "set", "lo", "up")
        trapper = namespace.call(Trapper)
        namespace.run("sh", "-c", "echo 1030 1030 > /proc/sys/net/ipv4/ip_local_port_range")
        with trapper, namespace.call(lambda: socket.create_connection(("127.0.0.1", trapper.port))):
            said = error(namespace, trapper.node)
    assert said.endswith("this host has no address or port left to connect from. Check net.ipv4.ip_local_port_range.")


def test_a_host_without_ipv6() -> None:
    """Where IPv6 is switched off, an IPv6 node is an error in words."""
    with Namespace() as namespace:
        namespace.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
        namespace.run("ip", "link", "set", "lo", "up")
        assert "[2001:db8::1]:10051: " in error(namespace, "2001:db8::1")


def test_a_server_that_is_frozen(namespace: Namespace) -> None:
    """The kernel takes connections for a stopped server: each send ends with its timeout."""
    listener = namespace.call(lambda: socket.create_server(("127.0.0.1", 0)))
    with listener:
        node = f"127.0.0.1:{listener.getsockname()[1]}"
        assert error(namespace, node) == f"{node}: connected, but no whole answer within 1 s. Is it overloaded?"
