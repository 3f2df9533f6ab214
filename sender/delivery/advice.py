"""What to do about values that Zabbix rejects, once for the log and for `check`. Texts alone; knows no destination."""

from __future__ import annotations

from sender.items import TEMPLATE

NAME = (
    "Create the host in Zabbix under exactly this name (case matters), which its visible name is not, or correct `host` here. "
    "Is it monitored by another server or by a proxy? Then name that one in `nodes`."
)
ENABLE = "Enable the host in Zabbix."
DELAY = (
    "A server knows new hosts and items within a minute, a proxy after its ConfigFrequency (an hour before Zabbix 6.4)."
)
LINK = f"Link the template '{TEMPLATE}' to the host (`tcp-status-sender template` prints it). {DELAY}"
ENCRYPTION = (
    "Let 'Connections from host' (tab Encryption of the host) allow what `tls` says here (connect: unencrypted, psk or "
    "cert): for PSK with the identity and the key of this very host, for certificates with this issuer and subject or none."
)
_ITEMS = (
    "Check these items of the host: enabled, of type Zabbix trapper, 'Allowed hosts' empty or with the address from which "
    "this host connects."
)
ITEMS = f"{_ITEMS} Where they are missing, import this version's template again (`tcp-status-sender template`)."
PORTS = (
    "Check the items of these ports: enabled, of type Zabbix trapper. Where they are missing, let the item prototypes of the "
    "states in `ports.states` be discovered."
)

_NO_REASON = "Zabbix does not give a reason"
UNKNOWN_HOST = f"{_NO_REASON}; `tcp-status-sender check` may. {NAME} {ENABLE} {LINK} {ENCRYPTION} {_ITEMS}"
"""For a host all of whose values are rejected."""

SOME_KEYS = (
    f"{_NO_REASON}. {ITEMS} {PORTS} Where all values of a port are rejected, its discovery is sent again and its values are "
    "held until its items are created."
)
"""For a host some of whose values are rejected."""
