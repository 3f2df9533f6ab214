"""What the tests share: real sockets, real namespaces, a real Zabbix. Only what plays a part of `sender` knows its insides."""
