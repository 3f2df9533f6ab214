"""The host's triggers, each with its runbook.

Thresholds are macros; windows (5m, 15m) are not, as in Zabbix's own templates. Only functions that exist in 3.4 too.
"""

from __future__ import annotations

from itertools import pairwise

from templates.model import Trigger

PEERS = "awk '{sub(/:[0-9]+$/, \"\", $4); print $4}' | sort | uniq -c | sort -rn"
_STATUS = "tcp-status-sender status"
_LOG = "journalctl -u tcp-status-sender -n 50"

NO_DATA = Trigger(
    name="TCP: No data from tcp-status-sender",
    detail="for {$TCP.NODATA.TIMEOUT}",
    expression="nodata(//tcp.status[TOTAL],{$TCP.NODATA.TIMEOUT})=1",
    priority="WARNING",
    scope="availability",
    value="Last: {ITEM.LASTVALUE1} sockets",
    means=(
        "No TCP state has arrived for {$TCP.NODATA.TIMEOUT}. The host is down, the daemon is not running, it cannot "
        "reach this server or proxy, Zabbix refuses its values (host: in its configuration is not exactly this host's "
        "name), or the kernel refuses to list its sockets."
    ),
    run=("systemctl status tcp-status-sender", _STATUS, _LOG),
    do=(
        "The log says in one sentence what failed and what to do. Samples taken meanwhile arrive later, with their own "
        "times. The macro must be at least twice the interval of the daemon."
    ),
    manual_close=True,
)

CLOSE_WAIT_MEANS = (
    "Peers have closed their connections, and the local program does not call close(). It leaks connections, or hangs; "
    "it fails when it runs out of file descriptors."
)
CLOSE_WAIT_DO = (
    "The program (and process) that the list names is at fault, not the network and not the peer. Compare its number of "
    "sockets with its limit (Max open files). Restart it for relief, after a stack dump for its developers; no sysctl "
    "helps."
)
_CLOSE_WAIT_RUN = (
    "ss -tanp state close-wait | head -30",
    "ss -Htanp state close-wait | grep -o 'users:.*' | cut -d'\"' -f2 | sort | uniq -c | sort -rn",
    "grep 'open files' /proc/PID/limits",
)

_SYN_SENT_RUN = (
    "ss -Htan state syn-sent | awk '{print $4}' | sort | uniq -c | sort -rn | head",
    "ss -tanp state syn-sent | head -30",
)


def _lasting(key: str, threshold: str, period: str = "5m") -> str:
    """High for this period, and when it began: of a first sample, or the first after a stop, min() would be content.

    Not in every trigger: Zabbix draws the threshold into graphs only where min() stands alone.
    """
    return f"min(//{key},{period})>{threshold} and last(//{key},#1:now-{period})>{threshold}"


