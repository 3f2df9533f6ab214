"""The bundled Zabbix template: one source for each of its export formats and for its page in docs/."""
