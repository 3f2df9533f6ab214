"""The values that travel through the house: frozen and pure. Imports nothing of ours."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORTS = range(1, 65536)
OTHER, KERNEL = "other", "kernel"  # owners of sockets: what is no service, and what no program has any more
CONTAINER = "container"  # the scope of a port whose connections are in a container's network namespace
TRAPPER_PORT = 10051  # registered with IANA as zabbix-trapper


class TcpState(IntEnum):
    """The kernel's numbers (TCP_ESTABLISHED and so on, include/net/tcp_states.h) under netstat's names."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPorts:
    """The ports to count sockets for: these local and remote ones and, with `listening`, those that somebody listens on.

    With `counters`, the kernel's own counters are wanted too; with `owners`, whose the sockets are; with `ephemeral`, how many
    local ports are in use towards one destination; with `namespaces`, the sockets of other network namespaces.
    """

    local: frozenset[int] = frozenset()
    remote: frozenset[int] = frozenset()
    listening: bool = False
    counters: bool = False
    owners: bool = False
    ephemeral: bool = False
    namespaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """The listening sockets of one local port: how many connections wait in the fullest one's accept queue, and its limit.

    `is_loopback`: every one of them is bound to a loopback address or device. `is_published`: every one is a container
    engine's, which sends the connections into a container. `peak` is the longest that the queue was since the sample before,
    `drops` how many connection requests the kernel has dropped there since they began to listen, all together; None where
    that is not known.
    """

    waiting: int = 0
    limit: int = 0
    is_loopback: bool = False
    is_published: bool = False
    peak: int | None = None
    drops: int | None = None

    @property
    def scope(self) -> str:
        """Return from where the port is reached, and what is behind it: loopback, container or any."""
        return "loopback" if self.is_loopback else CONTAINER if self.is_published else "any"

    @property
    def pused(self) -> float:
        """Return how full the queue is, in percent; over 100 by one connection at most, which the kernel takes past the limit."""
        return 100 * self.waiting / max(self.limit, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at the listening sockets of one port has found: the longest accept queue, and the drops of all of them."""

    waiting: int
    drops: int | None

    def beside(self, other: Look) -> Look:
        """Return what both together are: two sockets of one port."""
        drops = None if self.drops is None or other.drops is None else self.drops + other.drops
        return Look(waiting=max(self.waiting, other.waiting), drops=drops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of something there is on the whole machine, and the kernel's limit; None where the kernel does not say."""

    used: int | None = None
    limit: int | None = None

    @property
    def pused(self) -> float | None:
        """Return that in percent of the limit."""
        return 100 * self.used / self.limit if self.limit and self.used is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralPorts:
    """Local ports in use towards the one destination that uses most of them, and how many the kernel may use for each.

    `destination` is what it is: own address, remote address and remote port as text, "" where there is none.
    """

    used: int
    usable: int
    destination: str = ""

    @property
    def pused(self) -> float | None:
        """Return that in percent; None where the kernel may use none."""
        return 100 * self.used / self.usable if self.usable else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The host's TCP sockets at one moment.

    `clock` (s since 1970) and `ns` (1 to 999,999,999) are the moment at which the dump began; `duration_s` is how long
    the dump took; `states` holds every state, those without sockets as 0, and CLOSE only where it is known (the kernel is
    asked for it once a minute, and only while that is cheap). `local` and `remote` have the counts that were wanted and are
    not 0, by port and state; `listeners` those of every port, where any were wanted;
    `syn_sent_hosts` is the number of different remote addresses in SYN_SENT, `time_wait_limit` the kernel's own for
    sockets in TIME_WAIT, and `time_wait_sockets` those that count against it; `unhashed` are about those in no state, which a
    dump does not list, and `mptcp` the sockets of MPTCP by state (None where the kernel does not say);
    `counters` are the kernel's own since it started, by its names; `orphans` are sockets without a program, `memory` is in
    bytes; `nobody` is what is said of a port that is not listened on, and `gone` of those that were since the sample before;
    `ephemeral_ports` is the range from which it takes local ports for connections (empty where it does not say);
    `owners` has the sockets by state and by whose they are, and `port_owners` who listens on a port, where just one does (None
    and nothing where that is unknown); `destinations` is where the sockets in SYN_SENT want to go; `ephemeral` how many local
    ports are in use (None where they were not wanted, or the kernel has no range); `namespaces` has the sockets of the machine's
    other network namespaces by name and state (None where nobody passes them on, which `namespace_trouble` explains), `uncounted` those for which there was no time,
    `too_large` those of them that all the time is too little for, and `namespace_drops` the requests dropped there.
    """

    clock: int
    ns: int
    duration_s: float
    states: Mapping[TcpState, int]
    local: Mapping[tuple[int, TcpState], int] = field(default_factory=dict)
    remote: Mapping[tuple[int, TcpState], int] = field(default_factory=dict)
    listeners: Mapping[int, Listener] = field(default_factory=dict)
    syn_sent_hosts: int = 0
    time_wait_limit: int | None = None
    ephemeral_ports: range = range(0)
    counters: Mapping[str, int] = field(default_factory=dict)
    orphans: Usage = Usage()
    memory: Usage = Usage()
    nobody: Listener = Listener()
    gone: Mapping[int, Listener] = field(default_factory=dict)
    time_wait_sockets: int | None = None
    unhashed: int | None = None
    mptcp: Mapping[TcpState, int] | None = None
    owners: Mapping[TcpState, Mapping[str, int]] | None = None
    port_owners: Mapping[int, str] = field(default_factory=dict)
    destinations: Mapping[str, int] = field(default_factory=dict)
    ephemeral: EphemeralPorts | None = None
    namespaces: Mapping[str, Mapping[TcpState, int]] | None = None
    uncounted: frozenset[str] = frozenset()
    too_large: frozenset[str] = frozenset()
    namespace_drops: Mapping[str, int] = field(default_factory=dict)
    namespace_trouble: str | None = None

    def unit_on(self, port: int) -> str:
        """Return the unit that listens on a port; "" where none does alone, or what does is no unit."""
        owner = self.port_owners.get(port, "")
        return "" if owner in (OTHER, KERNEL) else owner

    def local_count(self, port: int, state: TcpState) -> int | None:
        """Return the sockets in a state on a local port that was wanted; None where that state is unknown."""
        return self.local.get((port, state), 0) if state in self.states else None

    def remote_count(self, port: int, state: TcpState) -> int | None:
        """Return the sockets in a state to a remote port that was wanted; None where that state is unknown."""
        return self.remote.get((port, state), 0) if state in self.states else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a sample reports besides the host as a whole: ports, units and namespaces, their states, and texts and discovery that are due.

    `discovery` has a value for each key that carries one, `texts` for some of the keys that say who or where; both are empty
    most of the time.
    """

    local: Sequence[int] = ()
    remote: Sequence[int] = ()
    states: Sequence[TcpState] = ()
    units: Sequence[str] = ()
    unit_states: Sequence[TcpState] = ()
    namespaces: Sequence[str] = ()
    namespace_states: Sequence[TcpState] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    discovery: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The daemon about itself: values queued for the worst destination, dropped by limits or damage, and rejected by Zabbix.

    `wants_discovery`: a destination asks for discovery anew.
    """

    uptime_s: int = 0
    backlog: int = 0
    dropped: int = 0
    rejected: int = 0
    wants_discovery: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One value as Zabbix takes it: technical host name, item key, value as text, and the moment of its sample.

    `port` is the port, unit or namespace of which it is, as the key says it: "443", "remote 5432", "nginx.service", "netns web",
    "" for one of the host as a whole.
    """

    host: str
    key: str
    value: str
    clock: int
    ns: int
    port: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a chunk at one destination, in values: accepted and rejected are settled, the others are sent again.

    `kept` are those for which delivery failed, `postponed` those of a host that the destination does not know yet.
    """

    accepted: int = 0
    rejected: int = 0
    kept: int = 0
    postponed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive samples of one host, oldest first, to be sent in one request; `last` names the newest to the spool."""

    items: tuple[Item, ...]
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One trapper: a host name or an IP address, and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Node:
        """Return the node of `name`, `name:port`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port`.

        Raises ValueError, which says what is expected.
        """
        form = r"\[(?P<v6>[^]\s]+)\](:(?P<p6>[0-9]+))?|(?P<bare>[^\s\[\]]*:[^\s\[\]]*:[^\s\[\]]*)"
        form += r"|(?P<name>[^\s:/\[\],;]+)(:(?P<port>[0-9]+))?"
        match = re.fullmatch(form, text) if isinstance(text, str) and text.isprintable() else None
        port = int((match["p6"] or match["port"] or TRAPPER_PORT) if match else 0)
        if not match or port not in PORTS:
            raise ValueError("expected a name or an address, with a port from 1 to 65535 or without (then 10051)")
        if not match["name"]:
            try:
                ipaddress.IPv6Address(match["v6"] or match["bare"])
            except ipaddress.AddressValueError as error:
                raise ValueError(f"expected a name or an address, but for an IPv6 address: {error}") from error
        return cls(address=match["v6"] or match["bare"] or match["name"], port=port)
