"""The command line's arguments, and what --help says of them. Knows no command's work."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from sender import __version__
from sender.commands import template
from sender.items import TEMPLATE
from sender.settings.files import DEFAULT_PATH


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` of what it returns is the name of one."""
    everything = argparse.ArgumentParser(prog="tcp-status-sender", description=_DESCRIPTION, epilog=_EPILOG)
    everything.add_argument("--version", action="version", version=f"tcp-status-sender {__version__}")
    commands = everything.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="sample and deliver until stopped", description=_RUN)
    run.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    run.add_argument("--dry-run", action="store_true", help="send nothing; print each sample as one line of JSON")
    run.add_argument("--once", action="store_true", help="take one sample, deliver it and exit")
    run.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], help="default: the config's, or info"
    )
    run.set_defaults(command="run")

    check = commands.add_parser(
        "check", help="test configuration, kernel, spool, and every destination", description=_CHECK
    )
    check.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    check.add_argument("--json", action="store_true", help="print the same as JSON, for programs")
    check.set_defaults(command="check")

    status = commands.add_parser("status", help="queued values per destination", description=_STATUS)
    status.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    status.add_argument("--json", action="store_true", help="print the same as JSON, for programs")
    status.set_defaults(command="status")

    show = commands.add_parser("show", help="this host's sockets as tables with bars", description=_SHOW)
    show.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    show.add_argument(
        "--all", action="store_true", help="also show other network namespaces, through the helper (see `namespaces`)"
    )
    form = show.add_mutually_exclusive_group()
    form.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="repeat every SECONDS (2), in place, with lines of the last minutes, until Ctrl-C",
    )
    form.add_argument("--json", action="store_true", help="print the same as JSON, for programs")
    show.set_defaults(command="show")

    namespaces = commands.add_parser(
        "namespaces", help="hand the daemon a socket in each network namespace, as root", description=_NAMESPACES
    )
    namespaces.add_argument(
        "--user",
        default="tcp-status-sender",
        metavar="USER",
        help="whom to serve, beside root: a name or a number; default: %(default)s",
    )
    namespaces.add_argument("--listen", type=Path, metavar="PATH", help="where to listen, without systemd")
    namespaces.set_defaults(command="namespaces")

    bundled = commands.add_parser("template", help="print the Zabbix template, for import", description=_TEMPLATE)
    bundled.add_argument("--format", choices=template.FORMATS, default="6.0", help="default: %(default)s")
    bundled.set_defaults(command="template")

    _add_provision(
        commands.add_parser(
            "provision", help="import the template and create hosts, over the API", description=_PROVISION
        )
    )
    return everything


def _add_provision(provision: argparse.ArgumentParser) -> None:
    add = provision.add_argument
    add("--url", required=True, help="address of Zabbix's web interface, such as https://zabbix.example.com/zabbix")
    add("--token-file", type=Path, metavar="FILE", help="file with the API token; default: ZABBIX_API_TOKEN")
    add("--ca-file", type=Path, metavar="FILE", help="CAs, in PEM form, to trust instead of this system's")
    add(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="host to create or complete; repeat for more; default: the configuration's host",
    )
    add("--hosts", metavar="FILE", help="file with one host name per line; - is standard input")
    add("--config", type=Path, metavar="FILE", help=f"configuration that names the host; {_CONFIG}")
    add(
        "--group",
        action="append",
        default=[],
        metavar="NAME",
        help="group for the hosts; repeat for more; created if it is missing",
    )
    add("--proxy", metavar="NAME", help="proxy, or from 7.0 on proxy group, that is to monitor the hosts")
    add(
        "--psk-identity",
        metavar="TEXT",
        help="identity of the hosts' pre-shared key; {host} stands for the host's name",
    )
    add("--psk-file", metavar="FILE", help="file with that key; {host} stands for the host's name")
    which = provision.add_mutually_exclusive_group()
    which.add_argument("--template-only", action="store_true", help="create and change no host")
    which.add_argument("--keep-template", action="store_true", help="leave the template in Zabbix as it is")
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")
    provision.set_defaults(command="provision")


_SHORTEST_S, _LONGEST_S = 0.1, 3600.0
_CONFIG = f"default: {DEFAULT_PATH} if it exists; else this host's name, every 30s, to 127.0.0.1:10051"
_DESCRIPTION = "Counts this host's TCP sockets by state, straight from the kernel, and pushes the counts to Zabbix."
_EPILOG = "exit codes: 0 done; 1 the work failed; 2 bad usage or bad configuration; 130 interrupted"
_RUN = (
    "Takes a sample at every whole multiple of the interval and delivers it to every destination, in the foreground, "
    "until SIGTERM or SIGINT. SIGHUP reads the configuration again. With --once, exits 0 only if every destination "
    "accepted every value."
)
_CHECK = (
    "Tests the configuration, the kernel, the spool and every destination. It sends one true sample of this host to find "
    "the keys that a destination rejects, and says what is wrong and what to do. Works whether the daemon runs or not. "
    "Exits 1 if any check fails."
)
_SHOW = (
    "Takes one sample and shows it: how many sockets are in which state, and what that means; each port with its "
    "connections and its accept queue. Sends nothing; needs no configuration, no server and no privileges."
)
_STATUS = (
    "Prints for each destination how many values are queued in the spool, since when, when it last accepted a value, why "
    "delivery fails, and how many values were dropped or rejected since the daemon started. Works whether the daemon runs "
    "or not."
)
_NAMESPACES = (
    "Serves the daemon, which has no privilege: finds the network namespaces of containers and of `ip netns`, opens a netlink "
    "socket in each, and hands it over. So the daemon can count the sockets there, and can change nothing. Needs root. It is "
    "off as installed: systemctl enable --now tcp-status-sender-namespaces.socket"
)
_TEMPLATE = (
    f"Prints the template '{TEMPLATE}' for import into Zabbix (Configuration or Data collection > "
    "Templates > Import). Formats 7.4 and 7.0, in YAML and with a newer dashboard, suit these versions and later ones, format 6.0 "
    "those from 6.0 on, format 3.4 those from 3.4 to 5.4."
)

_PROVISION = (
    "Prepares a Zabbix, 6.0 or later, over its API: imports or updates the template, creates the hosts or completes those "
    "that exist, and links the template. It removes nothing. Run again, it changes nothing. Put the API token into a file "
    "or into the environment (ZABBIX_API_TOKEN; or ZABBIX_USER and ZABBIX_PASSWORD)."
)


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else 0.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from {_SHORTEST_S} to {_LONGEST_S:.0f}")
    return seconds
