"""The triggers of the daemon itself: it is silent, rejected, behind, restarted or slow."""

from __future__ import annotations

from templates.model import Trigger, lasting

_STATUS = "tcp-status-sender status"
_LOG = "journalctl -u tcp-status-sender -n 50"


def _since_start_in_30m(key: str, threshold: str) -> str:
    """Return an expression for a counter of the daemon, sent only on change, that has grown in the last 30 minutes.

    It begins at 0 when the daemon starts: after a start what it was before does not count. The uptime comes with every sample,
    so that the problem ends while the counter is not sent. All is as of a minute ago, because of one sample Zabbix can know
    the uptime and not yet the counter.
    """
    now, before, uptime = f"{key},#1:now-1m", f"{key},#1:now-31m", "tcp.sender.uptime,#1:now-1m"
    return f"last(//{now})-last(//{before})*(last(//{uptime})>=30m)>{threshold}"


_NO_DATA = Trigger(
    name="TCP: No data from tcp-status-sender",
    detail="for {$TCP.NODATA.TIMEOUT}",
    expression="nodata(//tcp.status[TOTAL],{$TCP.NODATA.TIMEOUT})=1",
    priority="WARNING",
    scope="availability",
    value="Last: {ITEM.LASTVALUE1} sockets",
    means=(
        "No TCP state has arrived for {$TCP.NODATA.TIMEOUT}. The host is down, the daemon is not running, it cannot "
        "reach this server or proxy, Zabbix rejects its values (host: in its configuration is not exactly this host's "
        "name), or the kernel refuses to list its sockets."
    ),
    run=("systemctl status tcp-status-sender", _STATUS, _LOG),
    do=(
        "The log says in one sentence what failed and what to do. Samples taken meanwhile arrive later, with their own "
        "times. The macro must be at least twice the interval of the daemon."
    ),
    manual_close=True,
)
_REJECTED = Trigger(
    name="TCP sender: Zabbix rejects values",
    detail="over {$TCP.SENDER.REJECTED.MAX.WARN} in 30m",
    expression=_since_start_in_30m("tcp.sender.rejected", "{$TCP.SENDER.REJECTED.MAX.WARN}"),
    priority="WARNING",
    scope="notice",
    value="Since the daemon's start: {ITEM.LASTVALUE1}",
    means=(
        "A Zabbix server or proxy (this one, or another destination of the daemon) rejects some of the daemon's "
        "values: it does not know the host or the item, one of them is disabled, or the item does not allow this host."
    ),
    run=(_STATUS, "journalctl -u tcp-status-sender -p warning -n 50"),
    do=(
        "The log names the rejected keys and what to look at. After an upgrade of the daemon, import the template that "
        "came with it (tcp-status-sender template). To do without an item, do not disable it: its values would be rejected for "
        "ever. Let Zabbix store no history and no trends of it. Rejected values are not sent again."
    ),
)
_DROPPED = Trigger(
    name="TCP sender: Values are dropped",
    detail="over {$TCP.SENDER.DROPPED.MAX.WARN} in 30m",
    expression=_since_start_in_30m("tcp.sender.dropped", "{$TCP.SENDER.DROPPED.MAX.WARN}"),
    priority="WARNING",
    scope="availability",
    value="Since the daemon's start: {ITEM.LASTVALUE1}",
    means=(
        "The spool on the host is full, or its oldest values are too old: delivery to a destination has failed for longer "
        "than spool.max_age or spool.max_size allow, and the daemon drops the oldest values. Or the spool was damaged."
    ),
    run=(_STATUS, _LOG, "df -h /var/lib/tcp-status-sender"),
    do=(
        "The status names the destination to which delivery fails, and why. Repair it, remove it from the configuration if "
        "it is gone for good, or raise spool.max_age and spool.max_size."
    ),
)
_QUEUED = Trigger(
    name="TCP sender: Delivery to a destination fails",
    detail="over {$TCP.SENDER.BACKLOG.MAX.WARN} queued for {$TCP.SENDER.BACKLOG.TIME}",
    # Values that arrive late tell of the outage in which they were queued: the long time keeps that from being a problem
    # again when it is over.
    expression=lasting("tcp.sender.backlog", "{$TCP.SENDER.BACKLOG.MAX.WARN}", "{$TCP.SENDER.BACKLOG.TIME}"),
    priority="WARNING",
    scope="availability",
    value="Queued: {ITEM.LASTVALUE1}",
    means=(
        "For {$TCP.SENDER.BACKLOG.TIME} without a break, values have been queued for a destination of the daemon. If fresh "
        "values arrive here, it is not this server or proxy, but another one of the configuration. The spool keeps the "
        "values (for spool.max_age, 7 days by default)."
    ),
    run=(_STATUS, _LOG),
    do=(
        "The status names the destination to which delivery fails, since when and why. Repair it, or remove it from the "
        "configuration. Queued values are delivered as soon as it answers. After a long outage of this Zabbix itself, the "
        "values that arrive late may raise this problem, too; it ends with the next sample."
    ),
    depends_on=(_NO_DATA.name,),
)
_RESTARTED = Trigger(
    name="TCP sender: The daemon was restarted",
    detail="uptime < 10m",
    # Only where there were values before: a first start is no restart.
    # Operator and pattern say nothing, but without them the upgrade of a server from before 5.4 makes another expression.
    expression='last(//tcp.sender.uptime)<10m and count(//tcp.sender.uptime,10m:now-10m,"ge","0")>0',
    priority="INFO",
    scope="notice",
    value="Uptime: {ITEM.LASTVALUE1}",
    means="The daemon was started less than 10 minutes ago, and had been running before.",
    run=("journalctl -u tcp-status-sender --since -30m", "last -x reboot | head -3"),
    do=(
        "Nothing, if it was you or a reboot. Otherwise the log says why it ended. Queued samples are delivered; "
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
        "the daemon gets no processor. When a sample takes longer than the interval, samples are skipped."
    ),
    run=("ss -s", "uptime", "systemctl status tcp-status-sender"),
    do="With millions of sockets, raise interval: in the configuration. Otherwise find what keeps the processors busy.",
)

TRIGGERS = (_NO_DATA, _REJECTED, _DROPPED, _QUEUED, _RESTARTED, _SLOW)
