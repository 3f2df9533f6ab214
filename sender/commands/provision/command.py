"""The command `provision`: from arguments, files and environment to a goal, or every mistake in them at once; then at work.

Knows no call of the API.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sender.commands.logs import complain
from sender.commands.provision import credentials
from sender.commands.provision.api import Api, checked_url, is_in_clear, trusting
from sender.commands.provision.provision import Goal, Provision
from sender.errors import ConfigError
from sender.settings import files
from sender.settings.schema import load
from sender.settings.section import CompleteError, shown
from sender.settings.values import host_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from sender.commands.provision.credentials import Psk

_P = ParamSpec("_P")
_T = TypeVar("_T")


def run(arguments: argparse.Namespace) -> int:
    """Provision as the arguments say, and return the exit code. Raises ConfigError with every mistake in them."""
    mistakes = _Mistakes()
    url = mistakes.gather(checked_url, arguments.url)
    login = mistakes.gather(credentials.login, arguments.token_file, os.environ)
    trusted = mistakes.gather(trusting, arguments.ca_file)
    goal = _goal(arguments, mistakes)
    if mistakes.found or not (url and login and trusted):
        raise ConfigError(mistakes.found)
    secret_files = [arguments.token_file] if arguments.token_file else []
    secret_files += credentials.psk_paths(goal.psks, arguments.psk_file) if goal.psks else []
    complain(*credentials.open_to_all(secret_files))
    if is_in_clear(url):
        complain(f"warning: {url}: anybody on the way there can read the token and the keys; https:// hides them")
    is_failed = False
    with Api(url, login, trusted) as api:
        for step in Provision(api.call, api.version, goal, user=api.user, is_dry=arguments.dry_run).steps():
            if step.is_failure:
                complain(step.text)
                is_failed = True
            else:
                print(step.text, flush=True)
    return int(is_failed)


class _Mistakes:
    """Every mistake in the arguments, and in what they name. `found` are the lines about them."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def gather(self, make: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Return what `make` returns; where it raises ConfigError, take in the problems, and return None."""
        try:
            return make(*args, **kwargs)
        except ConfigError as error:
            self.found += error.problems
            return None


def _goal(arguments: argparse.Namespace, mistakes: _Mistakes) -> Goal:
    about_hosts = [arguments.host, arguments.hosts, arguments.group, arguments.proxy, arguments.psk_identity]
    if arguments.template_only and any(about_hosts):
        mistakes.found.append("--template-only: expected nothing about hosts beside it")
    if (arguments.psk_identity is None) != (arguments.psk_file is None):
        mistakes.found.append("--psk-identity, --psk-file: expected both or neither")
    hosts = _hosts(arguments, mistakes)
    psks: dict[str, Psk] = {}
    if arguments.psk_identity is not None and arguments.psk_file is not None:
        psks = mistakes.gather(credentials.psks, hosts, arguments.psk_identity, arguments.psk_file) or {}
    return Goal(
        hosts=hosts,
        groups=tuple(dict.fromkeys(arguments.group)),
        proxy=arguments.proxy,
        psks=psks,
        is_template_kept=arguments.keep_template,
    )


def _hosts(arguments: argparse.Namespace, mistakes: _Mistakes) -> tuple[str, ...]:
    """Return the names in --host and --hosts, each once; without them the configuration's."""
    if not arguments.host and not arguments.hosts:
        if arguments.template_only:
            return ()
        settings = mistakes.gather(load, arguments.config)
        return (settings.host,) if settings else ()
    named = [("--host", name) for name in arguments.host]
    if arguments.hosts:
        named += mistakes.gather(_names_in, arguments.hosts) or []
    names = [mistakes.gather(_checked, place, name) for place, name in named]
    return tuple(dict.fromkeys(name for name in names if name))


def _names_in(source: str) -> Sequence[tuple[str, str]]:
    """Return each name in a file, - for standard input, with its place. Raises ConfigError."""
    option = f"--hosts {source}"
    try:
        raw = files.rest(os.fdopen(0, "rb")) if source == "-" else files.content(Path(source))
    except OSError as error:
        raise ConfigError(
            [f"{option}: {files.why_unreadable(error)}; expected a file with a host name on each line"]
        ) from error
    lines = [line.strip() for line in raw.decode(errors="replace").splitlines()]
    named = [(f"{option}: line {number}", line) for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    if not named:
        raise ConfigError([f"{option}: holds no name; expected a host name on each line"])
    return named


def _checked(place: str, name: str) -> str:
    """Return a host's name. Raises ConfigError."""
    try:
        return host_name(name)
    except CompleteError as error:
        raise ConfigError([f"{place}: {error}"]) from error
    except ValueError as error:
        raise ConfigError([f"{place}: is {shown(name)}; {error}"]) from error
