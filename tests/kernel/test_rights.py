"""What a user without rights is told: by `check`, by `status`, and of a key; and root of the unit's user. Needs root."""

from __future__ import annotations

import json
import pwd
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lab.command import COMMAND
from lab.command import UNIT as SHIPPED
from lab.trapper import Trapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Finder = Callable[..., list[tuple[str, str, str]]]  # of scenes, see as_unit

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


# Only within: files as distributions lay them out, and the unit with a drop-in; $SCENE changes them.
LAID_OUT = """
mount -t tmpfs state /var/lib
mount -t tmpfs units /etc/systemd/system
mount -t tmpfs -o mode=755 files /mnt
cp "$UNIT" /etc/systemd/system/tcp-status-sender.service
mkdir /etc/systemd/system/tcp-status-sender.service.d
cd /mnt
umask 022
cp "$CONFIG" config.yaml
drop_in() { printf '[Service]\\n'"$1"'\\n' > "/etc/systemd/system/tcp-status-sender.service.d/$2.conf"; }
drop_in 'ExecStart=\\nExecStart=/x run --config /mnt/config.yaml' config
mkdir -p agent/agent.d
printf 'ServerActive=ADDRESS\\nHostname=web-01\\nInclude=/mnt/agent/agent.d/*.conf\\n' | sed "s/ADDRESS/$ADDRESS/" \\
  > agent/zabbix_agent2.conf
touch agent/agent.d/1.conf
openssl rand -hex 32 > psk
eval "$SCENE"
exec "$@"
"""
EDIT = "`systemctl edit tcp-status-sender`"


@pytest.fixture
def as_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finder:
    """Return what has root check in such a scene, and returns what `check` finds of the unit's user: result, what, advice."""

    def as_unit(scene: str, agent_config: str | None = None, **tls: str) -> list[tuple[str, str, str]]:
        with Trapper() as trapper:
            path = tmp_path / "draft.yaml"
            destination = {"nodes": [trapper.node], "timeout": 1, "tls": tls}
            own = {"host": "web-01", "destinations": [destination]}
            path.write_text(json.dumps({"agent_config": agent_config} if agent_config else own))
            for name, value in {"UNIT": SHIPPED, "CONFIG": path, "ADDRESS": trapper.node, "SCENE": scene}.items():
                monkeypatch.setenv(name, str(value))
            command = [COMMAND, "check", "--json", "--config", "/mnt/config.yaml"]
            places = ["unshare", "--mount", "sh", "-euc", LAID_OUT, "sh"]
            done = subprocess.run([*places, *command], capture_output=True, text=True, check=False, timeout=60)
        assert "Traceback" not in done.stderr
        found = json.loads(done.stdout)["checks"]
        assert [each["result"] for each in found if each["check"] == "config"] == ["ok"]
        unit = [(each["result"], each["found"], each["advice"]) for each in found if each["check"] == "unit"]
        assert done.returncode == 1 or all(result != "fail" for result, *_ in unit)
        return unit

    return as_unit


NOBODY = 0xFFFFFFFF  # in an entry that is of no named user, acl(5)
AGENT = "/mnt/agent/zabbix_agent2.conf"


def test_what_the_units_user_can_read(as_unit: Finder) -> None:
    """All is well where it can read our file, the agent's, its directory and what that includes."""
    assert as_unit("") == [("ok", "the unit's user can read /mnt/config.yaml", "")]
    assert as_unit("", AGENT) == [("ok", "the unit's user can read 4 files and directories", "")]


