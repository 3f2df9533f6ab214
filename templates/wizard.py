"""What the host wizard, from 7.4 on, says of the template, and the macros for which it asks."""

from __future__ import annotations

from typing import NamedTuple

from sender.items import TEMPLATE


class Asked(NamedTuple):
    """How it asks for a macro's value: in which section, in which words, and what fits, as a regular expression."""

    section: str
    label: str
    fits: str


_COUNT, _PERCENT, _TIME, _ANY = "^[0-9]+$", r"^[0-9]+(\.[0-9]+)?$", "^[0-9]+[smhd]?$", "^.+$"
_HOST, _PORTS, _CHOICE = "Problems of the host", "Problems of a port", "What to monitor"

ASKED = {
    "{$TCP.NODATA.TIMEOUT}": Asked(_HOST, "No data from the daemon for", _TIME),
    "{$TCP.CLOSE_WAIT.MAX.WARN}": Asked(_HOST, "Many connections in CLOSE_WAIT: more than", _COUNT),
    "{$TCP.CLOSE_WAIT.MAX.CRIT}": Asked(_HOST, "Very many connections in CLOSE_WAIT: more than", _COUNT),
    "{$TCP.SYN_RECV.MAX.CRIT}": Asked(_HOST, "Many half-open connections (SYN_RECV): more than", _COUNT),
    "{$TCP.SYN_SENT.MAX.WARN}": Asked(_HOST, "Many unanswered requests (SYN_SENT): more than", _COUNT),
    "{$TCP.SYN_SENT.HOSTS.MAX.CRIT}": Asked(_HOST, "Addresses that do not answer: more than", _COUNT),
    "{$TCP.EPHEMERAL.PUSED.MAX.WARN}": Asked(_HOST, "Many local ports in use: more than, in %", _PERCENT),
    "{$TCP.EPHEMERAL.PUSED.MAX.CRIT}": Asked(_HOST, "Local ports nearly used up: more than, in %", _PERCENT),
    "{$TCP.RETRANS.PSHARE.MAX.WARN}": Asked(_HOST, "Many segments sent again: more than, in %", _PERCENT),
    "{$TCP.LISTEN.QUEUE.PUSED.MAX.WARN}": Asked(_PORTS, "Accept queue nearly full: more than, in %", _PERCENT),
    "{$TCP.LISTEN.QUEUE.PUSED.MAX.CRIT}": Asked(_PORTS, "Accept queue full: from, in %", _PERCENT),
    "{$TCP.DROPS.MAX.WARN}": Asked(_PORTS, "Requests dropped in 5 minutes: more than", _COUNT),
    "{$TCP.PORT.MATCHES}": Asked(_CHOICE, "Local ports (regular expression)", _ANY),
    "{$TCP.PORT.NOT_MATCHES}": Asked(_CHOICE, "Local ports not to monitor (regular expression)", _ANY),
    "{$TCP.PORT.SCOPE.NOT_MATCHES}": Asked(_CHOICE, "Scopes of ports not to monitor, such as ^loopback$", _ANY),
    "{$TCP.SERVICE.NOT_MATCHES}": Asked(_CHOICE, "Services not to monitor (regular expression)", _ANY),
}
"""In the order in which it asks. The others are for who knows them."""

README = f"""\
## {TEMPLATE}

The daemon **tcp-status-sender** on a Linux host counts its TCP sockets by state, port and service, straight from the kernel, and \
pushes the counts. Nothing is polled: no Zabbix agent and no interface are needed.

### On the host

1. Install tcp-status-sender. Its README says how.
2. In `/etc/tcp-status-sender/config.yaml`, set `host` to exactly the name of the host here (case matters), and `destinations` to this \
server, or to the proxy that monitors the host:

       host: web-01
       destinations:
         - name: main
           nodes: [zabbix.example.com]

3. Run `tcp-status-sender check`. It tests everything, and says what is wrong and what to do.
4. Run `systemctl enable --now tcp-status-sender`.

### Here

- A server takes new items within a minute, a proxy after its *ProxyConfigFrequency*.
- To encrypt, give the host a pre-shared key or a certificate, and set `tls` in the configuration.
- The thresholds below are of every port. For one alone, set the macro on the host with the port as context: \
`{{$TCP.CLOSE_WAIT.MAX.WARN:"443"}}`.
- Ports, services and containers appear by themselves. In *Monitoring > Hosts*, the host has the dashboard *TCP states*.\
"""
