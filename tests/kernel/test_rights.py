"""What a user without a name, and without rights, is told: by `check`, by `status`, and of a key. Needs root."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND
from lab.trapper import Trapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UID = 54321  # of nobody
STATE = "/var/lib/tcp-status-sender"
KEY = f"{STATE}.psk"

# Only within: the unit's directory, with a spool in it, and a key belong to another; and the unit is installed.
PLACES = f"""
mount -t tmpfs state /var/lib
mount -t tmpfs units /etc/systemd/system
touch /etc/systemd/system/tcp-status-sender.service
mkdir -m 700 {STATE}
touch {STATE}/spool.db {KEY}
chmod 600 {KEY}
chown -R 12345 {STATE} {KEY}
exec "$@"
"""


def run(*arguments: str | Path, as_root: bool = False) -> subprocess.CompletedProcess[str]:
    """Return the command in those places, as a user to whom only what is ours belongs."""
    places = ["unshare", "--mount", "sh", "-euc", PLACES, "sh"]
    user = [] if as_root else ["unshare", "--user", f"--map-user={UID}"]
    command = [*places, *user, COMMAND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a configuration with these settings, to a trapper at this port."""

    def config(port: int, **settings: Any) -> Path:
        path = tmp_path / "config.yaml"
        destination = {"name": "main", "nodes": [f"127.0.0.1:{port}"], **settings.pop("destination", {})}
        path.write_text(json.dumps({"host": "web-01", "destinations": [destination], **settings}))
        return path

    return config


def checked(config: Path, check: str, *, as_root: bool = False) -> dict[str, Any]:
    """Return what `check` finds there."""
    found = json.loads(run("check", "--json", "--config", config, as_root=as_root).stdout)["checks"]
    (finding,) = [each for each in found if each["check"] == check]
    assert isinstance(finding, dict)
    return finding


def test_the_units_spool_is_for_root_to_look_at(config: Callable[..., Path]) -> None:
    """Whoever may not look there is told to be root, by `check` as no failure, by `status` as one."""
    with Trapper() as trapper:
        path = config(trapper.port)
        spool = checked(path, "spool")
    assert (spool["result"], spool["found"], spool["advice"]) == (
        "skip",
        f"{STATE}/spool.db cannot be read by user {UID}: it belongs to the unit's user",
        "Run this as root.",
    )
    status = run("status", "--config", path)
    assert status.returncode == 1
    assert (
        status.stderr
        == f"tcp-status-sender: the spool {STATE}/spool.db cannot be read by this user. Run `status` as root.\n"
    )


def test_a_spool_where_the_unit_may_not_write(config: Callable[..., Path], tmp_path: Path) -> None:
    """What root can write is out of reach for the unit's user: that is said where the unit is installed."""
    with Trapper() as trapper:
        spool = checked(
            config(trapper.port, spool={"path": f"{tmp_path}/spool.db", "max_size": "1MiB"}), "spool", as_root=True
        )
    assert spool["result"] == "warn"
    assert f"The unit's user can write below {STATE} only" in spool["advice"]


def test_a_key_that_this_user_may_not_read(config: Callable[..., Path]) -> None:
    """Who it is that may not, and what hands it over."""
    tls = {"connect": "psk", "psk_identity": "identity", "psk_file": KEY}
    with Trapper() as trapper:
        key = checked(config(trapper.port, destination={"tls": tls}), "key files")
    assert (key["result"], key["found"]) == ("fail", f"psk_file {KEY} cannot be read: Permission denied")
    assert key["advice"].startswith(f"Let the user with the id {UID}, as whom this runs, read it. Under systemd, ")
