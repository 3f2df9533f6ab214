"""Real sockets in every state, in a network namespace of the test's own, counted by the installed package. Needs root."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.namespace import ANY_MACHINE, Namespace
from sender.kernel.sock_diag import SockDiag
from sender.model import TcpState

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = (sys.executable, "-I")  # without the current folder, which may be the checkout, on its path
REPOSITORY = Path(__file__).parents[2]
EVERY_STATE = (sys.executable, str(REPOSITORY / "lab" / "every_state.py"))
SS = {"ESTAB": "ESTABLISHED", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2"}  # as ss calls them
NETLINK_SOCK_DIAG = 4
FORGED_DONE = b"\x14\0\0\0\x03\0\x02\0" + bytes(12)  # NLMSG_DONE: that was all


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Yield a namespace that holds sockets in each of the eleven states, IPv4 and IPv6, a different number of each."""
    with Namespace(EVERY_STATE) as namespace:
        yield namespace


def sampled(namespace: Namespace) -> dict[str, int]:
    """Return what the command counts in the namespace, by state, TOTAL included."""
    code = ANY_MACHINE + "from sender.cli import main; main(['run', '--dry-run', '--once'])"
    request = json.loads(namespace.run(*PYTHON, "-c", code))
    return {
        value["key"].removeprefix("tcp.status[").removesuffix("]"): int(value["value"])
        for value in request["data"]
        if value["key"].startswith("tcp.status[") and "," not in value["key"]
    }


def test_a_datagram_that_does_not_fit_is_an_error(namespace: Namespace) -> None:
    """Should a kernel ever send larger datagrams than any does today, nothing is counted from the part that fits."""
    code = (
        "from sender.kernel import exchange, sock_diag\n"
        "exchange._BUFFER = 512\n"
        "try:\n"
        "    print(sock_diag.SockDiag().sample())\n"
        "except sock_diag.TornError as error:\n"
        "    print(error)"
    )
    said = namespace.run(*PYTHON, "-c", code)
    assert said == "the kernel's dump of TCP sockets holds a datagram of more than 512 bytes\n"


def walked(namespace: Namespace, ways: str) -> dict[str, int]:
    """Return what the sampler counts in the namespace when it has only `ways`, an expression, to ask."""
    code = (
        f"{ANY_MACHINE}import json, socket\n"
        "from sender.kernel.requests import WAYS, by_family\nfrom sender.kernel.sock_diag import SockDiag\n"
        f"print(json.dumps({{s.name: n for s, n in SockDiag({ways}).sample().states.items()}}))"
    )
    counts: dict[str, int] = json.loads(namespace.run(*PYTHON, "-c", code))
    return counts


def test_every_state_is_counted_exactly(namespace: Namespace) -> None:
    """Each state, IPv4 and IPv6 together, and their sum are exactly what was made: no two numbers are alike."""
    numbers = [count for family in namespace.report["families"].values() for count in family.values()]
    assert len(numbers) == len(set(numbers)) == 22
    expected = namespace.report["states"]
    assert min(expected.values()) > 0
    assert sampled(namespace) == {**expected, "TOTAL": sum(expected.values())}


def test_ss_counts_the_same(namespace: Namespace) -> None:
    """In the ten states that ss asks for, it sees what we see."""
    seen = Counter(line.split()[0] for line in namespace.run("ss", "-Htan").splitlines())
    by_name = {SS.get(name, name.replace("-", "_")): count for name, count in seen.items() if name != "UNCONN"}
    ours = sampled(namespace)
    assert len(by_name) == 10
    assert {name: ours[name] for name in by_name} == by_name


def test_two_walks_count_the_same(namespace: Namespace) -> None:
    """Asked for each family in turn, the kernel gives the same sums, and each family's own; CLOSE is asked for apart."""
    assert walked(namespace, "WAYS[1:]") == namespace.report["states"]
    for family, name in [("4", "AF_INET"), ("6", "AF_INET6")]:
        own = {**namespace.report["families"][family], "CLOSE": namespace.report["states"]["CLOSE"]}
        assert walked(namespace, f"[[by_family(socket.{name})]]") == own


def test_an_empty_namespace_is_all_zeros() -> None:
    """Where there is no socket at all, there are twelve zeros."""
    with Namespace() as namespace:
        assert sampled(namespace) == dict.fromkeys([*(state.name for state in TcpState), "TOTAL"], 0)


def test_no_privilege_is_needed(namespace: Namespace) -> None:
    """A user without any capability counts the same as root."""
    # The process gives its privileges up itself: the virtual environment may lie where only root can read.
    code = (
        f"{ANY_MACHINE}import os\n"
        "from sender.kernel.sock_diag import SockDiag\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "assert 'CapEff:\\t0000000000000000' in open('/proc/self/status').read()\n"
        "print(sum(SockDiag().sample().states.values()))"
    )
    assert int(namespace.run(*PYTHON, "-c", code)) == sum(namespace.report["states"].values())


def test_another_process_cannot_speak_for_the_kernel() -> None:
    """An end of the dump that another process (root's, here) sends to the sampler's socket is not taken for one."""
    stop = threading.Event()
    sent = 0

    def shout() -> None:
        nonlocal sent
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as attacker:
            attacker.bind((os.getpid() + 2**30, 0))  # leaves the process's own number to the sampler
            attacker.settimeout(0)
            while not stop.is_set():
                try:
                    attacker.sendto(FORGED_DONE, (os.getpid(), 0))
                except (ConnectionRefusedError, BlockingIOError):
                    continue  # no sampler's socket is open right now, or it is full
                sent += 1

    thread = threading.Thread(target=shout)
    with socket.create_server(("127.0.0.1", 0)):
        sampler = SockDiag()
        thread.start()
        try:
            counts = [sampler.sample().states[TcpState.LISTEN] for _ in range(300)]
        finally:
            stop.set()
            thread.join()
    assert min(counts) > 0
    assert sent > 0


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (
            errno.EAFNOSUPPORT,
            "AF_NETLINK is forbidden here: add it to RestrictAddressFamilies= of the unit",
        ),
        (errno.EPERM, "A security policy forbids it"),
    ],
)
def test_where_netlink_is_forbidden(code: int, advice: str) -> None:
    """Under a real seccomp filter without AF_NETLINK the command fails with exit code 1 and advice, not with zeros."""
    program = (
        "import socket, sys\n"
        "from lab.seccomp import refuse_family\n"
        "from sender.cli import main\n"
        f"refuse_family(socket.AF_NETLINK, {code})\n"
        "sys.exit(main(['run', '--dry-run', '--once']))"
    )
    done = subprocess.run([*PYTHON, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tcp-status-sender: opening a netlink socket failed before the kernel was asked: ")
    assert f"{errno.errorcode[code]} (" in done.stderr
    assert f"). {advice}" in done.stderr
