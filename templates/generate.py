"""Writes the bundled Zabbix template; `--check` only says whether the file in the repository is stale.

What each item is called and means to an operator stands here; which items there are is `sender.items.KEYS`, and a key
that stands in only one of the two places is an error. Format: Zabbix manual, Data import and export, Templates.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from sender.items import KEYS

OUTPUT = Path(__file__).with_name("tcp_states_template.xml")
NAME = "TCP states by Zabbix trapper"
GROUP = ("Templates/Operating systems", "846977d1dfed4968bc5f8bdb363285bc")  # the group and uuid of Zabbix's own

DESCRIPTION = """\
TCP sockets of a Linux host by state, pushed by the daemon tcp-status-sender. All items are trapper items: nothing is \
polled, and no Zabbix agent is needed.

Setup: link this template to the host, and on the host set host: of /etc/tcp-status-sender/config.yaml to exactly \
the technical host name (case matters) and destinations: to this server or the host's proxy. The host needs no \
interface. A server takes new items within a minute, a proxy after its ConfigFrequency (an hour before 6.4)."""

STATES = {
    "ESTABLISHED": (
        "Open connections over which data can flow. The normal state of work; its level follows the load. A fall to "
        "near zero means that clients no longer get through, a climb without more load that connections are not closed."
    ),
    "SYN_SENT": (
        "This host has asked for a connection and has no answer yet. Normally near zero. Many of them mean that a "
        "peer is down or a firewall drops the requests; many towards many different machines suggest a worm or a "
        "scanner on this host."
    ),
    "SYN_RECV": (
        "A request for a connection has come in and was answered; the confirmation is still out. Many of them mean a "
        "SYN flood, or clients whose network loses packets."
    ),
    "FIN_WAIT1": (
        "The local program has closed the connection; neither the acknowledgement nor the peer's own close has come. "
        "Many of them mean peers that have vanished or a network that loses packets."
    ),
    "FIN_WAIT2": (
        "The local close is acknowledged; the peer has not closed its side. Many of them mean that the programs at the "
        "other end are slow to close."
    ),
    "TIME_WAIT": (
        "Closed; the kernel keeps the pair of addresses for a minute, so that late segments cannot reach a new "
        "connection. Normal on the side that closes first; very many of them use up the ports for outgoing connections."
    ),
    "CLOSE": (
        "Sockets without a connection: bound to a port, but neither listening nor connected. The kernel reports them "
        "since Linux 6.8; before that the value is always 0."
    ),
    "CLOSE_WAIT": (
        "The peer has closed, and the local program still has to call close(). Normally near zero: a number that stays "
        "or grows means that the program leaks connections; it fails when it runs out of file descriptors."
    ),
    "LAST_ACK": (
        "The peer had closed, then the local program; the acknowledgement of the local close is still out. Many of "
        "them mean peers that have vanished."
    ),
    "LISTEN": (
        "Sockets that wait for connection requests from any remote port. Changes when services start and stop; a fall "
        "means that a service is gone."
    ),
    "CLOSING": (
        "Both sides closed at the same moment; the acknowledgement of the local close is still out. Rare; normally 0."
    ),
}


@dataclass(frozen=True, kw_only=True)
class TemplateItem:
    """One trapper item. `value_type`, `units` and preprocessing in the words of the export format."""

    name: str
    description: str
    component: str
    value_type: str = ""  # UNSIGNED, which an export leaves out: written out, every import would show it as a change
    units: str = ""
    discard_unchanged: str = ""
    triggers: list[dict[str, str]] = field(default_factory=list)


NO_DATA = {
    "expression": f"nodata(/{NAME}/tcp.status[TOTAL],{{$TCP.NODATA.TIMEOUT}})=1",
    "name": "TCP: No data from tcp-status-sender",
    "event_name": "TCP: No data from tcp-status-sender (for {$TCP.NODATA.TIMEOUT})",
    "priority": "WARNING",
    "description": (
        "No TCP state has arrived for {$TCP.NODATA.TIMEOUT}. The host is down, the daemon is not running, it cannot "
        "reach this server or proxy, Zabbix refuses its values (host: in its configuration is not exactly this host's "
        "name), or the kernel refuses to list its sockets.\n"
        "Run on the host: systemctl status tcp-status-sender; journalctl -u tcp-status-sender -n 50. The log says in "
        "one sentence what failed and what to do. The macro must be at least twice the interval of the daemon."
    ),
    "manual_close": "YES",
    "scope": "availability",
}