@pytest.mark.parametrize(
    ("scene", "path", "shut", "remedy"),
    [
        ("chmod 600 config.yaml", "config.yaml", "config.yaml is -rw------- root:root", "`chmod o+r /mnt/config.yaml`"),
        ("chmod 640 {0}", "{0}", "{0} is -rw-r----- root:root", "`chmod o+r /mnt/{0}`"),
        ("chgrp adm {0}; chmod 640 {0}", "{0}", "{0} is -rw-r----- root:adm", "adm"),
        ("chgrp adm {0}; chmod 600 {0}", "{0}", "{0} is -rw------- root:adm", "`chmod o+r /mnt/{0}`"),
        ("chgrp adm agent; chmod 750 agent", "{0}", "agent is drwxr-x--- root:adm", "adm"),
        ("chmod 700 agent", "{0}", "agent is drwx------ root:root", "`chmod o+x /mnt/agent`"),
        (
            "chmod 700 agent/agent.d",
            "agent/agent.d",
            "agent/agent.d is drwx------ root:root",
            "`chmod o+rx /mnt/agent/agent.d`",
        ),
        (
            "chmod 711 agent/agent.d",
            "agent/agent.d",
            "agent/agent.d is drwx--x--x root:root",
            "`chmod o+rx /mnt/agent/agent.d`",
        ),
        ("chmod 600 {1}", "{1}", "{1} is -rw------- root:root", "`chmod o+r /mnt/{1}`"),
    ],
)
def test_what_root_alone_can_read(as_unit: Finder, scene: str, path: str, shut: str, remedy: str) -> None:
    """Each file or directory that is shut is one failure, with what would open it: a group that has the right, or chmod."""
    names = (AGENT.removeprefix("/mnt/"), "agent/agent.d/1.conf")
    path, shut, remedy = (text.format(*names) for text in (path, shut, remedy))
    ((result, found, advice),) = as_unit(scene.format(*names), AGENT)
    assert (result, found) == (
        *("fail", f"/mnt/{path} cannot be read by the unit's user, only by root: Permission denied; /mnt/{shut}"),
    )
    lend = f"Lend the unit that group: `SupplementaryGroups={remedy}` with {EDIT}."
    assert advice == lend if remedy == "adm" else advice.startswith(f"{remedy}, or `SupplementaryGroups=` with {EDIT}")


@pytest.mark.parametrize(
    "drop_in",
    ["SupplementaryGroups=adm", "Group=adm", "User=daemon\\nSupplementaryGroups=adm", "User=root\\nDynamicUser=no"],
)
def test_a_group_that_is_lent(as_unit: Finder, drop_in: str) -> None:
    """The remedy is one: what the unit's own drop-ins give is counted in."""
    scene = f"chgrp -R adm agent; chmod 750 agent agent/agent.d; chmod 640 agent/*.conf; drop_in '{drop_in}' groups"
    found = as_unit(scene, AGENT)
    assert found == ([] if "root" in drop_in else [("ok", "the unit's user can read 4 files and directories", "")])


@pytest.mark.parametrize(
    ("drop_in", "says"),
    [
        ("SupplementaryGroups=no-such", "SupplementaryGroups=no-such of the unit is no group, so it does not start"),
        ("Group=no-such", "Group=no-such of the unit is no group, so it does not start"),
        ("User=no-such\\nDynamicUser=no", "User=no-such of the unit is no user, so it does not start"),
    ],
)
def test_names_in_the_unit_that_are_none(as_unit: Finder, drop_in: str, says: str) -> None:
    """A user or a group that is none is said, as the unit would not start."""
    assert as_unit(f"drop_in '{drop_in}' names") == [
        ("fail", says, "Create it, or name another one: systemctl edit tcp-status-sender.")
    ]


def test_a_host_without_user_namespaces(as_unit: Finder) -> None:
    """Where the host allows none, the unit does not start with a namespace for its users, and does without."""
    none = "echo 0 > none; mount --bind none /proc/sys/user/max_user_namespaces"
    well = ("ok", "the unit's user can read /mnt/config.yaml", "")
    (failure, *others) = as_unit(none)
    assert others == [well]
    assert failure == (
        "fail",
        "the unit does not start: it has PrivateUsers=, and /proc/sys/user/max_user_namespaces is 0, so systemd fails with 217/USER",
        f"Set `PrivateUsers=no` with {EDIT}.",
    )
    assert as_unit(f"{none}; drop_in 'PrivateUsers=no' users") == [well]


def test_keys_without_a_credential(as_unit: Finder) -> None:
    """A key that root alone can read is to be handed over by systemd, not opened to everybody."""
    tls = {"connect": "psk", "psk_identity": "x"}
    hand_over = f"`LoadCredential=psk:/mnt/psk` with {EDIT}, and `psk_file: psk` in the configuration"
    assert as_unit("chmod 600 psk", **tls, psk_file="/mnt/psk") == [
        (
            "fail",
            "/mnt/psk cannot be read by the unit's user, only by root: Permission denied; /mnt/psk is -rw------- root:root",
            f"Let systemd hand it over: {hand_over}.",
        )
    ]
    assert as_unit("", **tls, psk_file="psk") == [
        *(
            (
                "fail",
                "psk_file 'psk' is none of the unit's LoadCredential=",
                f"Add `LoadCredential=psk:` and the file's path with {EDIT}.",
            ),
        ),
    ]
    scene = "drop_in 'LoadCredential=psk:/mnt/psk' psk"
    assert as_unit(scene, **tls, psk_file="psk") == [("ok", "the unit's user can read /mnt/config.yaml", "")]
    encrypt = "printf 'TLSConnect=psk\\nTLSPSKIdentity=x\\nTLSPSKFile=/mnt/psk\\n' > agent/agent.d/1.conf"
    ((*_, advice),) = as_unit(f"{encrypt}; chgrp adm psk; chmod 400 psk", AGENT)
    assert advice == (
        f"`chgrp adm /mnt/psk`, `chmod g+r /mnt/psk`, `SupplementaryGroups=adm` with {EDIT}. Or put `destinations` into our own file, "
        f"where systemd can hand it over: {hand_over}."
    )