_CLOSE_WAIT_MANY = Trigger(
    name="TCP: Very many connections in CLOSE_WAIT",
    detail="over {$TCP.CLOSE_WAIT.MAX.CRIT} for 15m",
    expression="min(//tcp.status[CLOSE_WAIT],15m)>{$TCP.CLOSE_WAIT.MAX.CRIT}",
    priority="AVERAGE",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE1}",
    means=CLOSE_WAIT_MEANS,
    run=_CLOSE_WAIT_RUN,
    do=CLOSE_WAIT_DO,
)
_CLOSE_WAIT = Trigger(
    name="TCP: Many connections in CLOSE_WAIT",
    detail="over {$TCP.CLOSE_WAIT.MAX.WARN} for 15m",
    expression="min(//tcp.status[CLOSE_WAIT],15m)>{$TCP.CLOSE_WAIT.MAX.WARN}",
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE1}",
    means=CLOSE_WAIT_MEANS,
    run=_CLOSE_WAIT_RUN,
    do=CLOSE_WAIT_DO,
    depends_on=_CLOSE_WAIT_MANY.name,
)
_GROWTH = "{$TCP.CLOSE_WAIT.GROWTH.MAX}"
_FLOORS = [f"min(//tcp.status[CLOSE_WAIT],1h{shift})" for shift in ("", ":now-1h", ":now-2h", ":now-3h")]
_ROSE = " and ".join(f"{later}-{earlier}>{_GROWTH}" for later, earlier in pairwise(_FLOORS))
_CLOSE_WAIT_GROWS = Trigger(
    name="TCP: Connections in CLOSE_WAIT grow steadily",
    detail=f"by more than {_GROWTH} an hour, for 3h",
    # The lowest number of each hour, which short-lived ones do not lift. The first condition follows from the others:
    # it makes a healthy host's expression false, instead of unknown, while there are not yet four hours of values.
    expression=f"min(//tcp.status[CLOSE_WAIT],1h)>3*{_GROWTH} and {_ROSE}",
    priority="INFO",
    scope="performance",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        f"In each of the last three hours, the lowest number of connections in CLOSE_WAIT was more than {_GROWTH} above "
        "that of the hour before. A program does not close connections that its peers have closed: a leak, early."
    ),
    run=_CLOSE_WAIT_RUN,
    do=(
        "Find the program in the list and tell its developers. Until it is mended, plan its restart for before it runs "
        "out of file descriptors."
    ),
    depends_on=_CLOSE_WAIT.name,
)
_SYN_RECV = Trigger(
    name="TCP: Many half-open connections (SYN_RECV)",
    detail="over {$TCP.SYN_RECV.MAX.CRIT} for 5m",
    expression=_lasting("tcp.status[SYN_RECV]", "{$TCP.SYN_RECV.MAX.CRIT}"),
    priority="AVERAGE",
    scope="security",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "Requests for connections were answered by this host, and not confirmed: a SYN flood with forged addresses, or "
        "a network that loses packets on the way to the clients."
    ),
    run=(
        "ss -Htan state syn-recv | awk '{print $3}' | sort | uniq -c | sort -rn | head",
        f"ss -Htan state syn-recv | {PEERS} | head",
        "nstat -az TcpExtSyncookiesSent TcpExtTCPReqQFullDoCookies TcpExtListenDrops",
        "sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog",
    ),
    do=(
        "The first list shows the port, the second from where. Few addresses: block them in the firewall. Very many: a "
        "flood; see that net.ipv4.tcp_syncookies is 1, and have it filtered upstream. Only your own clients: look for "
        "a broken or asymmetric route back to them."
    ),
)
_SYN_SENT_HOSTS = Trigger(
    name="TCP: Connection requests to many hosts stay unanswered",
    detail="over {$TCP.SYN_SENT.HOSTS.MAX.CRIT} addresses for 5m",
    expression=_lasting("tcp.syn_sent.hosts", "{$TCP.SYN_SENT.HOSTS.MAX.CRIT}"),
    priority="HIGH",
    scope="security",
    value="Current: {ITEM.LASTVALUE1} addresses",
    means=(
        "This host asks many different machines for connections and gets no answer. Either something on it scans the "
        "network (a worm, an intruder, a scanner that you run yourself), or its way out is broken."
    ),
    run=("ss -tanp state syn-sent | head -30", _SYN_SENT_RUN[0], "ip route get 192.0.2.1"),
    do=(
        "Look at the program's name and at the remote ports. One port over a range of addresses is a scan: take the "
        "host off the network, and treat it as broken into. Your own services towards their usual peers: look for the "
        "route or the firewall. A host whose work it is (a crawler, a monitoring server) gets a higher macro."
    ),
)
_SYN_SENT = Trigger(
    name="TCP: Many connection requests stay unanswered (SYN_SENT)",
    detail="over {$TCP.SYN_SENT.MAX.WARN} for 5m",
    expression=_lasting("tcp.status[SYN_SENT]", "{$TCP.SYN_SENT.MAX.WARN}"),
    priority="WARNING",
    scope="availability",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "This host asks for connections and gets neither an acceptance nor a refusal: a peer is down, or a firewall "
        "drops the requests in silence. The programs that ask wait for their timeouts."
    ),
    run=(*_SYN_SENT_RUN, "nc -vz -w 5 ADDRESS PORT"),
    do=(
        "The first list names the address and port that do not answer. See whether that machine is up, and what the "
        "firewalls between drop; whoever answers with a refusal would not show here."
    ),
    depends_on=_SYN_SENT_HOSTS.name,
)
_TIME_WAIT = Trigger(
    name="TCP: TIME_WAIT is near the kernel's limit",
    detail="over {$TCP.TIME_WAIT.PUSED.MAX.WARN}% for 5m",
    expression=("min(//tcp.status[TIME_WAIT],5m)>last(//tcp.limit[TIME_WAIT])*{$TCP.TIME_WAIT.PUSED.MAX.WARN}/100"),
    priority="WARNING",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE1} of {ITEM.LASTVALUE2}",
    means=(
        "Closed connections wait out their minute, and there are almost as many as the kernel keeps. Beyond the limit it "
        "forgets them at once (kernel log: time wait bucket table overflow), and late segments may disturb new "
        "connections. Somebody opens and closes connections very fast."
    ),
    run=(
        "sysctl net.ipv4.tcp_max_tw_buckets net.ipv4.ip_local_port_range",
        f"ss -Htan state time-wait | {PEERS} | head",
        "dmesg | grep -i 'time wait bucket'",
    ),
    do=(
        "Let clients keep connections open (keep-alive, a connection pool). If the rate is right as it is, raise "
        "net.ipv4.tcp_max_tw_buckets; one costs about 250 bytes. Many towards one address and port use up the local "
        "ports: widen net.ipv4.ip_local_port_range."
    ),
)
_ESTABLISHED = Trigger(
    name="TCP: Many established connections",
    detail="over {$TCP.ESTABLISHED.MAX.WARN} for 5m",
    expression="min(//tcp.status[ESTABLISHED],5m)>{$TCP.ESTABLISHED.MAX.WARN}",
    priority="WARNING",
    scope="capacity",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "More connections are open than this host is known to carry. Disabled as shipped: what is too many, only you "
        "know. Set the macro, and enable the trigger."
    ),
    run=("ss -Htan state established | awk '{print $3}' | sort | uniq -c | sort -rn | head", "ss -s"),
    do="Find the port that grew. Add capacity, or look for a client that opens connections and does not use them.",
    is_enabled=False,
)

