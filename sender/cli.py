"""The command line: arguments, output, exit codes (0 done, 1 the work failed, 2 bad usage or config)."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sender import __version__, template
from sender.config import DEFAULT_PATH, load
from sender.errors import ConfigError, SenderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    if sys.stdout is None:  # closed before we began; to write to it is then no error, but in vain
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the process lives
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal has no letters for is no error
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.verb(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        _complain(*error.problems)
        return 2
    except SenderError as error:
        _complain(f"tcp-status-sender: {error}")
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough; what is still buffered must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # standard output is on a full disk, say
        print(f"tcp-status-sender: cannot write the output: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


class _Journal(logging.Formatter):
    """For systemd's journal, which has the time, and takes the level from a number before each line (sd-daemon(3))."""

    _NUMBERS: ClassVar = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}

    def format(self, record: logging.LogRecord) -> str:
        """As in logging.Formatter."""
        number = self._NUMBERS.get(record.levelname, 6)
        return "\n".join(f"<{number}>{line}" for line in super().format(record).splitlines())


def _is_journal() -> bool:
    """Whether standard error is what JOURNAL_STREAM says that systemd reads (systemd.exec(5))."""
    try:
        error = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{error.st_dev}:{error.st_ino}"


def _complain(*lines: str) -> None:
    for line in lines:
        print(f"<3>{line}" if _is_journal() else line, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tcp-status-sender", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"tcp-status-sender {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = verbs.add_parser("run", help="sample and deliver until stopped", description=_RUN)
    run.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    run.add_argument("--dry-run", action="store_true", help="send nothing; print each sample as one line of JSON")
    run.add_argument("--once", action="store_true", help="take one sample, deliver it and exit")
    run.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], help="default: the config's, or info"
    )
    run.set_defaults(verb=_run)

    status = verbs.add_parser("status", help="what waits for whom, and since when", description=_STATUS)
    status.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    status.add_argument("--json", action="store_true", help="for programs: the same as JSON")
    status.set_defaults(verb=_status)

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
    show.set_defaults(verb=_show)

    bundled = verbs.add_parser("template", help="print the Zabbix template, for import", description=_TEMPLATE)
    bundled.add_argument("--format", choices=template.FORMATS, default="6.0", help="default: %(default)s")
    bundled.set_defaults(verb=_template)
    return parser


_SHORTEST_S, _LONGEST_S = 0.1, 3600.0
_CONFIG = f"default: {DEFAULT_PATH} if it exists; else this host's name, every 30s, to 127.0.0.1:10051"
_DESCRIPTION = "Counts this host's TCP sockets by state, straight from the kernel, and pushes the counts to Zabbix."
_EPILOG = "exit codes: 0 done; 1 the work failed; 2 bad usage or bad configuration; 130 interrupted"
_RUN = (
    "Takes a sample at every whole multiple of the interval and delivers it to every destination, in the foreground, "
    "until SIGTERM or SIGINT; SIGHUP reads the configuration again. With --once, exits 0 only if every destination "
    "accepted every value."
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
    "Prints the template 'TCP states by Zabbix trapper' for import into Zabbix (Configuration or Data collection > "
    "Templates > Import). Format 6.0 suits 6.0, 6.4 and 7.x, format 3.4 the versions from 3.4 to 5.4."
)


def _run(arguments: argparse.Namespace) -> int:
    from sender import run

    def settings() -> Settings:
        settings = load(arguments.config)
        logging.getLogger().setLevel((arguments.log_level or settings.log_level).upper())
        return settings

    output = logging.StreamHandler()
    output.setFormatter(_Journal() if _is_journal() else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[output])
    for library in ("apscheduler", "zabbix_utils"):  # their everyday news are none to an admin
        logging.getLogger(library).setLevel(logging.ERROR)
    if arguments.once:
        return run.dry_once(settings()) if arguments.dry_run else run.once(settings())
    return run.dry(settings(), settings) if arguments.dry_run else run.live(settings(), settings)


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else 0.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from {_SHORTEST_S} to {_LONGEST_S:.0f}")
    return seconds


def _show(arguments: argparse.Namespace) -> int:
    from sender import show

    settings = load(arguments.config)
    if arguments.watch:
        return show.watch(settings, arguments.watch)
    return show.once(settings, as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from sender import status

    found = status.of(load(arguments.config))
    print(status.as_json(found) if arguments.json else status.as_text(found))
    return 0


def _template(arguments: argparse.Namespace) -> int:
    sys.stdout.write(template.text(arguments.format))
    return 0
