"""The triggers of segments and attempts that fail, and of what TCP takes of the whole machine."""

from __future__ import annotations

from templates.counters import rate
from templates.flood_triggers import PEERS, SYN_RECV, event
from templates.model import Trigger, growth, lasting, telling, watched
from templates.triggers import SYN_SENT

_WINDOWS = (("6m", "1m"), ("11m", "6m"), ("16m", "11m"))


def _sent_again(begin: str, end: str) -> str:
    again, sent = (growth(f"tcp.counter[{name}]", begin, end) for name in ("RetransSegs", "OutSegs"))
    return f"{sent}>{{$TCP.RETRANS.SEGMENTS.MIN}} and ({again})*100>({again}+{sent})*{{$TCP.RETRANS.PSHARE.MAX.WARN}}"


_RETRANS = Trigger(
    name="TCP: Many segments are sent again",
    detail="over {$TCP.RETRANS.PSHARE.MAX.WARN}% of at least {$TCP.RETRANS.SEGMENTS.MIN} segments in 5m, for 15m",
    expression=telling(
        " and ".join([*(_sent_again(*window) for window in _WINDOWS), watched("tcp.counter[OutSegs]", "16m")]),
        *map(rate, ("RetransSegs", "OutSegs")),
    ),
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE3} sent again, beside {ITEM.LASTVALUE4} sent",
    means=(
        "In each of the last three times five minutes, this host had to send many segments again: the network loses packets, "
        "or peers have vanished. Connections are slow."
    ),
    run=(
        "nstat -az TcpRetransSegs TcpOutSegs TcpExtTCPSynRetrans TcpExtTCPTimeouts TcpExtTCPLostRetransmit",
        "ss -Htino state established | grep -B1 'retrans:' | head -30",
        f"ss -Htan state syn-sent | {PEERS} | head",
        "ip -s -s link",
    ),
    do=(
        "The second list has the connections with segments sent again; see what their peers have in common: one peer, one "
        "network, one way out. Errors or drops in the last list point to this host's own network card, cable or driver. If "
        "TcpExtTCPSynRetrans makes up most, it is requests without an answer: the third list has the peers."
    ),
    depends_on=(SYN_RECV.name, SYN_SENT.name),
)
_ATTEMPTS_FAIL = Trigger(
    name="TCP: Many connection attempts fail",
    detail="over {$TCP.ATTEMPT.FAILS.RATE.MAX.WARN} per second for 5m",
    expression=lasting("tcp.counter.rate[AttemptFails]", "{$TCP.ATTEMPT.FAILS.RATE.MAX.WARN}"),
    priority="WARNING",
    scope="availability",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "Connections fail before they are open. Either this host asks for connections that are refused or not answered, "
        "since a service that it uses is down; or others take back their requests with a reset, as port scanners and some "
        "health checks do."
    ),
    run=(
        "nstat -az TcpActiveOpens TcpPassiveOpens TcpAttemptFails TcpOutRsts TcpExtTCPSynRetrans",
        "journalctl --since -15min | grep -iE 'refused|timed out|unreachable' | tail",
        "ss -tanp state syn-sent | head -30",
        "ss -Htan state syn-recv | " + PEERS + " | head",
    ),
    do=(
        "Find the program whose log says that connections are refused, and the service that it asks. If TcpPassiveOpens or "
        "TcpOutRsts grow with the failures, others ask this host: the last list has their addresses. A host that asks for "
        "closed ports by design, such as a monitoring server, gets a higher macro."
    ),
    depends_on=(SYN_RECV.name, SYN_SENT.name),
)
_ORPHANS = Trigger(
    name="TCP: Orphaned sockets are near the kernel's limit",
    detail="over {$TCP.ORPHANS.PUSED.MAX.WARN}% for 5m",
    expression=lasting("tcp.orphans.pused", "{$TCP.ORPHANS.PUSED.MAX.WARN}"),
    priority="WARNING",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "Programs have closed very many connections whose peers do not take the last data. Beyond the limit the kernel ends "
        "such connections with a reset, and their data is lost. Peers have vanished, or somebody asks for much and reads "
        "nothing, to harm this host."
    ),
    run=(
        "sysctl net.ipv4.tcp_max_orphans net.ipv4.tcp_orphan_retries",
        "grep -E '^TCP:' /proc/net/sockstat",
        f"ss -Htan state fin-wait-1 | {PEERS} | head",
        f"ss -Htan state last-ack | {PEERS} | head",
        "nstat -az TcpExtTCPAbortOnMemory TcpExtTCPAbortOnClose",
    ),
    do=(
        "The lists have the peers. Few addresses: block them in the firewall. Lower net.ipv4.tcp_orphan_retries (8 as "
        "shipped) so that the kernel gives them up sooner. Raise net.ipv4.tcp_max_orphans only where the memory is there: "
        "each can take 64 KB."
    ),
)
_MEMORY = Trigger(
    name="TCP: Memory is near the kernel's limit",
    detail="over {$TCP.MEMORY.PUSED.MAX.CRIT}% for 5m",
    expression=lasting("tcp.memory.pused", "{$TCP.MEMORY.PUSED.MAX.CRIT}"),
    priority="AVERAGE",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "The data in the queues of TCP's sockets takes almost as much memory as the kernel allows. It already keeps all "
        "connections slow; at the limit it drops data and ends connections."
    ),
    run=(
        "sysctl net.ipv4.tcp_mem net.ipv4.tcp_rmem net.ipv4.tcp_wmem",
        "grep -E '^TCP:' /proc/net/sockstat",
        "ss -Htanp | sort -k2,2nr | head",
        "ss -Htanp | sort -k3,3nr | head",
        "ss -tmnp | grep -A1 ESTAB | head -30",
    ),
    do=(
        "The first list has the connections whose program does not read (Recv-Q), the second those whose peer does not "
        "(Send-Q). Restart a program that hangs. If the number of connections is right as it is, raise net.ipv4.tcp_mem "
        "(in pages), or lower the largest sizes in net.ipv4.tcp_rmem and net.ipv4.tcp_wmem."
    ),
)
_PRESSURE = Trigger(
    name="TCP: Memory is under pressure",
    detail="over {$TCP.MEMORY.PRESSURES.MAX.WARN} times in 15m",
    expression=event("TCPMemoryPressures", "{$TCP.MEMORY.PRESSURES.MAX.WARN}", begin="16m"),
    priority="WARNING",
    scope="performance",
    value="Since boot: {ITEM.LASTVALUE1}",
    means=(
        "TCP's memory has passed the second number of net.ipv4.tcp_mem. From there on the kernel saves memory: it takes less "
        "data at a time on all connections, which makes them slow."
    ),
    run=_MEMORY.run,
    do=_MEMORY.do,
    depends_on=(_MEMORY.name,),
)

TRIGGERS = (_RETRANS, _ATTEMPTS_FAIL, _ORPHANS, _MEMORY, _PRESSURE)
