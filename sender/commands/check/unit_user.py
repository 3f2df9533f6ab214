"""What `check`, run as root, finds about what the unit's user may read: tried in a process that is that user."""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sender.commands.check.report import CheckResult
from sender.commands.check.systemd import hands_over
from sender.commands.check.unit import EDIT, UNIT
from sender.settings.files import DEFAULT_PATH
from sender.settings.values import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.commands.check.unit import Unit
    from sender.settings.schema import Settings

_DYNAMIC_IDS = range(61184, 65520)  # systemd.exec(5), DynamicUser=
_SECRETS = ("psk_file", "key_file")
_FILES = (*_SECRETS, "ca_file", "cert_file")


class _User(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]


class Unreadable(NamedTuple):
    """A file or directory that cannot be read: why, and the directory on the way to it that is shut, or itself."""

    path: str
    why: str
    shut: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key or a certificate: its name in `tls`, and the file."""

    name: str
    path: Path

    @property
    def is_secret(self) -> bool:
        """Return whether nobody but the daemon is to read it."""
        return self.name in _SECRETS


def check_unit_user(settings: Settings, sources: Sequence[Path], unit: Unit | None) -> list[CheckResult]:
    """Return whether the unit's user can read `sources` and the keys; nothing without a unit, or for one that runs as root."""
    if os.geteuid() != 0 or not unit:
        return []
    try:
        user = _user(unit)
    except LookupError as error:
        found, advice = error.args
        return [CheckResult(check="unit", result="fail", found=found, advice=advice)]
    if user.uid == 0:
        return []
    keys = list(_keys(settings))
    by_path = {key.path: key for key in keys if key.path.parent != CREDENTIALS}
    # A draft elsewhere is not what the unit reads.
    paths = [*(path for path in sources if path != sources[0] or path == unit.config), *by_path]
    named = [key for key in keys if key not in by_path.values()]
    results = [_lacks(key) for key in named if not (unit.has_credential(key.path.name) and hands_over())]
    seen = []
    for path in dict.fromkeys(paths):
        if place := next((each for each in unit.hidden if path.resolve().is_relative_to(each)), None):
            results.append(_hidden(path, place, unit.hidden[place]))
        elif not unreadable([path]):  # what root cannot read either is not the unit's matter
            seen.append(path)
    try:
        shut = _tried(seen, user)
    except OSError as error:
        found = f"what the unit's user can read: {error.strerror}, when becoming it"
        return [*results, CheckResult(check="unit", result="skip", found=found)]
    results += [_shut(each, by_path.get(Path(each.path)), settings) for each in _by_shut(shut)]
    if results or not seen:
        return results
    files = f"{len(seen)} files and directories" if seen[1:] else str(seen[0])
    return [CheckResult(check="unit", result="ok", found=f"the unit's user can read {files}")]


def _keys(settings: Settings) -> Iterator[Key]:
    for destination in settings.destinations:
        for name in _FILES:
            if path := getattr(destination.tls, name):
                yield Key(name=name, path=path)


def _user(unit: Unit) -> _User:
    """Return whom systemd runs the unit as. Raises LookupError, with advice, for names that are none."""
    name = unit.user or (UNIT.removesuffix(".service") if unit.is_dynamic else "root")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid, groups = entry.pw_uid, entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        if not unit.is_dynamic:
            found = f"User={name} of the unit is no user, so it does not start"
            raise LookupError(found, f"Create it, or name another one: {EDIT}.") from None
        uid = gid = _free_id()  # which one systemd chooses makes no difference
        groups = []
    gid = _group(unit.group, "Group") if unit.group else gid
    return _User(uid, gid, tuple({gid, *groups, *(_group(each, "SupplementaryGroups") for each in unit.groups)}))


