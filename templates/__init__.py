"""The bundled Zabbix template: one source for both of its export formats and for its page in docs/."""
