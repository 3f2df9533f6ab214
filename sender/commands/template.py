"""The command `template`, and the bundled template's text for others. Knows where it lies in the installed package."""

from __future__ import annotations

from importlib.resources import files

GROUP = "Templates/Operating systems"  # the template's; every Zabbix has it from the beginning
FORMATS = {
    "7.4": "tcp_states_template_7.4.yaml",
    "7.0": "tcp_states_template_7.0.yaml",
    "6.0": "tcp_states_template.xml",
    "3.4": "tcp_states_template_3.4.xml",
}
"""Format of the export (the oldest Zabbix that imports it) to file name, the newest first."""


def text(version: str) -> str:
    """Return the template in the format of Zabbix `version`, a key of FORMATS."""
    return (files("sender") / "templates" / FORMATS[version]).read_text(encoding="utf-8")


def newest(version: tuple[int, ...]) -> str:
    """Return the newest format that Zabbix `version` imports."""
    return next(form for form in FORMATS if tuple(map(int, form.split("."))) <= version)
