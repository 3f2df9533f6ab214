"""An hour in which a web server goes wrong, as the daemon would have sampled it. Pure: the same end, the same hour.

Users come and go on port 443. From minute 12 on a batch job opens and closes short connections to a database elsewhere,
which stay in TIME_WAIT and take up most local ports towards it. From minute 20 on the application on port 8080 no longer closes what its clients have closed:
CLOSE_WAIT. In the end it no longer accepts connections either, and its accept queue fills. It is backend.service, and the
batch job is reports.service. Of two containers one has clients, of whom its program keeps some waiting from minute 35 on.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from sender import __version__
from sender.items import EPHEMERAL_TOP, NAMESPACES, NETNS, TCP_COUNTERS, TCP_EXT_COUNTERS, TOPS, UNIT
from sender.model import KERNEL, OTHER, Item, TcpState
from sender.sampling.tops import top

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTES, STEP_S = 60, 30
BATCH, BATCH_ENDS, LEAK, STALL = 12, 19, 20, 45  # minutes in which something begins, or ends
BATCH_SOCKETS, LEAK_RATE, STALL_RATE = 900, 14, 16  # a level, and connections a minute

SERVICES = {443: "https", 6379: "redis", 8080: "http-alt"}
LOOPBACK = {6379}
BACKLOG = {443: 511, 6379: 511, 8080: 128}
DATABASE, DATABASE_ADDRESS, OWN_ADDRESS = 5432, "192.0.2.20", "192.0.2.10"  # a remote port
POOL = 24  # connections that the application keeps open to it
LOCAL_PORTS = 1060  # net.ipv4.ip_local_port_range, as narrow as a firewall wants it
SHOP, MAIL = "shop", "mail"  # containers
PAUSES = 35  # the minute in which the shop begins to pause
NGINX, REDIS, BACKEND, REPORTS = "nginx.service", "redis-server.service", "backend.service", "reports.service"
EXPORTER, SSH = "prometheus-node-exporter.service", "ssh.service"
UNITS = (BACKEND, NGINX, OTHER, EXPORTER, REDIS, REPORTS, SSH)
STATES = (TcpState.ESTABLISHED, TcpState.SYN_RECV, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)  # those told by port
TIME_WAIT_LIMIT = 65536
UPTIME_S = 3 * 86400
STALLED = 8080
A_SECOND = {
    "ActiveOpens": 3,
    "PassiveOpens": 42,
    "AttemptFails": 0.04,
    "EstabResets": 0.3,
    "InSegs": 910,
    "OutSegs": 1040,
    "RetransSegs": 2.2,
    "OutRsts": 0.6,
    "TCPSynRetrans": 0.1,
}
"""What the kernel counts."""


def discoveries(host: str, clock: int) -> tuple[Item, ...]:
    """Return ports and services, to be sent before the hour: their items exist only once these are known."""
    local = [
        {
            "{#PORT}": str(port),
            "{#SERVICE}": name,
            "{#NAME}": f"{port} {name}",
            "{#SCOPE}": "loopback" if port in LOOPBACK else "any",
        }
        for port, name in SERVICES.items()
    ]
    remote = [{"{#PORT}": str(DATABASE), "{#SERVICE}": "postgresql", "{#NAME}": f"{DATABASE} postgresql"}]
    units = [{UNIT: unit} for unit in UNITS]
    containers = [{NETNS: name} for name in (MAIL, SHOP)]
    lists = {
        "tcp.port.discovery": local,
        "tcp.remote.discovery": remote,
        "tcp.service.discovery": units,
        NAMESPACES: containers,
    }
    return tuple(Item(host=host, key=key, value=json.dumps(ports), clock=clock, ns=1) for key, ports in lists.items())


def hour(host: str, end: int) -> Iterator[tuple[Item, ...]]:
    """Every sample of the hour until `end` (s since 1970), oldest first."""
    chance = Random(443)  # noqa: S311  the same for everybody
    last = end - end % STEP_S
    for clock in range(last - MINUTES * 60, last + 1, STEP_S):
        minute = MINUTES - (last - clock) / 60
        ns = chance.randint(500_000, 3_000_000)  # after the tick
        values = _values(minute, chance)
        yield tuple(Item(host=host, key=key, value=str(value), clock=clock, ns=ns) for key, value in values.items())


def _values(minute: float, chance: Random) -> dict[str, str | int]:
    ports, database, rest = _ports(minute, chance), _database(minute, chance), _rest(chance)
    states = sum((*ports.values(), database), rest)
    values: dict[str, str | int] = {f"tcp.status[{state.name}]": states[state] for state in TcpState}
    values["tcp.status[TOTAL]"] = sum(states.values())
    for port, counts in ports.items():
        values |= {f"tcp.status[{state.name},{port}]": counts[state] for state in STATES}
        values |= _queue(port, minute, chance)
    values |= {f"tcp.remote.status[{state.name},{DATABASE}]": database[state] for state in STATES}
    return {
        **values,
        **_owners(ports, database, rest),
        **_local_ports(database),
        **_containers(minute, chance),
        "tcp.syn_sent.hosts": min(states[TcpState.SYN_SENT], 1),
        "tcp.sockets.time_wait": states[TcpState.TIME_WAIT] + states[TcpState.FIN_WAIT2],
        "tcp.sockets.unhashed": states[TcpState.CLOSE] + chance.randint(0, 3),
        "tcp.mptcp.status[ESTABLISHED]": 0,
        "tcp.mptcp.status[CLOSE_WAIT]": 0,
        "tcp.limit[TIME_WAIT]": TIME_WAIT_LIMIT,
        **_machine(minute, chance),
        "tcp.sender.version": __version__,
        "tcp.sender.uptime": UPTIME_S + int(minute * 60),
        "tcp.sender.sample.time": f"{0.002 + chance.random() / 1000:.6f}",
        "tcp.sender.backlog": 0,
        "tcp.sender.dropped": 0,
        "tcp.sender.rejected": 0,
    }


def _ports(minute: float, chance: Random) -> dict[int, Counter[TcpState]]:
    """Return what the sockets of each local port do."""
    users = 260 + 90 * math.sin(minute / 9) + 40 * math.sin(minute / 3.1) + chance.uniform(-14, 14)
    waiting, leaked = _waiting(minute), max(0.0, minute - LEAK) * LEAK_RATE
    return {
        443: _counts(users, syn_recv=chance.uniform(0, 4), time_wait=users * 0.3, close_wait=chance.uniform(0, 2)),
        6379: _counts(18 + chance.uniform(0, 3), time_wait=chance.uniform(0, 4)),
        8080: _counts(
            users * 0.45 + waiting,
            syn_recv=waiting / 9,
            time_wait=users * 0.2,
            close_wait=leaked + chance.uniform(0, 3),
        ),
    }


def _database(minute: float, chance: Random) -> Counter[TcpState]:
    """Return the connections to the database: a pool, and those of the batch job."""
    jobs = BATCH_SOCKETS * max(0.0, min(minute - BATCH, 1, BATCH_ENDS + 1 - minute)) * chance.uniform(0.92, 1.08)
    return _counts(POOL + jobs / 40, time_wait=8 + jobs)


def _owners(
    ports: dict[int, Counter[TcpState]], database: Counter[TcpState], rest: Counter[TcpState]
) -> dict[str, str | int]:
    """Return whose the sockets are: in words, and by service."""
    pool = Counter({TcpState.ESTABLISHED: POOL})
    of_clients = Counter({TcpState.FIN_WAIT2: rest[TcpState.FIN_WAIT2] - 3, TcpState.LAST_ACK: rest[TcpState.LAST_ACK]})
    steady = {EXPORTER: 4, SSH: 2}
    to_redis = Counter({TcpState.ESTABLISHED: ports[6379][TcpState.ESTABLISHED]})
    services = {
        NGINX: ports[443] + of_clients,
        REDIS: ports[6379],
        BACKEND: ports[8080] + pool + to_redis,
        REPORTS: database - pool,
        **{name: Counter({TcpState.ESTABLISHED: count}) for name, count in steady.items()},
        OTHER: Counter({TcpState.ESTABLISHED: rest[TcpState.ESTABLISHED] - sum(steady.values())}) - to_redis,
        KERNEL: Counter({TcpState.FIN_WAIT2: 3}),
    }
    return {
        **{
            key: top({name: counts[state] for name, counts in services.items() if counts[state]})
            for state, key in TOPS.items()
            if state != TcpState.SYN_SENT
        },
        TOPS[TcpState.SYN_SENT]: top({f"{DATABASE_ADDRESS}:{DATABASE}": n} if (n := rest[TcpState.SYN_SENT]) else {}),
        **{
            f"tcp.service.status[{state.name},{name}]": counts[state]
            for name, counts in services.items()
            for state in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
            if name != KERNEL
        },
    }


def _local_ports(database: Counter[TcpState]) -> dict[str, str | int]:
    """Return the local ports in use towards the database, to which most are."""
    used = database.total()
    return {
        "tcp.ephemeral.used": used,
        "tcp.ephemeral.pused": f"{used * 100 / LOCAL_PORTS:.2f}",
        EPHEMERAL_TOP: f"{DATABASE_ADDRESS}:{DATABASE} from {OWN_ADDRESS}",
    }


def _containers(minute: float, chance: Random) -> dict[str, str | int]:
    """Return what the sockets in the containers do."""
    pauses = max(0.0, minute - PAUSES)
    return {
        f"tcp.netns.status[ESTABLISHED,{SHOP}]": int(140 + 40 * math.sin(minute / 7) + chance.uniform(-8, 8)),
        f"tcp.netns.status[CLOSE_WAIT,{SHOP}]": int(min(pauses, 10) * chance.uniform(0.5, 1.5)),
        f"tcp.netns.listen.drops[{SHOP}]": int(pauses * 12),
        f"tcp.netns.status[ESTABLISHED,{MAIL}]": 22 + chance.randint(0, 5),
        f"tcp.netns.status[CLOSE_WAIT,{MAIL}]": 0,
        f"tcp.netns.listen.drops[{MAIL}]": 0,
    }


def _waiting(minute: float) -> float:
    """Return connections on port 8080 that nobody accepts; the kernel lets in one more than the limit says."""
    return min(max(0.0, minute - STALL) * STALL_RATE, BACKLOG[8080] + 1)


def _counts(
    established: float, *, syn_recv: float = 0, time_wait: float = 0, close_wait: float = 0
) -> Counter[TcpState]:
    counts = dict(zip(STATES, (established, syn_recv, time_wait, close_wait), strict=True))
    return Counter({state: int(count) for state, count in counts.items()})


def _queue(port: int, minute: float, chance: Random) -> dict[str, str | int]:
    waiting = int(_waiting(minute) if port == 8080 and minute > STALL else chance.uniform(0, 3))
    return {
        f"tcp.listen.queue[{port}]": waiting,
        f"tcp.listen.queue.max[{port}]": BACKLOG[port],
        f"tcp.listen.queue.pused[{port}]": f"{waiting * 100 / BACKLOG[port]:.2f}",
        f"tcp.listen.queue.peak[{port}]": min(waiting + chance.randint(0, 9), BACKLOG[port] + 1),
        f"tcp.listen.drops[{port}]": _dropped(minute) if port == STALLED else 0,
    }


def _dropped(minute: float) -> int:
    """Return the requests that the kernel has dropped since the queue of port 8080 became full."""
    return int(max(0.0, minute - STALL - (BACKLOG[STALLED] + 1) / STALL_RATE) * STALL_RATE)


def _machine(minute: float, chance: Random) -> dict[str, str | int]:
    """Return what the kernel has counted, and orphans and memory, of a server with a network that loses little."""
    second, memory = 60 * minute, 6_000_000 + chance.randint(0, 400_000)
    counters = {name: int(a_second * (UPTIME_S + second)) for name, a_second in A_SECOND.items()}
    counters |= dict.fromkeys(("ListenOverflows", "ListenDrops"), _dropped(minute))
    return {
        "tcp.orphans": 2 + chance.randint(0, 3),
        "tcp.orphans.pused": "0.01",
        "tcp.memory": memory,
        "tcp.memory.pused": f"{memory * 100 / 2e9:.2f}",
        **{f"tcp.counter[{name}]": counters.get(name, 0) for name in (*TCP_COUNTERS, *TCP_EXT_COUNTERS)},
    }


def _rest(chance: Random) -> Counter[TcpState]:
    """Sockets on no port that is told of: outgoing connections, those being closed, the listeners themselves."""
    return Counter(
        {
            TcpState.ESTABLISHED: 34 + chance.randint(0, 6),
            TcpState.SYN_SENT: chance.randint(0, 9) // 8 * chance.randint(1, 2),
            TcpState.FIN_WAIT1: chance.randint(0, 7) // 5,
            TcpState.FIN_WAIT2: chance.randint(9, 12),
            TcpState.TIME_WAIT: chance.randint(20, 34),
            TcpState.CLOSE: 3,
            TcpState.LAST_ACK: chance.randint(0, 9) // 8,
            TcpState.LISTEN: 5,
        }
    )
