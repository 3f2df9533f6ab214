"""The contenders that live in a Python process: the floor, our sampler with its parts, and pyroute2's own.

`python -m bench.samplers NAME...` takes one sample for each name on its standard input and answers with a line of
JSON: the seconds that it took, those of the processor, and the counts by state. Only those named as arguments are ever imported.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module
from socket import AF_INET, AF_INET6, AF_NETLINK, SOCK_RAW, socket
from typing import TYPE_CHECKING

from bench.crowd import FIRST_LISTENING, FIRST_PORT, LISTENING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Sampler = Callable[[], Mapping[str, int]]

TRACKED = 50  # ports
NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h, as are the next two lines
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE, DONE_LEN = 2, 3, 20  # struct nlmsghdr, then an errno
TCPDIAG_GETSOCK, SOCKET_LEN = 18, 88  # include/uapi/linux/inet_diag.h: nlmsghdr and inet_diag_msg, no attributes
STATES = 0x1FFE  # 1 to 12, include/net/tcp_states.h
REQUEST = struct.pack("=IHHII52xII", 76, TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, STATES, 0)


def floor() -> Sampler:
    """Drain the dump and look for nothing but its end: no program in Python that asks the kernel can be faster."""
    buffer = bytearray(256 * 1024)
    head = struct.Struct("=IH").unpack_from

    def drain() -> Mapping[str, int]:
        total = 0
        with socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
            sock.send(REQUEST)
            while True:
                size = sock.recvmsg_into([buffer])[0]
                total += size
                kind = head(buffer)[1]
                if kind in (NLMSG_ERROR, NLMSG_DONE) or head(buffer, size - DONE_LEN) == (DONE_LEN, NLMSG_DONE):
                    return {"at most": total // SOCKET_LEN}

    return drain


def ours() -> Sampler:
    """Count as the daemon does, once per interval."""
    sample = import_module("sender.kernel.sock_diag").SockDiag().sample
    return lambda: {state.name: count for state, count in sample().states.items()}


def ports() -> Sampler:
    """Count as the daemon does where it finds fifty ports listened on; here they are told, as nobody listens."""
    sock_diag, model = import_module("sender.kernel.sock_diag"), import_module("sender.model")
    sampler = sock_diag.SockDiag()
    wanted = model.CountedPorts(local=frozenset(range(FIRST_PORT, FIRST_PORT + TRACKED)), listening=True)

    def count() -> Mapping[str, int]:
        snapshot = sampler.sample(wanted)
        by_port = sum(count for (_, state), count in snapshot.local.items() if state == model.TcpState.ESTABLISHED)
        return {"ESTABLISHED": by_port, "TIME_WAIT": snapshot.states[model.TcpState.TIME_WAIT]}

    return count


def everything() -> Sampler:
    """Count as the daemon does with its defaults: ports that are listened on, owners, ephemeral ports, counters."""
    sock_diag, model = import_module("sender.kernel.sock_diag"), import_module("sender.model")
    sampler = sock_diag.SockDiag()
    wanted = model.CountedPorts(listening=True, counters=True, owners=True, ephemeral=True)

    def count() -> Mapping[str, int]:
        snapshot = sampler.sample(wanted)
        owners = snapshot.owners[model.TcpState.ESTABLISHED]
        workers = sum(count for unit, count in owners.items() if unit.startswith("worker-"))
        return {"ESTABLISHED": workers, "used": snapshot.ephemeral.used}

    return count


def look() -> Sampler:
    """Look at the accept queues as the daemon does every second, between two samples; an exporter's is not the crowd's."""
    listeners, crowd = (
        import_module("sender.kernel.sock_diag").Listeners(),
        range(FIRST_LISTENING, FIRST_LISTENING + LISTENING),
    )
    return lambda: {"LISTEN": sum(port in crowd for port in listeners.look())}


def counters() -> Sampler:
    """Read what the daemon reads of the kernel's counters with each sample."""
    read_counters = import_module("sender.kernel.counters").read_counters
    read_sockstat = import_module("sender.kernel.sockstat").read_sockstat
    usage = import_module("sender.kernel.memory").usage

    def read() -> Mapping[str, int]:
        orphans, memory = usage(read_sockstat())
        return {"counters": len(read_counters()), "usage": sum(each.used is not None for each in (orphans, memory))}

    return read


def namespace() -> Sampler:
    """Count one other network namespace as the daemon does, through a socket that was made there; nobody else has sockets in it."""
    link, others = import_module("sender.kernel.namespace_link"), import_module("sender.kernel.other_namespaces")
    socket_in = import_module("sender.commands.namespaces.entering").socket_in
    process = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
    path, home = f"/proc/{process.pid}/ns/net", os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116  of the namespace
    while (inode := os.stat(path).st_ino) == home:  # noqa: PTH116
        time.sleep(0.001)

    class Link:
        held = {"1": link.NamedNamespace("web", socket_in(path, inode))}  # noqa: RUF012
        is_listed = is_whole = True
        trouble = None

        def update(self) -> None:
            """Say nothing new: it is the count that is measured."""

    subject = others.OtherNamespaces(Link(), budget_s=60)
    return lambda: {"namespaces": len(subject.count().states)}


def pyroute2() -> Sampler:
    """Count in the library's own way: an object for each socket, a dump for each family."""
    library = import_module("pyroute2")

    def count() -> Mapping[str, int]:
        with library.DiagSocket() as diag:
            dumps = [diag.get_sock_stats(family=family) for family in (AF_INET, AF_INET6)]
        return {"ESTABLISHED": Counter(sock["idiag_state"] for dump in dumps for sock in dump)[1]}

    return count


def main() -> None:
    """One sample for each line, until standard input closes."""
    makers = (floor, ours, ports, everything, look, counters, namespace, pyroute2)
    samplers = {maker.__name__: maker() for maker in makers if maker.__name__ in sys.argv[1:]}
    for line in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        counts = samplers[line.strip()]()
        print(json.dumps([time.perf_counter() - begin, time.process_time() - begin_cpu, counts]), flush=True)


if __name__ == "__main__":
    main()
