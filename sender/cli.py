"""The command line: each verb's work, output, exit codes (0 done, 1 the work failed, 2 bad usage or config)."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sender.commands import arguments as usage
from sender.commands import template
from sender.errors import ConfigError, SenderError
from sender.settings import values
from sender.settings.schema import load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from sender.commands.provision.provision import Wanted
    from sender.settings.schema import Settings

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    if sys.stdout is None:  # closed before we began; to write to it is then no error, but in vain
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the process lives
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal has no letters for is no error
    try:
        arguments = usage.parser().parse_args(argv)
        code: int = _VERBS[arguments.verb](arguments)
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


_WIDTH = 120  # of a table, in columns, where no terminal says


def _run(arguments: argparse.Namespace) -> int:
    from sender.commands import run

    said: set[str] = set()  # a reload says what is new

    def settings() -> Settings:
        settings = load(arguments.config)
        logging.getLogger().setLevel((arguments.log_level or settings.log_level).upper())
        for warning in settings.warnings:
            if warning not in said:
                _LOG.warning("%s", warning)
        said.update(settings.warnings)
        return settings

    output = logging.StreamHandler()
    output.setFormatter(_Journal() if _is_journal() else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[output])
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # its everyday news are none to an admin
    if arguments.once:
        return run.dry_once(settings()) if arguments.dry_run else run.once(settings())
    return run.dry(settings(), settings) if arguments.dry_run else run.live(settings(), settings)


def _check(arguments: argparse.Namespace) -> int:
    from sender.commands.check import report
    from sender.commands.check.check import check_all

    found = check_all(arguments.config)
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    print(report.as_json(found) if arguments.json else report.as_text(found, width))
    return 0 if report.is_well(found) else 1


def _show(arguments: argparse.Namespace) -> int:
    from sender.commands import show

    settings = load(arguments.config)
    if arguments.watch:
        return show.watch(settings, arguments.watch)
    return show.once(settings, as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from sender.commands import status

    found = status.of(load(arguments.config))
    print(status.as_json(found) if arguments.json else status.as_text(found))
    return 0


def _template(arguments: argparse.Namespace) -> int:
    sys.stdout.write(template.text(arguments.format))
    return 0


def _wanted(arguments: argparse.Namespace) -> Wanted:
    from sender.commands.provision import credentials
    from sender.commands.provision.provision import Wanted

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
            values.host_name(name)
        except ValueError as error:
            problems.append(f"host {name!r}: {error}")
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(names))


def _provision(arguments: argparse.Namespace) -> int:
    from sender.commands.provision import credentials, provision
    from sender.commands.provision.api import Api, checked_url, is_in_clear

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


_VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "check": _check,
    "status": _status,
    "show": _show,
    "template": _template,
    "provision": _provision,
}
