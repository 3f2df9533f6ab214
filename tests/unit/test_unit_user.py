"""What the unit and its drop-ins say of the daemon's user, and what this process cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import UNIT as SHIPPED
from sender.commands.check.unit import UNIT, installed
from sender.commands.check.unit_user import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.commands.check.unit import Unit

HOMES = ("/home", "/root", "/run/user")


@pytest.fixture
def unit_of(tmp_path: Path) -> Callable[..., Unit | None]:
    """Return what reads a unit from these files below two directories, a for /etc's and b for /usr's."""

    def unit_of(**files: str) -> Unit | None:
        for name, text in files.items():
            place, _, rest = name.partition("_")
            path = tmp_path / place / (f"{UNIT}.d/{rest}.conf" if rest else UNIT)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        return installed([tmp_path / "a", tmp_path / "b"])

    return unit_of


def test_the_unit_that_we_ship(unit_of: Callable[..., Unit | None]) -> None:
    """It runs as a user of its own, in a namespace of its own, with no credential, without homes and other programs' temporary files."""
    unit = unit_of(b=SHIPPED.read_text())
    assert unit
    assert (unit.user, unit.group, unit.is_dynamic, unit.groups, unit.credentials) == ("", "", True, (), ())
    assert unit.private_users
    assert unit.config == Path("/etc/tcp-status-sender/config.yaml")
    assert unit.hidden == {
        **dict.fromkeys(HOMES, "ProtectHome=yes"),
        **dict.fromkeys(("/tmp", "/var/tmp"), "PrivateTmp=yes"),  # noqa: S108  systemd's own
    }


def test_no_unit(unit_of: Callable[..., Unit | None]) -> None:
    """A drop-in alone is no unit."""
    assert unit_of(a_one="[Service]\nUser=daemon\n") is None


def test_drop_ins(unit_of: Callable[..., Unit | None]) -> None:
    """They count in the order of their names; the one of the same name in /etc hides the other; an empty value takes back."""
    unit = unit_of(
        b="[Unit]\nUser=no\n[Service]\nUser=x\nDynamicUser=yes\nSupplementaryGroups=adm\nLoadCredential=psk:/a\nPrivateTmp=yes\n",
        b_one="[Service]\nUser=hidden\n",
        a_one="[Service]\n# User=no\nUser = y\nSupplementaryGroups=\nSupplementaryGroups=zabbix \\\n  daemon\n",
        b_two="[Service]\nSupplementaryGroups=bin\nSetCredential=key:text\nImportCredential=ours.*\nPrivateTmp=\n",
        b_zwei="[Service]\nUser=z\nDynamicUser=no\nGroup=g\nProtectHome=read-only\n[Install]\nUser=no\n",
        a_zehn="[Service]\nExecStart=\nExecStart=/x run --log-level debug --config /y.yaml\n",
    )
    assert unit
    assert (unit.user, unit.group, unit.is_dynamic) == ("z", "g", False)
    assert unit.groups == ("zabbix", "daemon", "bin")
    assert [unit.has_credential(name) for name in ("psk", "key", "ours.psk", "other")] == [True, True, True, False]
    assert unit.hidden == {}
    assert unit.config == Path("/y.yaml")
    unit = unit_of(a_zehn="[Service]\nExecStart=/x run --config=/z.yaml\n")
    assert unit
    assert unit.config == Path("/z.yaml")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file and a directory can, and what is not there cannot; a pipe is not waited for."""
    (tmp_path / "file").write_text("")
    assert unreadable([tmp_path, tmp_path / "file", Path("/dev/null")]) == []
    (found,) = unreadable([tmp_path / "none"])
    assert (found.path, found.why, found.shut) == (
        *(f"{tmp_path}/none", "No such file or directory", f"{tmp_path}/none"),
    )