def _group(name: str, setting: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        found = f"{setting}={name} of the unit is no group, so it does not start"
        raise LookupError(found, f"Create it, or name another one: {EDIT}.") from None


def _free_id() -> int:
    """Return an id that systemd could give to a dynamic user."""
    for uid in reversed(_DYNAMIC_IDS):
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    return _DYNAMIC_IDS[-1]


def _tried(paths: Sequence[Path], user: _User) -> list[Unreadable]:
    """Return which of `paths` that user cannot read: only the kernel knows, as there are access lists too. Raises OSError."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = json.loads(pipe.read() or str(errno.EPIPE))
        os.waitpid(child, 0)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return [Unreadable(*each) for each in answer]
    try:
        os.write(writing, json.dumps(_tried_here(paths, user)).encode())
    finally:
        os._exit(0)


def _tried_here(paths: Sequence[Path], user: _User) -> list[Unreadable] | int | None:
    """Become that user for good; return what it cannot read, or the error for which this process cannot become it."""
    try:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        return error.errno
    return unreadable(paths)


def unreadable(paths: Sequence[Path]) -> list[Unreadable]:
    """Return which of `paths` this process cannot read."""
    found = []
    for path in paths:
        try:
            # Not to wait for the other end, where it is a pipe.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            why = error.strerror or str(error)
            shut = next((each for each in reversed(path.resolve().parents) if not os.access(each, os.X_OK)), path)
            found.append(Unreadable(str(path), why, str(shut)))
    return found


def _by_shut(found: Sequence[Unreadable]) -> list[Unreadable]:
    """Return one for each thing that is shut: who opens a directory need not be told of each file in it."""
    return list({each.shut: each for each in reversed(found)}.values())[::-1]


def _shut(each: Unreadable, key: Key | None, settings: Settings) -> CheckResult:
    shut = Path(each.shut)
    found = f"{each.path} cannot be read by the unit's user, only by root: {each.why}"
    status = shut.stat() if shut.exists() else None
    if status:
        found += f"; {shut} is {stat.filemode(status.st_mode)} {_owner(status)}"
    advice = _remedy(each, key, settings, status) if status else ""
    return CheckResult(check="unit", result="fail", found=found, advice=advice)


def _remedy(each: Unreadable, key: Key | None, settings: Settings, status: os.stat_result) -> str:
    """Return how the unit's user gets to what is shut, without opening a secret to everybody."""
    is_secret = key is not None and key.is_secret
    if key and is_secret and not settings.agent_config:
        return f"Let systemd hand it over: {_credential(key)}." if hands_over() else _given(key, key.path)
    rights = "r" if not stat.S_ISDIR(status.st_mode) else "rx" if each.shut == each.path else "x"
    needed = sum(stat.S_IRGRP if right == "r" else stat.S_IXGRP for right in rights)
    group = "" if status.st_gid == 0 else _owner(status).partition(":")[2]
    if group and status.st_mode & needed == needed:
        return f"Lend the unit that group: `SupplementaryGroups={group}` with `{EDIT}`."
    if key and is_secret:
        lend = f"`SupplementaryGroups={group or 'zabbix'}` with `{EDIT}`"
        open_it = f"`chgrp {group or 'zabbix'} {each.shut}`, `chmod g+{rights} {each.shut}`"
        own = f" Or put `destinations` into our own file, where systemd can hand it over: {_credential(key)}."
        return f"{open_it}, {lend}.{own if hands_over() else ''}"
    return f"`chmod o+{rights} {each.shut}`, or `SupplementaryGroups=` with `{EDIT}` for a group that may read it."


def _owner(status: os.stat_result) -> str:
    user, group = str(status.st_uid), str(status.st_gid)
    with suppress(KeyError):
        user = pwd.getpwuid(status.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    return f"{user}:{group}"


def _credential(key: Key) -> str:
    word = key.name.removesuffix("_file")
    return f"`LoadCredential={word}:{key.path}` with `{EDIT}`, and `{key.name}: {word}` in the configuration"


def _given(key: Key, path: Path) -> str:
    """Return how a key gets to the daemon if systemd hands nothing over: by the user's group, which dynamic users lack."""
    group = UNIT.removesuffix(".service")
    create = f"`useradd --system --user-group {group}`, "
    with suppress(KeyError):
        grp.getgrnam(group)
        create = ""
    return f"{create}`chgrp {group} {path}`, `chmod 640 {path}`, and `{key.name}: {path}` in the configuration."


def _lacks(key: Key) -> CheckResult:
    if not hands_over():
        found = f"{key.name} {key.path.name!r} is not handed over: this systemd is too old for LoadCredential="
        advice = _given(key, DEFAULT_PATH.parent / key.path.name)
        return CheckResult(check="unit", result="fail", found=found, advice=advice)
    found = f"{key.name} {key.path.name!r} is none of the unit's LoadCredential="
    advice = f"Add `LoadCredential={key.path.name}:` and the file's path with `{EDIT}`."
    return CheckResult(check="unit", result="fail", found=found, advice=advice)


def _hidden(path: Path, place: str, setting: str) -> CheckResult:
    found = f"{path} is out of the unit's sight: it sees nothing below {place} ({setting})"
    return CheckResult(check="unit", result="fail", found=found, advice="Put it below /etc/tcp-status-sender.")
