"""What people write: our YAML file and a Zabbix agent's own, as frozen settings, or every problem at once.

Owns the names of the keys, their defaults and their checks. Knows nothing of what is done with them.
"""
