"""Ports and accept queues of real sockets, in a network namespace of the test's own. Needs root."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import queues
from lab.command import COMMAND
from lab.namespace import ANY_MACHINE, Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
QUEUES = (sys.executable, str(REPOSITORY / "lab" / "queues.py"))
EVERY_STATE = (sys.executable, str(REPOSITORY / "lab" / "every_state.py"))
WAYS = {"one walk": "[WAYS[0]]", "each family": "[WAYS[1]]"}
SS = {"ESTAB": 1, "SYN-SENT": 2, "LISTEN": 10}  # as ss calls the kernel's states


@pytest.fixture(scope="module")
def crowd() -> Iterator[Namespace]:
    """Yield the namespace of lab/queues.py."""
    with Namespace(QUEUES) as namespace:
        yield namespace


def sampled(namespace: Namespace, ways: str, wanted: str) -> dict[str, Any]:
    """Return what the sampler finds in the namespace, asking in these ways; counts by "port state"."""
    code = (
        f"{ANY_MACHINE}import json\n"
        "from dataclasses import asdict\n"
        "from sender.model import CountedPorts as Wanted\n"
        "from sender.kernel.requests import WAYS\nfrom sender.kernel.sock_diag import SockDiag\n"
        f"found = SockDiag({ways}).sample(Wanted({wanted}))\n"
        "counts = lambda by: {f'{port} {int(state)}': n for (port, state), n in by.items()}\n"
        "listeners = {port: asdict(each) for port, each in found.listeners.items()}\n"
        "print(json.dumps([counts(found.local), counts(found.remote), listeners, found.syn_sent_hosts,"
        " found.time_wait_limit]))"
    )
    said = json.loads(namespace.run(sys.executable, "-I", "-c", code))
    return dict(zip(("local", "remote", "listeners", "hosts", "limit"), said, strict=True))


def seen_by_ss(namespace: Namespace, column: int) -> dict[str, int]:
    """Sockets by "port state" as ss counts them: of the local port, or the one at the other end."""
    lines = [line.split() for line in namespace.run("ss", "-Htan").splitlines()]
    return dict(Counter(f"{line[column].rpartition(':')[2]} {SS[line[0]]}" for line in lines))


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_queues_are_exact(crowd: Namespace, ways: str) -> None:
    """Waiting connections and limits of IPv4, IPv6 and dual-stack listeners, one over its limit, one with no backlog."""
    listeners = sampled(crowd, ways, "listening=True")["listeners"]
    for ear in queues.EARS[:5]:
        found = listeners[str(ear.port)]
        assert (found["waiting"], found["limit"]) == (ear.waiting, ear.backlog), ear
    assert {port: found["is_loopback"] for port, found in listeners.items()} == {
        "1001": True, "1002": True, "1003": False, "1004": False, "1005": True, "1006": False, "1007": True,
        "1008": True, "1009": True, "1010": False,
    }  # fmt: skip
    assert listeners["1006"]["limit"] in (64, 128)


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_the_fullest_of_those_that_share_a_port_is_reported(crowd: Namespace, ways: str) -> None:
    """Where SO_REUSEPORT gives several, it is the one that ss shows as nearest to its limit."""
    lines = [line.split() for line in crowd.run("ss", "-Htln", f"sport = :{queues.SHARED}").splitlines()]
    shown = [(int(line[1]), int(line[2])) for line in lines]
    assert len(shown) == len(queues.SHARED_BACKLOGS)
    assert sum(waiting for waiting, _ in shown) == queues.SHARED_WAITING
    found = sampled(crowd, ways, "listening=True")["listeners"][str(queues.SHARED)]
    assert (found["waiting"], found["limit"]) == max(shown, key=lambda queue: queue[0] / queue[1])


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_ss_counts_the_same_by_port(crowd: Namespace, ways: str) -> None:
    """By local and by remote port and state, every port wanted, our counts are those of ss."""
    ports = "frozenset(range(1, 65536))"
    found = sampled(crowd, ways, f"local={ports}, remote={ports}, listening=True")
    assert found["local"] == seen_by_ss(crowd, 3)
    assert found["remote"] == {key: n for key, n in seen_by_ss(crowd, 4).items() if not key.startswith("*")}


def test_listening_alone_finds_the_same_ports(crowd: Namespace) -> None:
    """Nobody has to name a port on which something listens: its sockets are counted in the walk that finds it."""
    found = sampled(crowd, WAYS["one walk"], "listening=True")
    wanted = {str(port) for port in (*(ear.port for ear in queues.EARS), queues.SHARED)}
    assert found["local"] == {key: n for key, n in seen_by_ss(crowd, 3).items() if key.split()[0] in wanted}


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_hosts_that_do_not_answer_are_told_apart(crowd: Namespace, ways: str) -> None:
    """Six sockets in SYN_SENT to three addresses, IPv4 and IPv6, are three hosts."""
    assert sampled(crowd, ways, "")["hosts"] == len(queues.UNANSWERED)


def test_the_limit_is_the_namespaces_own(crowd: Namespace) -> None:
    """A namespace can have fewer TIME_WAIT sockets than the machine, and that number is reported."""
    crowd.run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=4711")
    assert sampled(crowd, WAYS["one walk"], "")["limit"] == 4711


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_every_state_is_counted_by_port(ways: str) -> None:
    """Over all ports, each state's sockets are as many as there are: none is missed and none is counted twice."""
    with Namespace(EVERY_STATE) as namespace:
        everything = "local=frozenset(range(1, 65536)), listening=True"
        local = sampled(namespace, ways, everything)["local"]
        states: Counter[str] = Counter()
        for key, count in local.items():
            states[key.split()[1]] += count
        assert dict(states) == {str(n): count for n, count in enumerate(namespace.report["states"].values(), 1)}
        # The other end's ports tell the states apart: 7000 and the state's number.
        remote = sampled(namespace, ways, "remote=frozenset(range(7001, 7012))")["remote"]
        by_script = {f"{7000 + n} {n}": n_sockets for n, n_sockets in enumerate(namespace.report["states"].values(), 1)}
        assert remote == {key: count for key, count in by_script.items() if key.split()[1] not in ("3", "7", "10")}


