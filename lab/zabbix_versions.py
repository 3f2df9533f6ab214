"""What differs between versions of Zabbix, 5.0 to 7.0, for who runs one and asks it through the API.

The API's own login and authentication are zabbix_utils' business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lab.program import caged, finish

if TYPE_CHECKING:
    from lab.release import Release

Version = tuple[int, int]

# A server does not start with a setting that it does not know: since when each is known.
SERVER_SETTINGS = (
    ((6, 0), "NodeAddress=127.0.0.1:{port}"),
    ((6, 0), "StartHistoryPollers=1"),
    ((6, 0), "StartODBCPollers=0"),
    ((7, 0), "StartAgentPollers=0"),
    ((7, 0), "StartBrowserPollers=0"),
    ((7, 0), "StartHTTPAgentPollers=0"),
    ((7, 0), "StartSNMPPollers=0"),
)
# What a file of templates may hold, from and up to which version under this name.
IMPORT_RULES = (
    ((0, 0), (5, 2), ("screens", "templateScreens")),
    ((6, 0), (6, 0), ("groups",)),
    ((6, 2), (9, 9), ("host_groups", "template_groups")),
    ((5, 2), (9, 9), ("templateDashboards",)),
    ((0, 0), (9, 9), ("discoveryRules", "graphs", "hosts", "httptests", "images", "items", "maps", "mediaTypes")),
    ((0, 0), (9, 9), ("templates", "triggers", "valueMaps")),
)


def installed(release: Release) -> Version:
    """Return the version of the Zabbix server that is installed in `release`."""
    printed = finish(caged(["zabbix_server", "--version"], release=release))
    major, minor = re.findall(r"\d+", printed)[:2]
    return int(major), int(minor)


def server_settings(version: Version) -> str:
    """Return the lines of zabbix_server.conf that not every version knows."""
    return "".join(f"{line}\n" for since, line in SERVER_SETTINGS if version >= since)


def proxy_settings(version: Version, server_port: int) -> str:
    """Return the lines of zabbix_proxy.conf that differ: its server, how often it asks it, and what it must not do."""
    server = f"127.0.0.1:{server_port}" if version >= (6, 0) else f"127.0.0.1\nServerPort={server_port}"
    frequency = "ProxyConfigFrequency" if version >= (6, 4) else "ConfigFrequency"
    nothing = [line for since, line in SERVER_SETTINGS if version >= since and line.endswith("=0")]
    return "\n".join([f"Server={server}", f"{frequency}=1", *nothing, ""])


def new_proxy(version: Version, name: str) -> dict[str, Any]:
    """Return the API properties of an active proxy."""
    return {"name": name, "operating_mode": 0} if version >= (7, 0) else {"host": name, "status": 5}


def monitored_by(version: Version, proxy_id: str) -> dict[str, Any]:
    """Return the API properties of a host that a proxy monitors."""
    return {"monitored_by": 1, "proxyid": proxy_id} if version >= (7, 0) else {"proxy_hostid": proxy_id}


def import_rules(version: Version) -> dict[str, dict[str, bool]]:
    """Return the rules of an import that creates what is missing, updates what exists and deletes nothing."""
    names = [name for since, until, names in IMPORT_RULES if since <= version <= until for name in names]
    rules = {name: {"createMissing": True, "updateExisting": True} for name in names}
    only_created = ["templateLinkage", *(["applications", "groups"] if version <= (5, 2) else [])]
    return rules | {name: {"createMissing": True} for name in only_created}


def new_host(version: Version) -> dict[str, Any]:
    """Return what a host needs beyond name and group: before 5.2 an interface, also where nothing is ever polled."""
    if version >= (5, 2):
        return {}
    interface = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"}
    return {"interfaces": [interface]}


def adjustments(version: Version) -> str:
    """Return SQL for a new database.

    The host that every new Zabbix brings along would have the server poll an agent on this machine. British English,
    every new user's before 5.2, is the one language for which the frontend asks no locale of the system; 7.0 asks one
    for every language, and has it in a folder made by .ci/debian-root.
    """
    statements = ["update hosts set status = 1 where host = 'Zabbix server'"]
    if version >= (5, 2):
        statements.append("update config set default_lang = 'en_GB'")
    return ";\n".join([*statements, "analyze;\n"])
