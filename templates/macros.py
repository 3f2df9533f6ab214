"""Every threshold and filter, with its default. Those with a port as context hold for that port alone."""

from __future__ import annotations

from templates.model import Macro

_MATCHES = ".*"
_NOT_MATCHES = "CHANGE_IF_NEEDED"

MACROS = {
    "{$TCP.NODATA.TIMEOUT}": Macro(
        value="10m", description="No data for this long is a problem. At least twice the interval of the daemon."
    ),
    "{$TCP.CLOSE_WAIT.MAX.WARN}": Macro(
        value="100",
        description='Connections in CLOSE_WAIT, on the host or on a port, for 15m. For one port: {$...WARN:"443"}.',
    ),
    "{$TCP.CLOSE_WAIT.MAX.CRIT}": Macro(
        value="1000",
        description='Connections in CLOSE_WAIT, on the host or on a port, for 15m. For one port: {$...CRIT:"443"}.',
    ),
    "{$TCP.CLOSE_WAIT.GROWTH.MAX}": Macro(
        value="5",
        description="By how much the lowest number of an hour in CLOSE_WAIT may exceed that of the hour before.",
    ),
    "{$TCP.SYN.DROPS.MAX.CRIT}": Macro(
        value="10", description="Requests dropped in 5m because a half-open queue was full and SYN cookies are off."
    ),
    "{$TCP.SYN.COOKIES.MAX.CRIT}": Macro(value="100", description="SYN cookies sent in 5m."),
    "{$TCP.SYN_RECV.MAX.CRIT}": Macro(value="200", description="Half-open connections (SYN_RECV), for 5m."),
    "{$TCP.SYN_RECV.PUSED.MAX.WARN}": Macro(
        value="80",
        description='Half-open connections of a port in percent of its listener\'s limit, for 5m. For one port: {$...WARN:"443"}.',
    ),
    "{$TCP.SYN_SENT.MAX.WARN}": Macro(value="100", description="Unanswered requests (SYN_SENT), for 5m."),
    "{$TCP.SYN_SENT.HOSTS.MAX.CRIT}": Macro(
        value="50", description="Different addresses that do not answer this host's requests, for 5m."
    ),
    "{$TCP.TIME_WAIT.PUSED.MAX.WARN}": Macro(
        value="80",
        description="Sockets that count against the limit of TIME_WAIT in percent of it (net.ipv4.tcp_max_tw_buckets), for 5m.",
    ),
    "{$TCP.TIME_WAIT.OVERFLOW.MAX.WARN}": Macro(
        value="10", description="Connections closed in 5m without TIME_WAIT, because its limit was reached."
    ),
    "{$TCP.EPHEMERAL.PUSED.MAX.WARN}": Macro(
        value="80",
        description="Local ports in use towards one destination in percent of those that can be used, for 5m.",
    ),
    "{$TCP.EPHEMERAL.PUSED.MAX.CRIT}": Macro(
        value="95",
        description="Local ports in use towards one destination in percent of those that can be used, for 5m.",
    ),
    "{$TCP.RETRANS.PSHARE.MAX.WARN}": Macro(
        value="5", description="Segments sent again in percent of all segments sent, in each of three times 5m."
    ),
    "{$TCP.RETRANS.SEGMENTS.MIN}": Macro(
        value="3000",
        description="A host that has sent no more segments than this in 5m has no share of segments sent again.",
    ),
    "{$TCP.ATTEMPT.FAILS.RATE.MAX.WARN}": Macro(
        value="5", description="Failed connection attempts per second, for 5m."
    ),
    "{$TCP.ORPHANS.PUSED.MAX.WARN}": Macro(
        value="80", description="Orphaned sockets in percent of the limit (net.ipv4.tcp_max_orphans), for 5m."
    ),
    "{$TCP.MEMORY.PUSED.MAX.CRIT}": Macro(
        value="80", description="Memory of TCP in percent of the limit (the last number of net.ipv4.tcp_mem), for 5m."
    ),
    "{$TCP.MEMORY.PRESSURES.MAX.WARN}": Macro(
        value="0", description="How many times in 15m TCP's memory may pass the second number of net.ipv4.tcp_mem."
    ),
    "{$TCP.UNHASHED.MAX.WARN}": Macro(value="100", description="Sockets in no state, for 15m."),
    "{$TCP.ESTABLISHED.MAX.WARN}": Macro(
        value="10000",
        description=(
            "Established connections, on the host or on a port, for 5m. Its triggers are disabled as shipped. For one "
            'port: {$...WARN:"443"}.'
        ),
    ),
    "{$TCP.LISTEN.QUEUE.PUSED.MAX.WARN}": Macro(
        value="80",
        description='Accept queue of a port in percent of its limit, for 5m. For one port: {$...WARN:"443"}.',
    ),
    "{$TCP.LISTEN.QUEUE.PUSED.MAX.CRIT}": Macro(
        value="100",
        description='Accept queue of a port in percent of its limit, in 3 samples. For one port: {$...CRIT:"443"}.',
    ),
    "{$TCP.DROPS.MAX.WARN}": Macro(
        value="10", description='Requests dropped at the listeners of a port in 5m. For one port: {$...WARN:"443"}.'
    ),
    "{$TCP.REMOTE.CLOSE_WAIT.MAX.WARN}": Macro(
        value="100",
        description='Connections to a remote port in CLOSE_WAIT, for 15m. For one port: {$...WARN:"5432"}.',
    ),
    "{$TCP.REMOTE.CLOSE_WAIT.MAX.CRIT}": Macro(
        value="1000",
        description='Connections to a remote port in CLOSE_WAIT, for 15m. For one port: {$...CRIT:"5432"}.',
    ),
    "{$TCP.REMOTE.ESTABLISHED.MAX.WARN}": Macro(
        value="10000",
        description=(
            "Established connections to a remote port, for 5m. Its triggers are disabled as shipped. For one port: "
            '{$...WARN:"5432"}.'
        ),
    ),
    "{$TCP.SENDER.REJECTED.MAX.WARN}": Macro(value="0", description="Values that Zabbix may reject in 30m."),
    "{$TCP.SENDER.DROPPED.MAX.WARN}": Macro(value="0", description="Values that the daemon may drop in 30m."),
    "{$TCP.SENDER.BACKLOG.MAX.WARN}": Macro(
        value="0", description="Values that may be queued for {$TCP.SENDER.BACKLOG.TIME} without a break."
    ),
    "{$TCP.SENDER.BACKLOG.TIME}": Macro(
        value="1h",
        description="For how long values may be queued: longer than your servers' maintenance takes.",
    ),
    "{$TCP.SENDER.SAMPLE.TIME.MAX.WARN}": Macro(
        value="5", description="Seconds that a sample may take, for 5m. Less than the interval of the daemon."
    ),
    "{$TCP.PORT.MATCHES}": Macro(value=_MATCHES, description="Local ports to monitor (a regular expression)."),
    "{$TCP.PORT.NOT_MATCHES}": Macro(
        value=_NOT_MATCHES, description="Local ports not to monitor (a regular expression), such as ^(22|111)$."
    ),
    "{$TCP.PORT.SCOPE.MATCHES}": Macro(
        value=_MATCHES, description="Local ports to monitor, by where they can be reached: any, loopback or container."
    ),
    "{$TCP.PORT.SCOPE.NOT_MATCHES}": Macro(
        value=_NOT_MATCHES, description="Local ports not to monitor, by where they can be reached, such as ^loopback$."
    ),
    "{$TCP.REMOTE.PORT.MATCHES}": Macro(value=_MATCHES, description="Remote ports to monitor (a regular expression)."),
    "{$TCP.REMOTE.PORT.NOT_MATCHES}": Macro(
        value=_NOT_MATCHES, description="Remote ports not to monitor (a regular expression)."
    ),
    "{$TCP.SERVICE.MATCHES}": Macro(value=_MATCHES, description="Services to monitor (a regular expression)."),
    "{$TCP.SERVICE.NOT_MATCHES}": Macro(
        value=_NOT_MATCHES, description="Services not to monitor (a regular expression), such as ^user sessions$."
    ),
    "{$TCP.NETNS.MATCHES}": Macro(value=_MATCHES, description="Network namespaces to monitor (a regular expression)."),
    "{$TCP.NETNS.NOT_MATCHES}": Macro(
        value=_NOT_MATCHES, description="Network namespaces not to monitor (a regular expression)."
    ),
}
