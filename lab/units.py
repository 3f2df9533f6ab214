"""Processes in cgroups of their own, as a service manager has them, each with sockets in each of the eleven states.

A holder (see namespace.py), with the cgroups as its arguments; lab/every_state.py has the peer and the sockets. How many sockets
a process makes follows from its place among the arguments (`kept`, `closed`), so that any mix-up shows.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from lab.every_state import (
    BACKLOG,
    DEADLINE_S,
    FAMILIES,
    IPV4,
    ISN,
    LINGER_OFF,
    POLL_S,
    SCRIPT_PORTS,
    SCRIPTS,
    SYN_PORTS,
    SYSCTLS,
    Family,
    Flags,
    Peer,
    Segment,
    State,
    bind,
    build,
    converse,
    seen,
)

# A program that has closed such a socket is rid of it, while the kernel goes on. Those in FIN_WAIT2 become small ones then.
CAN_BE_CLOSED = (State.FIN_WAIT1, State.FIN_WAIT2, State.LAST_ACK, State.CLOSING)

# No port is two processes', and none is one that the kernel would take for a connection.
FIRST_LISTENING, LISTENING_APART = 1000, 100


def kept(place: int, family: Family) -> dict[State, int]:
    """How many sockets in each state the process at this place has of a family."""
    return {state: 1 + place + state * (1 if family is IPV4 else 2) for state in State}


def closed(place: int) -> dict[State, int]:
    """How many more it has closed, of each family."""
    return dict.fromkeys(CAN_BE_CLOSED, 1 + place)


def expected(family: Family, places: int) -> Counter[State]:
    """How many sockets of a family there are in all."""
    total: Counter[State] = Counter()
    for place in range(places):
        total.update(kept(place, family))
        total.update(closed(place))
    return total


def listen(family: Family, port: int) -> socket.socket:
    """Return a socket that listens."""
    sock = socket.socket(family.domain, socket.SOCK_STREAM)
    sock.bind((family.host, port))
    sock.listen(BACKLOG)
    return sock


class Sockets:
    """All sockets of a process, until `end`: those that it keeps, and those that it has closed."""

    def __init__(self, place: int, tun: int) -> None:
        self._tun = tun
        self._resets: list[Segment] = []
        self._kept = [sock for family in FAMILIES for sock in self._fill(family, place)]

    def _send(self, segment: Segment) -> None:
        os.write(self._tun, build(segment))

    def _fill(self, family: Family, place: int) -> list[socket.socket]:
        counts = kept(place, family)
        bound = [bind(family) for _ in range(counts[State.CLOSE])]
        first = FIRST_LISTENING + LISTENING_APART * place
        listeners = [listen(family, port) for port in range(first, first + counts[State.LISTEN])]
        host, peer = (socket.inet_pton(family.domain, address) for address in (family.host, family.peer))
        target = (host, first)
        for port in range(SYN_PORTS, SYN_PORTS + counts[State.SYN_RECV]):
            self._send(Segment(source=(peer, port), target=target, seq=ISN, ack=0, flags=Flags.SYN))
        for state, count in closed(place).items():
            for sock in [converse(family, state) for _ in range(count)]:
                source, target = (peer, SCRIPT_PORTS + state), (host, sock.getsockname()[1])
                seq = ISN + 1 + (SCRIPTS[state].hangs_up != "never")
                self._resets.append(Segment(source=source, target=target, seq=seq, ack=0, flags=Flags.RST))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
                sock.close()
        return bound + listeners + [converse(family, state) for state in SCRIPTS for _ in range(counts[state])]

    def end(self) -> None:
        """Leave none: one that no program has any more would keep its network namespace alive for minutes."""
        for sock in self._kept:
            sock.close()
        for segment in self._resets:
            self._send(segment)


def live(cgroup: str, place: int, tun: int) -> None:
    """Be one of the processes: go into the cgroup, make the sockets, and hold them until standard input closes."""
    Path(cgroup, "cgroup.procs").write_text("0")
    sockets = Sockets(place, tun)
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdin.read()
    sockets.end()


def missing(places: int) -> list[str]:
    """Which counts are not right yet. CLOSE has nothing to wait for."""
    return [
        f"IPv{family.name} {state.name}: {have[state]} of {count}"
        for family, have in [(family, seen(family)) for family in FAMILIES]
        for state, count in expected(family, places).items()
        if state != State.CLOSE and have[state] != count
    ]


def main(cgroups: list[str]) -> None:
    """Set everything up, report the processes by their cgroups, hold."""

    def expire(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"after {DEADLINE_S} s these are not in place: {', '.join(missing(len(cgroups)))}")

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(DEADLINE_S)
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net/ipv4", name).write_text(str(value))
    tun = Peer().fileno()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "lab.units", "one", cgroup, str(place), str(tun)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[tun],
        )
        for place, cgroup in enumerate(cgroups)
    ]
    try:
        for process in processes:
            assert process.stdout
            if not process.stdout.readline():
                sys.exit("units: a process could not make its sockets")
        while missing(len(cgroups)):
            time.sleep(POLL_S)
        signal.alarm(0)
        print(json.dumps([process.pid for process in processes]), flush=True)  # noqa: T201  what a holder says
        sys.stdin.read()
    finally:
        for process in processes:
            process.communicate()


if __name__ == "__main__":
    if sys.argv[1] == "one":
        live(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(sys.argv[1:])
