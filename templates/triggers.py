"""The triggers of the host's connections, each with its runbook.

Thresholds are macros; windows (5m, 15m) are not, as in Zabbix's own templates. Only functions that exist in 3.4 too.
"""

from __future__ import annotations

from itertools import pairwise

from sender.items import TOPS
from sender.model import TcpState
from templates.flood_triggers import PEERS, WHOSE, event
from templates.model import TEXT, Trigger, lasting, telling

CLOSE_WAIT_MEANS = (
    "Peers have closed their connections, and the local program does not call close(). It leaks connections, or hangs; "
    "it fails when it runs out of file descriptors."
)
CLOSE_WAIT_DO = (
    "The program (and process) that the list names is at fault, not the network and not the peer. Compare its number of "
    "sockets with its limit (Max open files). Restart it for relief, after a stack dump for its developers; no sysctl "
    "helps."
)
NOT_ACCEPTED = (
    " Where a line names no program, none has accepted that connection yet: the one that listens on its port, in the list "
    "of listeners, is at fault."
)
_CLOSE_WAIT_BY, _SYN_SENT_TO = TOPS[TcpState.CLOSE_WAIT], TOPS[TcpState.SYN_SENT]
_CLOSE_WAIT_RUN = (
    "systemctl status UNIT",
    "journalctl -u UNIT --since -1h | tail -50",
    "grep 'open files' /proc/PID/limits",
    "ss -Htanp state close-wait | grep -o 'users:.*' | cut -d'\"' -f2 | sort | uniq -c | sort -rn",
    "ss -tanp state close-wait | head -30",
    "ss -tlnp",
)
_AT_FAULT = (
    "UNIT is the service that is named first: its program is at fault, not the network and not the peer. Where no unit is "
    "named, the list has the programs."
)
_CLOSE_WAIT_UNIT_DO = (
    f"{_AT_FAULT} The status has its process (PID). Compare its number of sockets with its limit (Max open files). Restart it "
    "for relief (systemctl restart UNIT), after a stack dump for its developers; no sysctl helps."
)
_WHERE = "Where they want to go, as last reported"
_SYN_SENT_RUN = (
    "nc -vz -w 5 ADDRESS PORT",
    "ip route get ADDRESS",
    "ss -tanp state syn-sent | head -30",
    "ss -Htan state syn-sent | awk '{print $4}' | sort | uniq -c | sort -rn | head",
)