@contextmanager
def daemon(namespace: Namespace) -> Iterator[Iterator[dict[str, str]]]:
    """Yield the samples of a dry run in the namespace, every second, each as key to value."""
    command = namespace.inside(COMMAND, "run", "--dry-run", "--config", "/dev/stdin")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("interval: 1s\n")
        process.stdin.close()
        try:
            yield ({v["key"]: v["value"] for v in json.loads(line)["data"]} for line in process.stdout)
        finally:
            process.terminate()


LISTENER = "import socket, sys; s = socket.create_server(('127.0.0.1', 443), backlog=9); print('{}', flush=True); sys.stdin.read()"


def test_a_port_that_stops_listening_ends_in_zeros() -> None:
    """A new port is discovered in the sample that first has its values; one that is gone stays, with zeros."""
    with Namespace() as namespace:
        namespace.run("ip", "link", "set", "lo", "up")
        with daemon(namespace) as samples:
            first = next(samples)
            assert first["tcp.port.discovery"] == "[]"
            command = namespace.inside(sys.executable, "-c", LISTENER)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
                found = next(sample for sample in samples if "tcp.listen.queue.max[443]" in sample)
                assert (
                    '"{#PORT}":"443","{#SERVICE}":"https","{#NAME}":"443 https","{#SCOPE}":"loopback"'
                    in found["tcp.port.discovery"]
                )
                assert found["tcp.listen.queue.max[443]"] == "9"
                listener.communicate()
            gone = next(sample for sample in samples if sample["tcp.status[LISTEN]"] == "0")
            ours = {key: value for key, value in gone.items() if re.search(r"[\[,]443\]", key)}
            assert len(ours) == 8
            assert set(ours.values()) == {"0", "0.00"}
            assert "tcp.port.discovery" not in gone
