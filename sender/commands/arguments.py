"""The command line's arguments, and what --help says of them. Knows no verb's work."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from sender import __version__
from sender.commands import template
from sender.items import TEMPLATE
from sender.settings.schema import DEFAULT_PATH


def parser() -> argparse.ArgumentParser:
    """For every verb; `verb` is its name."""
    whole = argparse.ArgumentParser(prog="tcp-status-sender", description=_DESCRIPTION, epilog=_EPILOG)
    whole.add_argument("--version", action="version", version=f"tcp-status-sender {__version__}")
    verbs = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = verbs.add_parser("run", help="sample and deliver until stopped", description=_RUN)
    run.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    run.add_argument("--dry-run", action="store_true", help="send nothing; print each sample as one line of JSON")
    run.add_argument("--once", action="store_true", help="take one sample, deliver it and exit")
    run.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], help="default: the config's, or info"
    )
    run.set_defaults(verb="run")

    check = verbs.add_parser("check", help="look at everything that must be so", description=_CHECK)
    check.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    check.add_argument("--json", action="store_true", help="for programs: the same as JSON")
    check.set_defaults(verb="check")

    status = verbs.add_parser("status", help="what waits for whom, and since when", description=_STATUS)
    status.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    status.add_argument("--json", action="store_true", help="for programs: the same as JSON")
    status.set_defaults(verb="status")

    show = verbs.add_parser("show", help="this host's sockets as tables with bars", description=_SHOW)
    show.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    form = show.add_mutually_exclusive_group()
    form.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="again every SECONDS (2), in place, with lines of the last minutes, until Ctrl-C",
    )
    form.add_argument("--json", action="store_true", help="for programs: the same as JSON")
    show.set_defaults(verb="show")

    bundled = verbs.add_parser("template", help="print the Zabbix template, for import", description=_TEMPLATE)
    bundled.add_argument("--format", choices=template.FORMATS, default="6.0", help="default: %(default)s")
    bundled.set_defaults(verb="template")

    _add_provision(
        verbs.add_parser("provision", help="import the template and create hosts, over the API", description=_PROVISION)
    )
    return whole


def _add_provision(provision: argparse.ArgumentParser) -> None:
    add = provision.add_argument
    add("--url", required=True, help="of Zabbix's web interface, such as https://zabbix.example.com/zabbix")
    add("--token-file", type=Path, metavar="FILE", help="holds the API token; default: ZABBIX_API_TOKEN")
    add("--ca-file", type=Path, metavar="FILE", help="CAs, in PEM form, to trust instead of this system's")
    add("--host", action="append", default=[], metavar="NAME", help="again for more; default: the configuration's host")
    add("--hosts", metavar="FILE", help="holds one host name per line; - is standard input")
    add("--config", type=Path, metavar="FILE", help=f"where the host stands; {_CONFIG}")
    add("--group", action="append", default=[], metavar="NAME", help="of hosts; again for more; made if it is missing")
    add("--proxy", metavar="NAME", help="the proxy, or from 7.0 on the group of proxies, that is to monitor the hosts")
    add("--psk-identity", metavar="TEXT", help="of the hosts' pre-shared key; {host} stands for the host's name")
    add("--psk-file", metavar="FILE", help="holds that key; {host} stands for the host's name")
    which = provision.add_mutually_exclusive_group()
    which.add_argument("--template-only", action="store_true", help="create and change no host")
    which.add_argument("--keep-template", action="store_true", help="take the template as it is there, changed or not")
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")
    provision.set_defaults(verb="provision")


_SHORTEST_S, _LONGEST_S = 0.1, 3600.0
_CONFIG = f"default: {DEFAULT_PATH} if it exists; else this host's name, every 30s, to 127.0.0.1:10051"
_DESCRIPTION = "Counts this host's TCP sockets by state, straight from the kernel, and pushes the counts to Zabbix."
_EPILOG = "exit codes: 0 done; 1 the work failed; 2 bad usage or bad configuration; 130 interrupted"
_RUN = (
    "Takes a sample at every whole multiple of the interval and delivers it to every destination, in the foreground, "
    "until SIGTERM or SIGINT; SIGHUP reads the configuration again. With --once, exits 0 only if every destination "
    "accepted every value."
)
_CHECK = (
    "Looks at the configuration, the kernel, the spool and every destination, down to each key, for which it sends one "
    "true sample of this host; says what is wrong and what to do. Works while the daemon runs and when it does not. Exits 1 "
    "if any check fails."
)
_SHOW = (
    "Takes one sample and shows it: how many sockets are in which state, and what that means; each port with its "
    "connections and its accept queue. Sends nothing; needs no configuration, no server and no privileges."
)
_STATUS = (
    "Prints what waits in the spool for each destination, since when, when it took values last, why it takes none, and "
    "what was dropped or refused since the daemon's start. Works while the daemon runs and when it does not."
)
_TEMPLATE = (
    f"Prints the template '{TEMPLATE}' for import into Zabbix (Configuration or Data collection > "
    "Templates > Import). Format 6.0 suits 6.0, 6.4 and 7.x, format 3.4 the versions from 3.4 to 5.4."
)

_PROVISION = (
    "Prepares a Zabbix, 6.0 or later, over its API: imports the template or brings it up to date, creates the hosts or "
    "completes those that exist, and links the template. It removes nothing, and done twice it changes nothing. The API "
    "token stands in a file or in the environment (ZABBIX_API_TOKEN; or ZABBIX_USER and ZABBIX_PASSWORD)."
)


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else 0.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from {_SHORTEST_S} to {_LONGEST_S:.0f}")
    return seconds
