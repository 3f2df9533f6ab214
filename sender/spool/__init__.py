"""The durable queue: samples on their way to each destination, on the disk and in memory while the disk fails.

The only user of sqlite3. Knows nothing of Zabbix, and nothing of when a delivery is tried again.
"""
