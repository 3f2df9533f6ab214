"""What the installed unit says of the user that it runs the daemon as, and what that user may see, by its file and its drop-ins. Starts nothing.

Only what systemd.unit(5) and systemd.exec(5) say of a few settings is known here. What the running systemd has loaded may be
older: it counts until the next `daemon-reload`.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sender.settings.files import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UNIT = "tcp-status-sender.service"
EDIT = f"systemctl edit {UNIT.removesuffix('.service')}"
PLACES = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),  # another directory only where /usr is not merged
)
"""Where units stand, the first one counts: systemd.unit(5), Unit File Load Path."""
_TRUE = {"1", "yes", "y", "true", "t", "on"}
_FALSE = {"", "0", "no", "n", "false", "f", "off"}
_HIDES = {"ProtectHome": ("/home", "/root", "/run/user"), "PrivateTmp": ("/tmp", "/var/tmp")}  # noqa: S108  systemd's own
_HIDING = {"ProtectHome": {*_TRUE, "tmpfs"}, "PrivateTmp": {*_TRUE, "disconnected"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The unit as far as the rights to read go.

    `user` is "" where none is named: then it is root, or with `is_dynamic` one of the unit's own. `credentials` are
    patterns for the names that systemd hands over, `hidden` the setting by which a directory is out of sight.
    """

    config: Path = DEFAULT_PATH
    user: str = ""
    group: str = ""
    is_dynamic: bool = False
    private_users: bool = False
    groups: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    hidden: Mapping[str, str]

    def has_credential(self, name: str) -> bool:
        """Return whether systemd hands a file of this name over."""
        return any(fnmatch.fnmatchcase(name, each) for each in self.credentials)


def installed(places: Sequence[Path] = PLACES) -> Unit | None:
    """Return the unit that is installed in `places`, None where none is."""
    if not (files := [place / UNIT for place in places if (place / UNIT).exists()]):
        return None
    drop_ins: dict[str, Path] = {}
    for place in places:
        for file in (place / f"{UNIT}.d").glob("*.conf"):
            drop_ins.setdefault(file.name, file)
    settings: dict[str, list[str]] = {}
    for file in (files[0], *(drop_ins[name] for name in sorted(drop_ins))):
        for name, value in _settings(file):
            settings[name] = (
                [*settings.get(name, ()), value] if value else []
            )  # an empty one takes back those before it
    return _unit(settings)


def _unit(settings: Mapping[str, Sequence[str]]) -> Unit:
    def last(name: str) -> str:
        return (settings.get(name) or [""])[-1]

    def words(name: str) -> Iterator[str]:
        return (word for value in settings.get(name, ()) for word in value.split())

    credentials = ("LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted")
    return Unit(
        config=_config(last("ExecStart")),
        user=last("User"),
        group=last("Group"),
        is_dynamic=last("DynamicUser").lower() in _TRUE,
        private_users=last("PrivateUsers").lower() not in _FALSE,  # newer ones have kinds: `self`, `identity`, `full`
        groups=tuple(words("SupplementaryGroups")),
        credentials=(
            *(value.partition(":")[0] for name in credentials for value in settings.get(name, ())),
            *(value.partition(":")[0] for value in settings.get("ImportCredential", ())),
        ),
        hidden={
            place: f"{name}={last(name)}"
            for name, hidden in _HIDES.items()
            if last(name).lower() in _HIDING[name]
            for place in hidden
        },
    )


def _config(command: str) -> Path:
    """Return the configuration that the command line of a daemon names."""
    words = command.split()
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == "--config" and following:
            return Path(following)
        if word.startswith("--config="):
            return Path(word.removeprefix("--config="))
    return DEFAULT_PATH


def _settings(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each setting of [Service] in a file; nothing of one that cannot be read."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    section = ""
    for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
