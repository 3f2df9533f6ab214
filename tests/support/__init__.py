"""What the tests share: real sockets, real namespaces, a real Zabbix. Knows nothing of `sender`'s insides."""