_REFUSED = Trigger(
    name="TCP sender: Zabbix refuses values",
    detail="over {$TCP.SENDER.REJECTED.MAX.WARN} in 30m",
    # Not max()-min(): the counter begins at 0 again when the daemon is restarted.
    expression=("last(//tcp.sender.rejected)-min(//tcp.sender.rejected,30m)>{$TCP.SENDER.REJECTED.MAX.WARN}"),
    priority="WARNING",
    scope="notice",
    value="Since the daemon's start: {ITEM.LASTVALUE1}",
    means=(
        "A Zabbix server or proxy (this one, or another destination of the daemon) took the daemon's data, but refused "
        "some values: it does not know the host or the item, or it is disabled, or not allowed from that address."
    ),
    run=(_STATUS, "journalctl -u tcp-status-sender -p warning -n 50"),
    do=(
        "The log names the refused keys and what to look at. After an upgrade of the daemon, import the template that "
        "came with it (tcp-status-sender template). Refused values are not sent again."
    ),
)
_LOST = Trigger(
    name="TCP sender: Values are lost",
    detail="over {$TCP.SENDER.DROPPED.MAX.WARN} in 30m",
    expression="last(//tcp.sender.dropped)-min(//tcp.sender.dropped,30m)>{$TCP.SENDER.DROPPED.MAX.WARN}",
    priority="WARNING",
    scope="availability",
    value="Since the daemon's start: {ITEM.LASTVALUE1}",
    means=(
        "The spool on the host is full, or what waits in it is too old: a destination has been away for longer than "
        "spool.max_age or spool.max_size allow, and the oldest values are thrown away. Or the spool was damaged."
    ),
    run=(_STATUS, _LOG, "df -h /var/lib/tcp-status-sender"),
    do=(
        "The status names the destination that takes nothing, and why. Mend it, remove it from the configuration if it "
        "is gone for good, or raise spool.max_age and spool.max_size."
    ),
)
_WAITING = Trigger(
    name="TCP sender: A destination does not take values",
    detail="over {$TCP.SENDER.BACKLOG.MAX.WARN} waiting for {$TCP.SENDER.BACKLOG.TIME}",
    # Values that arrive late tell of the outage that they waited out: the long time keeps that from being a problem
    # again when it is over.
    expression=_lasting("tcp.sender.backlog", "{$TCP.SENDER.BACKLOG.MAX.WARN}", "{$TCP.SENDER.BACKLOG.TIME}"),
    priority="WARNING",
    scope="availability",
    value="Waiting: {ITEM.LASTVALUE1}",
    means=(
        "For {$TCP.SENDER.BACKLOG.TIME} without a break, values have been waiting at a destination of the daemon. It is "
        "not this server or proxy, if fresh values arrive here: it is another one of the configuration. Nothing is lost "
        "as long as the spool holds it (spool.max_age, 7 days by default)."
    ),
    run=(_STATUS, _LOG),
    do=(
        "The status names the destination that takes nothing, since when and why: mend it, or remove it from the "
        "configuration. What waits is delivered as soon as it answers. After an outage of this Zabbix itself that was "
        "longer, the values that arrive late may raise this too: it ends with the next sample."
    ),
    depends_on=NO_DATA.name,
)
_RESTARTED = Trigger(
    name="TCP sender: The daemon was restarted",
    detail="uptime < 10m",
    # Only where there were values before: a first start is no restart.
    expression="last(//tcp.sender.uptime)<10m and count(//tcp.sender.uptime,10m:now-10m)>0",
    priority="INFO",
    scope="notice",
    value="Uptime: {ITEM.LASTVALUE1}",
    means="The daemon was started less than 10 minutes ago, and had been running before.",
    run=("journalctl -u tcp-status-sender --since -30m", "last -x reboot | head -3"),
    do=(
        "Nothing, if it was you or a reboot. Otherwise the log says why it ended; samples that waited are delivered, "
        "those that were not taken are a hole."
    ),
    manual_close=True,
)
_SLOW = Trigger(
    name="TCP sender: Samples take long",
    detail="over {$TCP.SENDER.SAMPLE.TIME.MAX.WARN}s for 5m",
    expression="min(//tcp.sender.sample.time,5m)>{$TCP.SENDER.SAMPLE.TIME.MAX.WARN}",
    priority="WARNING",
    scope="performance",
    value="Current: {ITEM.LASTVALUE1}",
    means=(
        "The kernel takes seconds to list the host's sockets: there are millions of them, or the host is so busy that "
        "the daemon gets no processor. When a sample takes longer than the interval, samples are left out."
    ),
    run=("ss -s", "uptime", "systemctl status tcp-status-sender"),
    do="With millions of sockets, raise interval: in the configuration. Otherwise find what keeps the processors busy.",
)

TRIGGERS = (
    NO_DATA,
    _CLOSE_WAIT_MANY,
    _CLOSE_WAIT,
    _CLOSE_WAIT_GROWS,
    _SYN_RECV,
    _SYN_SENT_HOSTS,
    _SYN_SENT,
    _TIME_WAIT,
    _ESTABLISHED,
    _REFUSED,
    _LOST,
    _WAITING,
    _RESTARTED,
    _SLOW,
)
