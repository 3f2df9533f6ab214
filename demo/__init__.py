"""The demo: this machine in a Zabbix of its own, with trouble to look at, until Ctrl-C.

`make demo`, as root on Debian 12. Everything that it starts lives below one process, everything that it writes below one
directory.
"""