ITEMS = {
    **{
        f"tcp.status[{state}]": TemplateItem(name=f"TCP: {state}", description=text, component="network")
        for state, text in STATES.items()
    },
    "tcp.status[TOTAL]": TemplateItem(
        name="TCP: Total",
        description="All TCP sockets of the host, IPv4 and IPv6, listening ones included: the sum of the states.",
        component="network",
        triggers=[NO_DATA],
    ),
    "tcp.sender.version": TemplateItem(
        name="TCP sender: Version",
        description="Version of the daemon tcp-status-sender on the host.",
        component="application",
        value_type="CHAR",
        discard_unchanged="1d",
    ),
    "tcp.sender.uptime": TemplateItem(
        name="TCP sender: Uptime",
        description="Time since the daemon tcp-status-sender was started.",
        component="application",
        units="uptime",
    ),
    "tcp.sender.sample.time": TemplateItem(
        name="TCP sender: Sample time",
        description=(
            "How long the kernel took to list its sockets for this sample: about 1 s per million sockets. If it comes "
            "near to the interval, raise the interval."
        ),
        component="application",
        value_type="FLOAT",
        units="s",
    ),
    "tcp.sender.backlog": TemplateItem(
        name="TCP sender: Values waiting",
        description=(
            "Values that waited at the worst destination when the sample was taken. Normally 0; it grows while a "
            "destination does not take values, and falls back when it does again."
        ),
        component="application",
    ),
    "tcp.sender.dropped": TemplateItem(
        name="TCP sender: Values lost",
        description=(
            "Values that fell out, since the daemon was started, because a destination was away for too long. Each is "
            "a hole in a graph there."
        ),
        component="application",
    ),
    "tcp.sender.rejected": TemplateItem(
        name="TCP sender: Values refused",
        description=(
            "Values that Zabbix refused since the daemon was started: a host or item that it does not know, or that "
            "is disabled. The daemon's log says what to look at. A number that no longer grows is history."
        ),
        component="application",
    ),
}

MACROS = {
    "{$TCP.NODATA.TIMEOUT}": ("10m", "No data for this long is a problem. At least twice the interval of the daemon.")
}


def identity(what: str) -> str:
    """A uuid that is always the same for `what`, in the form that the import demands: version 4, 32 hex digits."""
    return uuid.UUID(bytes=hashlib.sha256(f"tcp-status-sender {what}".encode()).digest()[:16], version=4).hex


def _add(parent: ET.Element, **texts: str) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = text


def _add_tag(parent: ET.Element, tag: str, value: str) -> None:
    _add(ET.SubElement(ET.SubElement(parent, "tags"), "tag"), tag=tag, value=value)


def _add_item(parent: ET.Element, key: str, item: TemplateItem) -> None:
    element = ET.SubElement(parent, "item")
    # History longer than the daemon holds values back: Zabbix silently drops what is older than an item's history.
    _add(element, uuid=identity(key), name=item.name, type="TRAP", key=key, delay="0", history="14d")
    if item.value_type == "CHAR":
        _add(element, trends="0")
    if item.value_type:
        _add(element, value_type=item.value_type)
    if item.units:
        _add(element, units=item.units)
    _add(element, description=item.description)
    if item.discard_unchanged:
        step = ET.SubElement(ET.SubElement(element, "preprocessing"), "step")
        _add(step, type="DISCARD_UNCHANGED_HEARTBEAT")
        _add(ET.SubElement(step, "parameters"), parameter=item.discard_unchanged)
    _add_tag(element, "component", item.component)
    if item.triggers:
        triggers = ET.SubElement(element, "triggers")
        for fields in item.triggers:
            trigger = ET.SubElement(triggers, "trigger")
            _add(
                trigger, uuid=identity(fields["name"]), **{tag: text for tag, text in fields.items() if tag != "scope"}
            )
            _add_tag(trigger, "scope", fields["scope"])


def document() -> str:
    """The whole template as XML. Raises SystemExit when its items are not those that the daemon sends."""
    if set(ITEMS) != set(KEYS):
        sys.exit(f"template and sender/items.py differ in {sorted(set(ITEMS) ^ set(KEYS))}")
    root = ET.Element("zabbix_export")
    _add(root, version="6.0")
    _add(ET.SubElement(ET.SubElement(root, "groups"), "group"), uuid=GROUP[1], name=GROUP[0])
    template = ET.SubElement(ET.SubElement(root, "templates"), "template")
    _add(template, uuid=identity(NAME), template=NAME, name=NAME, description=DESCRIPTION)
    _add(ET.SubElement(ET.SubElement(template, "groups"), "group"), name=GROUP[0])
    items = ET.SubElement(template, "items")
    for key in KEYS:
        _add_item(items, key, ITEMS[key])
    tags = ET.SubElement(template, "tags")
    _add(ET.SubElement(tags, "tag"), tag="class", value="os")
    _add(ET.SubElement(tags, "tag"), tag="target", value="linux")
    macros = ET.SubElement(template, "macros")
    for macro, (value, meaning) in MACROS.items():
        _add(ET.SubElement(macros, "macro"), macro=macro, value=value, description=meaning)
    ET.indent(root, "    ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def main() -> int:
    """Write the file, or with --check compare it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is stale")
    if parser.parse_args().check:
        if OUTPUT.read_text(encoding="utf-8") == document():
            return 0
        print(f"{OUTPUT.name} is stale: run `make template`", file=sys.stderr)
        return 1
    OUTPUT.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