_CLOSE_WAIT_MANY = Trigger(
    name="TCP: Very many connections in CLOSE_WAIT",
    detail="over {$TCP.CLOSE_WAIT.MAX.CRIT} for 15m",
    expression=telling("min(//tcp.status[CLOSE_WAIT],15m)>{$TCP.CLOSE_WAIT.MAX.CRIT}", _CLOSE_WAIT_BY),
    priority="AVERAGE",
    scope="capacity",
    value=f"Current: {{ITEM.LASTVALUE1}}, mostly {TEXT}",
    told=WHOSE,
    means=CLOSE_WAIT_MEANS,
    run=_CLOSE_WAIT_RUN,
    do=_CLOSE_WAIT_UNIT_DO + NOT_ACCEPTED,
)
_CLOSE_WAIT = Trigger(
    name="TCP: Many connections in CLOSE_WAIT",
    detail="over {$TCP.CLOSE_WAIT.MAX.WARN} for 15m",
    expression=telling("min(//tcp.status[CLOSE_WAIT],15m)>{$TCP.CLOSE_WAIT.MAX.WARN}", _CLOSE_WAIT_BY),
    priority="WARNING",
    scope="performance",
    value=f"Current: {{ITEM.LASTVALUE1}}, mostly {TEXT}",
    told=WHOSE,
    means=CLOSE_WAIT_MEANS,
    run=_CLOSE_WAIT_RUN,
    do=_CLOSE_WAIT_UNIT_DO + NOT_ACCEPTED,
    depends_on=(_CLOSE_WAIT_MANY.name,),
)
_GROWTH = "{$TCP.CLOSE_WAIT.GROWTH.MAX}"
_FLOORS = [f"min(//tcp.status[CLOSE_WAIT],1h{shift})" for shift in ("", ":now-1h", ":now-2h", ":now-3h")]
_ROSE = " and ".join(f"{later}-{earlier}>{_GROWTH}" for later, earlier in pairwise(_FLOORS))
_CLOSE_WAIT_GROWS = Trigger(
    name="TCP: Connections in CLOSE_WAIT grow steadily",
    detail=f"by more than {_GROWTH} an hour, for 3h",
    # The lowest number of each hour, which short-lived ones do not lift. The first condition follows from the others:
    # it makes a healthy host's expression false, instead of unknown, while there are not yet four hours of values.
    expression=telling(f"min(//tcp.status[CLOSE_WAIT],1h)>3*{_GROWTH} and {_ROSE}", _CLOSE_WAIT_BY),
    priority="INFO",
    scope="performance",
    value=f"Current: {{ITEM.LASTVALUE1}}, mostly {TEXT}",
    told=WHOSE,
    means=(
        f"In each of the last three hours, the lowest number of connections in CLOSE_WAIT was more than {_GROWTH} above "
        "that of the hour before. A program does not close connections that its peers have closed: a leak, early."
    ),
    run=_CLOSE_WAIT_RUN,
    do=(
        f"{_AT_FAULT} Tell the program's developers. Until it is repaired, plan its restart for before it runs out of file "
        f"descriptors.{NOT_ACCEPTED}"
    ),
    depends_on=(_CLOSE_WAIT.name,),
)
_SYN_SENT_HOSTS = Trigger(
    name="TCP: Connection requests to many hosts stay unanswered",
    detail="over {$TCP.SYN_SENT.HOSTS.MAX.CRIT} addresses for 5m",
    expression=telling(lasting("tcp.syn_sent.hosts", "{$TCP.SYN_SENT.HOSTS.MAX.CRIT}"), _SYN_SENT_TO),
    priority="HIGH",
    scope="security",
    value=f"Current: {{ITEM.LASTVALUE1}} addresses, such as {TEXT}",
    told=_WHERE,
    means=(
        "This host asks many different machines for connections and gets no answer. Either something on it scans the "
        "network (a worm, an intruder, a scanner that you run yourself), or its way out is broken."
    ),
    run=(*_SYN_SENT_RUN[2:], "ip route get ADDRESS"),
    do=(
        "Look at the program's name in the first list, and at the remote ports; ADDRESS is any of theirs. One port over a range of addresses is a scan: take the "
        "host off the network, and treat it as broken into. Your own services towards their usual peers: look for the "
        "route or the firewall. A host whose work it is (a crawler, a monitoring server) gets a higher macro."
    ),
)
SYN_SENT = Trigger(
    name="TCP: Many connection requests stay unanswered (SYN_SENT)",
    detail="over {$TCP.SYN_SENT.MAX.WARN} for 5m",
    expression=telling(lasting("tcp.status[SYN_SENT]", "{$TCP.SYN_SENT.MAX.WARN}"), _SYN_SENT_TO),
    priority="WARNING",
    scope="availability",
    value=f"Current: {{ITEM.LASTVALUE1}}, to {TEXT}",
    told=_WHERE,
    means=(
        "This host asks for connections and gets neither an acceptance nor a refusal: a peer is down, or a firewall "
        "drops the requests in silence. The programs that ask wait for their timeouts."
    ),
    run=_SYN_SENT_RUN,
    do=(
        "ADDRESS and PORT are the destination that is named first; where none is named, the last list has it. See whether that "
        "machine is up, and what the firewalls between drop; one that answers with a refusal would not show here. The list before "
        "has the programs that ask."
    ),
    depends_on=(_SYN_SENT_HOSTS.name,),
)
_TIME_WAIT_RUN = (
    "sysctl net.ipv4.tcp_max_tw_buckets net.ipv4.ip_local_port_range",
    "nstat -az TcpExtTCPTimeWaitOverflow",
    f"ss -Htan state time-wait | {PEERS} | head",
    f"ss -Htan state fin-wait-2 | {PEERS} | head",
)
_TIME_WAIT_DO = (
    "TcpExtTCPTimeWaitOverflow counts what was forgotten. Many in FIN_WAIT2: the clients do not close; "
    "net.ipv4.tcp_fin_timeout says for how long the kernel waits for them. Else let clients keep connections open "
    "(keep-alive, a connection pool). If the rate is right as it is, raise "
    "net.ipv4.tcp_max_tw_buckets; one costs about 250 bytes. Many towards one address and port use up the local "
    "ports: widen net.ipv4.ip_local_port_range."
)
_TIME_WAIT_OVERFLOW = Trigger(
    name="TCP: Connections are closed without TIME_WAIT",
    detail="over {$TCP.TIME_WAIT.OVERFLOW.MAX.WARN} in 5m",
    expression=event("TCPTimeWaitOverflow", "{$TCP.TIME_WAIT.OVERFLOW.MAX.WARN}"),
    priority="WARNING",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE3}, since boot: {ITEM.LASTVALUE1}",
    means=(
        "As many closed connections wait out their minute, or in FIN_WAIT2 for the peer's close, as the kernel keeps. It "
        "forgets further ones at once, and late segments may disturb new connections."
    ),
    run=_TIME_WAIT_RUN,
    do=_TIME_WAIT_DO,
)
_TIME_WAIT = Trigger(
    name="TCP: TIME_WAIT is near the kernel's limit",
    detail="over {$TCP.TIME_WAIT.PUSED.MAX.WARN}% for 5m",
    expression="min(//tcp.sockets.time_wait,5m)>last(//tcp.limit[TIME_WAIT])*{$TCP.TIME_WAIT.PUSED.MAX.WARN}/100",
    priority="WARNING",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE1} of {ITEM.LASTVALUE2}",
    means=(
        "Closed connections wait out their minute, or in FIN_WAIT2 for the peer's close, and there are almost as many as "
        "the kernel keeps. Beyond the limit it forgets them at once, and late segments may disturb new connections. "
        "Somebody opens and closes connections very fast, or clients do not close theirs."
    ),
    run=_TIME_WAIT_RUN,
    do=_TIME_WAIT_DO,
    depends_on=(_TIME_WAIT_OVERFLOW.name,),
)
_UNHASHED = Trigger(
    name="TCP: Many sockets in no state",
    detail="over {$TCP.UNHASHED.MAX.WARN} for 15m",
    expression="min(//tcp.sockets.unhashed,15m)>{$TCP.UNHASHED.MAX.WARN}",
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "Programs on this host hold TCP sockets that have no connection. Most often peers have ended their connections "
        "with a reset (RST), as the health checks of load balancers do, and a program does not call close(). It leaks "
        "connections, or does not accept them; it fails when it runs out of file descriptors. ss does not list such "
        "sockets."
    ),
    run=(
        "grep -E '^(sockets|TCP):' /proc/net/sockstat",
        "lsof -nP 2>/dev/null | grep 'protocol: TCP' | awk '{print $1, $2}' | sort | uniq -c | sort -rn | head",
        'for p in /proc/[0-9]*; do ls -l $p/fd 2>/dev/null | grep socket: | sed "s|.*|$p|"; done | uniq -c | sort -rn | head',
        "ss -tlnp",
        "grep 'open files' /proc/PID/limits",
    ),
    do=(
        "The second list has the programs with the most sockets of this kind (it needs lsof), the third those with the most "
        "sockets of all kinds. In the list of listeners, a Recv-Q that is not 0 is a program that does not accept its "
        "connections: those that were reset wait there, too. Restart the program for relief, after a stack dump for its "
        "developers. A program that keeps such sockets on purpose, in a pool, gets a higher macro."
    ),
)
_MPTCP_CLOSE_WAIT = Trigger(
    name="TCP: Many MPTCP connections in CLOSE_WAIT",
    detail="over {$TCP.CLOSE_WAIT.MAX.WARN} for 15m",
    expression="min(//tcp.mptcp.status[CLOSE_WAIT],15m)>{$TCP.CLOSE_WAIT.MAX.WARN}",
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE1}",
    means=CLOSE_WAIT_MEANS,
    run=("ss -MHanp state close-wait | head -30", "ss -Mlnp", "grep 'open files' /proc/PID/limits"),
    do=CLOSE_WAIT_DO + NOT_ACCEPTED,
)
_ESTABLISHED = Trigger(
    name="TCP: Many established connections",
    detail="over {$TCP.ESTABLISHED.MAX.WARN} for 5m",
    expression=telling("min(//tcp.status[ESTABLISHED],5m)>{$TCP.ESTABLISHED.MAX.WARN}", TOPS[TcpState.ESTABLISHED]),
    priority="WARNING",
    scope="capacity",
    value=f"Current: {{ITEM.LASTVALUE1}}, mostly {TEXT}",
    told=WHOSE,
    means=(
        "More connections are open than this host is known to carry. Disabled as shipped: what is too many, only you "
        "know. Set the macro, and enable the trigger."
    ),
    run=(
        "systemctl status UNIT",
        "ss -Htan state established | awk '{print $3}' | sort | uniq -c | sort -rn | head",
        "ss -s",
    ),
    do="UNIT is the service that is named first. Find the service and the port that grew. Add capacity, or look for a client that opens connections and does not use them.",
    is_enabled=False,
)

TRIGGERS = (
    _CLOSE_WAIT_MANY,
    _CLOSE_WAIT,
    _CLOSE_WAIT_GROWS,
    _SYN_SENT_HOSTS,
    SYN_SENT,
    _TIME_WAIT_OVERFLOW,
    _TIME_WAIT,
    _UNHASHED,
    _MPTCP_CLOSE_WAIT,
    _ESTABLISHED,
)
