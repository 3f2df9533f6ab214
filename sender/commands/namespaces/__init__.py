"""The command `namespaces`: root's helper, which hands the daemon a netlink socket in each network namespace of this machine.

Knows nothing of sockets' counts, of the configuration or of Zabbix, and has no connection to any network. It is the only part
that needs a privilege, so it is small, and takes nothing from whom it serves.
"""
