"""The command `provision`: the template, host groups and hosts, made over the API of Zabbix.

The only user of zabbix_utils. Knows nothing of sampling, of the spool or of the trapper.
"""
