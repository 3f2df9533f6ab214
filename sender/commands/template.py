"""The bundled Zabbix template, as text. Knows where it lies in the installed package."""

from __future__ import annotations

from importlib.resources import files

NAME = "TCP states by Zabbix trapper"
GROUP = "Templates/Operating systems"  # which every Zabbix has from the beginning
FORMATS = {"6.0": "tcp_states_template.xml", "3.4": "tcp_states_template_3.4.xml"}
"""Format of the export (the oldest Zabbix that imports it) to file name."""


def text(version: str) -> str:
    """The template in the format of Zabbix `version`, a key of FORMATS."""
    return (files("sender") / "templates" / FORMATS[version]).read_text(encoding="utf-8")
