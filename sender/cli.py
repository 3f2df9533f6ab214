"""The command line: arguments, output, exit codes (0 done, 1 the work failed, 2 bad usage or config)."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sender import __version__, fields, template
from sender.config import DEFAULT_PATH, load
from sender.errors import ConfigError, SenderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config import Settings
    from sender.provision import Wanted

_LOG = logging.getLogger(__name__)


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

    check = verbs.add_parser("check", help="look at everything that must be so", description=_CHECK)
    check.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    check.add_argument("--json", action="store_true", help="for programs: the same as JSON")
    check.set_defaults(verb=_check)

    status = verbs.add_parser("status", help="what waits for whom, and since when", description=_STATUS)
    status.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    status.add_argument("--json", action="store_true", help="for programs: the same as JSON")
    status.set_defaults(verb=_status)

    bundled = verbs.add_parser("template", help="print the Zabbix template, for import", description=_TEMPLATE)
    bundled.add_argument("--format", choices=template.FORMATS, default="6.0", help="default: %(default)s")
    bundled.set_defaults(verb=_template)

    _add_provision(
        verbs.add_parser("provision", help="import the template and create hosts, over the API", description=_PROVISION)
    )
    return parser


_WIDTH = 120  # of a table, in columns, where no terminal says


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
    provision.set_defaults(verb=_provision)


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
_STATUS = (
    "Prints what waits in the spool for each destination, since when, when it took values last, why it takes none, and "
    "what was dropped or refused since the daemon's start. Works while the daemon runs and when it does not."
)
_TEMPLATE = (
    "Prints the template 'TCP states by Zabbix trapper' for import into Zabbix (Configuration or Data collection > "
    "Templates > Import). Format 6.0 suits 6.0, 6.4 and 7.x, format 3.4 the versions from 3.4 to 5.4."
)

_PROVISION = (
    "Prepares a Zabbix, 6.0 or later, over its API: imports the template or brings it up to date, creates the hosts or "
    "completes those that exist, and links the template. It removes nothing, and done twice it changes nothing. The API "
    "token stands in a file or in the environment (ZABBIX_API_TOKEN; or ZABBIX_USER and ZABBIX_PASSWORD)."
)


def _run(arguments: argparse.Namespace) -> int:
    from sender import run

    said: set[str] = set()  # a reload says what is new

    def settings() -> Settings:
        settings = load(arguments.config)
        logging.getLogger().setLevel((arguments.log_level or settings.log_level).upper())
        for remark in settings.remarks:
            if remark not in said:
                _LOG.warning("%s", remark)
        said.update(settings.remarks)
        return settings

    output = logging.StreamHandler()
    output.setFormatter(_Journal() if _is_journal() else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[output])
    for library in ("apscheduler", "zabbix_utils"):  # their everyday news are none to an admin
        logging.getLogger(library).setLevel(logging.ERROR)
    if arguments.once:
        return run.dry_once(settings()) if arguments.dry_run else run.once(settings())
    return run.dry(settings(), settings) if arguments.dry_run else run.live(settings(), settings)


def _check(arguments: argparse.Namespace) -> int:
    from sender import check, findings

    found = check.look(arguments.config)
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    print(findings.as_json(found) if arguments.json else findings.as_text(found, width))
    return 0 if findings.is_well(found) else 1


def _status(arguments: argparse.Namespace) -> int:
    from sender import status

    found = status.of(load(arguments.config))
    print(status.as_json(found) if arguments.json else status.as_text(found))
    return 0


def _template(arguments: argparse.Namespace) -> int:
    sys.stdout.write(template.text(arguments.format))
    return 0


def _wanted(arguments: argparse.Namespace) -> Wanted:
    from sender import credentials
    from sender.provision import Wanted

    about_hosts = [arguments.host, arguments.hosts, arguments.group, arguments.proxy, arguments.psk_identity]
    problems = []
    if arguments.template_only and any(about_hosts):
        problems.append("--template-only: expected nothing about hosts beside it")
    if (arguments.psk_identity is None) != (arguments.psk_file is None):
        problems.append("--psk-identity, --psk-file: expected both or neither")
    if problems:
        raise ConfigError(problems)
    hosts = () if arguments.template_only else _host_names(arguments)
    return Wanted(
        hosts=hosts,
        groups=tuple(dict.fromkeys(arguments.group)),
        proxy=arguments.proxy,
        psks=credentials.psks(hosts, arguments.psk_identity, arguments.psk_file) if arguments.psk_file else {},
        is_template_kept=arguments.keep_template,
    )


def _host_names(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Of --host and --hosts, each once; without them the configuration's."""
    if not arguments.host and not arguments.hosts:
        return (load(arguments.config).host,)
    names, problems = list(arguments.host), []
    if arguments.hosts:
        kind: Any = {"encoding": "utf-8", "errors": "replace"}
        try:
            with os.fdopen(0, **kind) if arguments.hosts == "-" else Path(arguments.hosts).open(**kind) as file:
                lines = file.read().splitlines()
        except OSError as error:
            raise ConfigError([f"--hosts {arguments.hosts}: cannot be read: {error.strerror}"]) from error
        names += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not names:
            problems.append(f"--hosts {arguments.hosts}: holds no name; expected one per line")
    for name in names:
        try:
            fields.host_name(name)
        except ValueError as error:
            problems.append(f"host {name!r}: {error}")
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(names))


def _provision(arguments: argparse.Namespace) -> int:
    from sender import credentials, provision
    from sender.zabbix_api import Api, checked_url, is_in_clear

    url = checked_url(arguments.url)
    login = credentials.login(arguments.token_file, os.environ)
    wanted = _wanted(arguments)
    secret_files = [arguments.token_file] if arguments.token_file else []
    secret_files += credentials.psk_paths(wanted.psks, arguments.psk_file) if wanted.psks else []
    _complain(*credentials.open_to_all(secret_files))
    if is_in_clear(url):
        _complain(f"warning: {url}: whoever is in between can read the token and the keys; https:// hides them")
    is_failed = False
    with Api(url, login, arguments.ca_file) as api:
        for line in provision.Provision(api.call, api.version, wanted, is_dry=arguments.dry_run).lines():
            if line.is_failure:
                _complain(line.text)
                is_failed = True
            else:
                print(line.text, flush=True)
    return int(is_failed)
