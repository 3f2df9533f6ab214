"""The command line: dispatch, and how each kind of failure ends. Exit codes: 0 done, 1 the work failed, 2 bad usage or config."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from sender.commands import template
from sender.commands.arguments import parser
from sender.commands.logs import complain
from sender.errors import ConfigError, SenderError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

_WIDTH = 120  # of a table, in columns, where no terminal says


class _OutputError(OSError):
    """Standard output cannot be written."""


class _Output(TextIOWrapper):
    """Standard output, whose errors are told apart from those of any other file."""

    def write(self, text: str) -> int:
        """Do as TextIOWrapper does."""
        try:
            return super().write(text)
        except OSError as error:
            raise _OutputError(error.errno, error.strerror) from error

    def flush(self) -> None:
        """Do as TextIOWrapper does."""
        try:
            super().flush()
        except OSError as error:
            raise _OutputError(error.errno, error.strerror) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    _prepare_output()
    try:
        arguments = parser().parse_args(argv)
        code = _COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except ConfigError as error:
        complain(*error.problems)
        return 2
    except SenderError as error:
        complain(f"tcp-status-sender: {error}")
        return 1
    except _OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered must not fail at exit
        if error.errno == errno.EPIPE:  # the reader of our output has seen enough
            return 0
        complain(f"tcp-status-sender: cannot write the output: {error.strerror}")
        return 1
    except OSError as error:  # of a path that no command expects to fail
        advice = f"Check that {error.filename} is there and that this user may use it." if error.filename else ""
        place = f"{error.filename}: " if error.filename else ""
        complain(f"tcp-status-sender: {SenderError(f'{place}{error.strerror or error}', advice=advice)}")
        return 1
    return code


def _prepare_output() -> None:
    if sys.stdout is None:  # closed before we began; to write to it is then no error, but in vain
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the process lives
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the terminal has no letters for is no error
        encoding, is_by_line = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Output(sys.stdout.detach(), encoding, "backslashreplace", line_buffering=is_by_line)


def _run(arguments: argparse.Namespace) -> int:
    from sender.commands import logs, run

    logs.begin()
    return run.run(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from sender.commands.check import report
    from sender.commands.check.check import check_all

    found = check_all(arguments.config)
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    print(report.as_json(found) if arguments.json else report.as_text(found, width))
    return 0 if report.is_well(found) else 1


def _show(arguments: argparse.Namespace) -> int:
    from sender.commands.show import show
    from sender.settings.schema import load

    settings = load(arguments.config)
    if arguments.watch:
        show.watch(settings, arguments.watch, is_all=arguments.all)
    return show.once(settings, as_json=arguments.json, is_all=arguments.all)


def _status(arguments: argparse.Namespace) -> int:
    from sender.commands import status
    from sender.settings.schema import load

    found = status.read(load(arguments.config))
    print(status.as_json(found) if arguments.json else status.as_text(found))
    return 0


def _namespaces(arguments: argparse.Namespace) -> int:
    from sender.commands import logs
    from sender.commands.namespaces import command

    logs.begin()
    return command.run(arguments)


def _template(arguments: argparse.Namespace) -> int:
    sys.stdout.write(template.text(arguments.format))
    return 0


def _provision(arguments: argparse.Namespace) -> int:
    from sender.commands.provision import command

    return command.run(arguments)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "check": _check,
    "status": _status,
    "show": _show,
    "namespaces": _namespaces,
    "template": _template,
    "provision": _provision,
}