def test_keys_where_systemd_hands_nothing_over(as_unit: Finder) -> None:
    """Before systemd 247 a key is the daemon's group's, under its whole path: a LoadCredential= is none there, nor advice."""
    tls = {"connect": "psk", "psk_identity": "x"}
    old = "mkdir bin; printf '#!/bin/sh\necho systemd 239\n' > bin/systemctl; chmod 755 bin/*; PATH=/mnt/bin:$PATH"
    mine = "cp /etc/group group; echo tcp-status-sender:x:999: >> group; mount --bind group /etc/group"
    give = "`chgrp tcp-status-sender {0}`, `chmod 640 {0}`, and `psk_file: {0}` in the configuration."
    create = "`useradd --system --user-group tcp-status-sender`, "
    ((_, found, advice),) = as_unit(f"{old}; chmod 600 psk", **tls, psk_file="/mnt/psk")
    assert found.startswith("/mnt/psk cannot be read by the unit's user")
    assert advice == create + give.format("/mnt/psk")
    ((_, found, advice),) = as_unit(f"{old}; {mine}; drop_in LoadCredential=psk:/mnt/psk psk", **tls, psk_file="psk")
    assert found == "psk_file 'psk' is not handed over: this systemd is too old for LoadCredential="
    assert advice == give.format("/etc/tcp-status-sender/psk")
    encrypt = "printf 'TLSConnect=psk\nTLSPSKIdentity=x\nTLSPSKFile=/mnt/psk\n' > agent/agent.d/1.conf"
    ((*_, advice),) = as_unit(f"{old}; {encrypt}; chgrp adm psk; chmod 400 psk", AGENT)
    assert advice == f"`chgrp adm /mnt/psk`, `chmod g+r /mnt/psk`, `SupplementaryGroups=adm` with {EDIT}."


def test_what_the_unit_does_not_see(as_unit: Finder) -> None:
    """Below /var/tmp and the like the unit finds nothing, whatever the rights; a link does not help, and a drop-in does."""
    there = "mount --bind agent /var/tmp; ln -s /var/tmp/zabbix_agent2.conf agent.conf; sed -i 's|/mnt/agent/|/var/tmp/|' agent/*.conf"
    found = as_unit(there, "/mnt/agent.conf")
    where = "is out of the unit's sight: it sees nothing below /var/tmp (PrivateTmp=yes)"
    assert found == [
        ("fail", f"{path} {where}", "Put it below /etc/tcp-status-sender.")
        for path in ("/mnt/agent.conf", "/var/tmp/agent.d", "/var/tmp/agent.d/1.conf")  # noqa: S108
    ]
    assert as_unit(f"{there}; drop_in 'PrivateTmp=no' tmp", "/mnt/agent.conf")[0][0] == "ok"


def test_a_draft_is_not_what_the_unit_reads(as_unit: Finder) -> None:
    """Our own file counts only where the unit reads it; the rest that it names counts in any case."""
    assert as_unit("rm /etc/systemd/system/*.d/config.conf; chmod 600 config.yaml") == []
    ((_, found, _),) = as_unit("rm /etc/systemd/system/*.d/config.conf; chmod 600 config.yaml agent/*.conf", AGENT)
    assert found.startswith(f"{AGENT} cannot be read by the unit's user")
    assert as_unit("rm /etc/systemd/system/*.service; chmod 600 config.yaml", AGENT) == []


def test_access_lists_count(as_unit: Finder) -> None:
    """What the mode does not say is found out, too, as the kernel is asked: a list that gives the unit's user the right."""
    entries = [(1, 6, NOBODY), (2, 4, pwd.getpwnam("daemon").pw_uid), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)]
    value = (struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)).hex()
    give = f"import os; os.setxattr('config.yaml', 'system.posix_acl_access', bytes.fromhex('{value}'))"
    drop_in = "drop_in 'User=daemon\\nDynamicUser=no' user"
    assert as_unit(f"chmod 600 config.yaml; {drop_in}")[0][0] == "fail"
    scene = f'chmod 600 config.yaml; {drop_in}; {sys.executable} -c "{give}"'
    assert as_unit(scene) == [("ok", "the unit's user can read /mnt/config.yaml", "")]
