"""tcp-status-sender: counts a Linux host's TCP sockets by state and pushes the counts to Zabbix."""

__version__ = "1.0.0"
