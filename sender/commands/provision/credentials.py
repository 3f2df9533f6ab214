"""The secrets of `provision`: an API token or a login, and pre-shared keys, from files and the environment.

Never from arguments, which everybody on the machine can read. Raises ConfigError; quotes no secret, in no repr either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import ConfigError
from sender.settings import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOKEN, USER, PASSWORD = "ZABBIX_API_TOKEN", "ZABBIX_USER", "ZABBIX_PASSWORD"
_NO_LOGIN = (
    f"no API token; expected --token-file FILE, or {TOKEN} in the environment, or {USER} and {PASSWORD} there (Zabbix makes "
    "tokens in Users > API tokens, in 6.0 Administration > General > API tokens)"
)
_MAX_IDENTITY = 128  # characters; Zabbix manual: API, Host object


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token, or else a user with a password."""

    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Psk:
    """A pre-shared key in hexadecimal digits, and the name by which Zabbix finds it."""

    identity: str
    key: str = field(repr=False)


def login(token_file: Path | None, environment: Mapping[str, str]) -> Login:
    """Return what `token_file` holds, or else the environment: ZABBIX_API_TOKEN, or ZABBIX_USER and ZABBIX_PASSWORD."""
    if token_file or environment.get(TOKEN):
        place = f"--token-file {token_file}" if token_file else TOKEN
        text = (_text(place, token_file) if token_file else environment[TOKEN]).strip()
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise ConfigError([f"{place}: holds no API token; expected its 64 hexadecimal digits and nothing else"])
        return Login(token=text)
    user, password = environment.get(USER), environment.get(PASSWORD)
    if not user or not password:
        raise ConfigError([_NO_LOGIN])
    return Login(user=user, password=password)


def psks(hosts: Iterable[str], identity: str, file: str) -> dict[str, Psk]:
    """Return the key of each host; {host} in `identity` and `file` stands for its name."""
    found: dict[str, Psk] = {}
    problems: list[str] = []
    for host in hosts:
        try:
            found[host] = _psk(identity.replace("{host}", host), Path(file.replace("{host}", host)))
        except ConfigError as error:
            problems += error.problems
    if len({psk.identity for psk in found.values()}) < len({(psk.identity, psk.key) for psk in found.values()}):
        problems.append("--psk-identity: names several keys; expected {host} in it, as in --psk-file")
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return found


def open_to_all(paths: Iterable[Path]) -> list[str]:
    """Return a line for each of these files that everybody can read."""
    return [
        f"warning: every user of this machine can read {path}; `chmod 600` it"
        for path in paths
        if files.is_open_to_all(path)
    ]


def psk_paths(hosts: Iterable[str], file: str) -> list[Path]:
    """Return the files that `psks` reads."""
    return [Path(path) for path in dict.fromkeys(file.replace("{host}", host) for host in hosts)]


def _psk(identity: str, path: Path) -> Psk:
    if not identity.isprintable() or not 1 <= len(identity) <= _MAX_IDENTITY:
        raise ConfigError([f"--psk-identity: expected 1 to {_MAX_IDENTITY} printable characters"])
    try:
        return Psk(identity=identity, key=files.psk_digits(_text(f"--psk-file {path}", path)))
    except ValueError as error:
        raise ConfigError([f"--psk-file {path}: {error}"]) from None


def _text(place: str, path: Path) -> str:
    try:
        return files.head(path, files.KEY_BYTES).decode(errors="replace")
    except OSError as error:
        raise ConfigError(
            [f"{place}: {files.why_unreadable(error)}; expected a file that this user can read"]
        ) from error
