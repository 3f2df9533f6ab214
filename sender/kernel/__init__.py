"""What the kernel says of its TCP sockets: the request, the dump, its decoder and the counting.

The only user of pyroute2. Knows nothing of Zabbix, of ports worth reporting, or of when a sample is due.
"""
