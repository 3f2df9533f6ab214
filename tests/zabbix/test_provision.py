"""`provision` against a real frontend's API: what it makes, what it leaves alone, and what it says when it may not.

Nothing here is of one version of Zabbix, but for what `zabbix` is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from lab.command import COMMAND, bare_environment
from lab.documents import shell
from lab.https import Https
from lab.keys import CLOSE, STORED
from lab.tokens import new_token
from sender.commands import template
from sender.items import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.zabbix_stack import ZabbixStack

FLEET = [f"web-{number:02}" for number in range(1, 21)]
PSK = "0123456789abcdef" * 4
STILL = "(it still accepts unencrypted values, too)"
TABLES = (
    *(
        "hosts",
        "hstgrp",
        "hosts_groups",
        "hosts_templates",
        "hostmacro",
        "items",
        "item_preproc",
        "triggers",
        "functions",
    ),
    *("graphs", "graphs_items", "valuemap", "dashboard", "widget", "widget_field", "item_discovery", "lld_override"),
)
READ, WRITE = 2, 3
USER, ADMIN = 1, 2

# A machine as ssh finds one: with a host name and a configuration of its own.
SSH = """#!/bin/sh -eu
host=${1#root@}
shift
exec unshare --uts --mount sh -euc '
    hostname "$1"
    shift
    mount -t tmpfs tmp /mnt
    mkdir /mnt/upper /mnt/work
    mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
    mkdir -p /etc/tcp-status-sender
    cp config.yaml /etc/tcp-status-sender/config.yaml
    exec "$@"' sh "$host" "$@"
"""


class Done(NamedTuple):
    """How a command ended, and what it said, results before complaints."""

    code: int
    lines: list[str]


class Provision:
    """Runs the command. No secret of a test may ever stand in what it says."""

    def __init__(self, zabbix: ZabbixStack, token: str, directory: Path) -> None:
        self.zabbix, self.token, self.directory = zabbix, token, directory
        self.token_file = directory / "token"
        self.token_file.write_text(f"{token}\n")
        self.token_file.chmod(0o600)
        self.psk_file = directory / "key"
        self.psk_file.write_text(f"{PSK}\n")
        self.psk_file.chmod(0o600)

    def __call__(self, *arguments: str | Path, url: str = "", token: str = "") -> Done:
        """How it ended."""
        environment = bare_environment(**({"ZABBIX_API_TOKEN": token} if token else {}))
        command = [COMMAND, "provision", "--url", url or self.zabbix.web_url, *arguments]
        command += [] if token else ["--token-file", self.token_file]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert not [secret for secret in (self.token, token, PSK) if secret and secret in said]
        return Done(done.returncode, said.splitlines())

    def with_psk(self, *arguments: str, identity: str = "PSK {host}") -> Done:
        """Return the same with the test's key."""
        return self(*arguments, "--psk-identity", identity, "--psk-file", self.psk_file)


@pytest.fixture(scope="module")
def token(zabbix: ZabbixStack) -> str:
    """One of Admin, who is a Super admin."""
    return new_token(zabbix, "1")


@pytest.fixture
def provision(zabbix: ZabbixStack, token: str, tmp_path: Path) -> Provision:
    """Return the command, with that token."""
    return Provision(zabbix, token, tmp_path)


@pytest.fixture
def without_template(zabbix: ZabbixStack) -> Iterator[None]:
    """Yield the template is not there to begin with, and is in the end."""
    zabbix.api.template.delete(the_template(zabbix)["templateid"])
    yield
    zabbix.import_template(template.text("6.0"))


def the_template(zabbix: ZabbixStack) -> Any:
    """Ours, as the API has it."""
    (found,) = zabbix.api.template.get(filter={"host": [TEMPLATE]}, selectMacros="extend")
    return found


def the_host(zabbix: ZabbixStack, name: str) -> Any:
    """Return a host with its links, by name."""
    groups = "selectGroups" if is_older(zabbix, 6.2) else "selectHostGroups"
    links = {groups: ["name"], "selectParentTemplates": ["host"]}
    (found,) = zabbix.api.host.get(filter={"host": [name]}, output="extend", **links)
    found["in"] = sorted(group["name"] for group in found.get("groups", found.get("hostgroups")))
    found["has"] = sorted(linked["host"] for linked in found["parentTemplates"])
    return found


def is_older(zabbix: ZabbixStack, version: float) -> bool:
    """Whether this Zabbix is older than that."""
    return bool(zabbix.api.version < version)


def group_id(zabbix: ZabbixStack, name: str, kind: str = "hostgroup") -> str:
    """Return the id of a group of hosts, or of templates."""
    kind = "hostgroup" if is_older(zabbix, 6.2) else kind
    (found,) = getattr(zabbix.api, kind).get(filter={"name": [name]})
    return str(found["groupid"])


def new_template(zabbix: ZabbixStack, name: str, **more: Any) -> str:
    """Return a template that somebody has made; its id."""
    groups = [{"groupid": group_id(zabbix, template.GROUP, "templategroup")}]
    return str(zabbix.api.template.create(host=name, groups=groups, **more)["templateids"][0])


def new_host(zabbix: ZabbixStack, host: str, **more: Any) -> str:
    """Return a host that was there before; its id."""
    groups = [{"groupid": group_id(zabbix, "Zabbix servers")}]
    return str(zabbix.api.host.create(host=host, groups=groups, **more)["hostids"][0])


def everything(zabbix: ZabbixStack) -> dict[str, str]:
    """Return a digest of each table in which configuration stands, and of the log of who changed what.

    Without what the server itself keeps there: whether a trigger is a problem just now, say one of another test's host.
    """
    row = "(to_jsonb(t) - array['value', 'state', 'lastchange', 'error'])::text"
    digest = "select md5(coalesce(string_agg({row}, '|' order by {row}), '')) from {table} as t"
    found = {
        table: zabbix.query(digest.format(table=table, row=row if table == "triggers" else "t::text"))[0][0]
        for table in TABLES
    }
    return {**found, "auditlog": zabbix.query("select count(*) from auditlog where resourcetype <> 45")[0][0]}


@pytest.mark.usefixtures("without_template")
def test_a_fleet_by_the_commands_of_its_page(zabbix: ZabbixStack, token: str, tmp_path: Path) -> None:
    """Twenty hosts, one configuration: the commands in docs/ import the template, create the hosts, and all report."""
    (tmp_path / "token").write_text(f"{token}\n")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "hosts.txt").write_text("\n".join(FLEET) + "\n")
    node = {"name": "main", "nodes": [f"127.0.0.1:{zabbix.trapper_port}"]}
    (tmp_path / "config.yaml").write_text(
        str({"destinations": [node], "ports": {"listening": False}, "services": {"report": False}})
    )
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o700)

    def run(block: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path}:{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
        script = block.replace("https://zabbix.example.com/zabbix", zabbix.web_url)
        return subprocess.run(
            ["sh", "-euc", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=bare_environment(PATH=path),
        )

    (provision,) = shell("docs/many-hosts.md", "Many hosts")
    made = run(provision)
    assert (made.returncode, made.stderr) == (0, "")
    first, *hosts, last = made.stdout.splitlines()
    assert first == f"template {TEMPLATE!r}: imported"
    assert hosts == [f"host {name!r}: created in group 'Linux servers', with the template" for name in FLEET]
    assert last == "20 hosts: 20 created"

    zabbix.wait_for_items(FLEET[-1])
    (see,) = shell("docs/many-hosts.md", "On the hosts")
    reported = run(see)
    assert reported.returncode == 0, reported.stderr

    def keys_of(name: str) -> set[str]:
        return {value.key for value in zabbix.history(name)} | {CLOSE}

    zabbix.wait_until(lambda: all(keys_of(name) == set(STORED) for name in FLEET), "each host's sample is stored", 60)

    (keys,) = shell("docs/many-hosts.md", "A key for each host")
    keyed = run(keys)
    assert (keyed.returncode, keyed.stderr) == (0, "")
    assert keyed.stdout.splitlines()[-1] == "20 hosts: 20 changed"
    stored = zabbix.query("select tls_psk_identity, tls_psk from hosts where host like 'web-__' order by host")
    assert stored == [(f"PSK {name}", (tmp_path / "psk" / name).read_text().strip()) for name in FLEET]


def test_twice_changes_nothing(zabbix: ZabbixStack, provision: Provision) -> None:
    """The second time nothing is to be done, and not a row of the database is another, the audit log's included."""
    arguments = ("--host", "twice-1", "--host", "twice-2", "--group", "Twice")
    assert provision.with_psk(*arguments).code == 0
    before = everything(zabbix)
    assert provision.with_psk(*arguments) == Done(
        0,
        [
            f"template {TEMPLATE!r}: nothing to do",
            "host 'twice-1': nothing to do",
            "host 'twice-2': nothing to do",
            "2 hosts: 2 as wanted",
        ],
    )
    assert everything(zabbix) == before


@pytest.mark.usefixtures("without_template")
def test_a_dry_run_changes_nothing(zabbix: ZabbixStack, provision: Provision) -> None:
    """It says what it would do, with template, group, host and key still to come, and does none of it."""
    new_host(zabbix, "dry-1")
    before = everything(zabbix)
    done = provision.with_psk("--host", "dry-1", "--host", "dry-2", "--group", "Dry", "--dry-run")
    assert done == Done(
        0,
        [
            f"template {TEMPLATE!r}: would be imported",
            "group 'Dry': would be created",
            f"host 'dry-1': would be changed: template linked, put into group 'Dry', PSK 'PSK dry-1' set {STILL}",
            "host 'dry-2': would be created in group 'Dry', with the template, only with PSK 'PSK dry-2'",
            "2 hosts: 1 would be created, 1 would be changed",
            "dry run: nothing was changed, and what only Zabbix itself can check was not checked",
        ],
    )
    assert everything(zabbix) == before


@pytest.mark.usefixtures("without_template")
def test_the_template_is_the_one_that_the_web_interface_imports(zabbix: ZabbixStack, provision: Provision) -> None:
    """What `provision` imports is exported as what an import by hand is, to the letter."""

    def exported() -> str:
        options = {"templates": [the_template(zabbix)["templateid"]]}
        text = str(zabbix.api.configuration.export(format="xml", prettyprint=True, options=options))
        return re.sub("<date>.*</date>", "", text)

    assert provision("--template-only") == Done(0, [f"template {TEMPLATE!r}: imported"])
    ours = exported()
    zabbix.api.template.delete(the_template(zabbix)["templateid"])
    zabbix.import_template(template.text("6.0"))
    assert exported() == ours


def test_a_template_that_was_changed_is_brought_back(zabbix: ZabbixStack, provision: Provision) -> None:
    """What differs is named and becomes ours again; what was added to the template stays, and is no difference."""
    changed = the_template(zabbix)
    theirs = [{**macro, "value": "99m"} for macro in changed["macros"] if macro["macro"] == "{$TCP.NODATA.TIMEOUT}"]
    zabbix.api.usermacro.update([{"hostmacroid": macro["hostmacroid"], "value": macro["value"]} for macro in theirs])
    item = {"hostid": changed["templateid"], "name": "Their own", "key_": "own", "type": 2, "value_type": 3}
    added = zabbix.api.item.create(**item)["itemids"]
    try:
        done = provision("--template-only")
        assert done == Done(0, [f"template {TEMPLATE!r}: updated: template {TEMPLATE!r} updated"])
        macros = {macro["macro"]: macro["value"] for macro in the_template(zabbix)["macros"]}
        assert macros["{$TCP.NODATA.TIMEOUT}"] == "10m"
        assert zabbix.api.item.get(itemids=added)
        assert provision("--template-only") == Done(0, [f"template {TEMPLATE!r}: nothing to do"])
    finally:
        zabbix.api.item.delete(*added)


def test_a_host_keeps_what_it_has(zabbix: ZabbixStack, provision: Provision) -> None:
    """A host with an agent is completed: its template, group and interface stay, and so does what that agent uses."""
    theirs = new_template(zabbix, "Theirs")
    interface = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"}
    new_host(zabbix, "kept", templates=[{"templateid": theirs}], interfaces=[interface])
    done = provision.with_psk("--host", "kept", "--group", "Linux servers", identity="one for all")
    assert done.lines[1:] == [
        f"host 'kept': changed: template linked, put into group 'Linux servers', PSK 'one for all' set {STILL}"
    ]
    host = the_host(zabbix, "kept")
    assert host["in"] == ["Linux servers", "Zabbix servers"]
    assert host["has"] == [TEMPLATE, "Theirs"]
    assert (host["tls_connect"], host["tls_accept"]) == ("1", "3")
    assert len(zabbix.api.hostinterface.get(hostids=host["hostid"])) == 1


def test_a_new_host_takes_nothing_unencrypted(zabbix: ZabbixStack, provision: Provision) -> None:
    """With a key from the beginning, a host accepts that alone; another key replaces it."""
    assert provision.with_psk("--host", "sealed").code == 0
    host = the_host(zabbix, "sealed")
    assert (host["tls_connect"], host["tls_accept"]) == ("2", "2")
    stored = "select tls_psk_identity, tls_psk from hosts where host = 'sealed'"
    assert zabbix.query(stored) == [("PSK sealed", PSK)]
    assert provision("--host", "sealed").lines[1:] == ["host 'sealed': nothing to do"]
    done = provision.with_psk("--host", "sealed", identity="PSK of {host}")
    assert done.lines[1:] == ["host 'sealed': changed: PSK 'PSK of sealed' set"]
    assert zabbix.query(stored) == [("PSK of sealed", PSK)]


def test_a_template_of_templates_is_enough(zabbix: ZabbixStack, provision: Provision) -> None:
    """A host that has ours by way of another template, to which Zabbix could not link it a second time, has it."""
    base = new_template(zabbix, "Base", templates=[{"templateid": the_template(zabbix)["templateid"]}])
    new_host(zabbix, "based", templates=[{"templateid": base}])
    assert provision("--host", "based").lines[1:] == ["host 'based': nothing to do"]


def test_behind_a_proxy(zabbix: ZabbixStack, provision: Provision) -> None:
    """A new host and one that exists are put behind the proxy; one that does not exist is said."""
    name, mode = ("host", {"status": 5}) if is_older(zabbix, 7.0) else ("name", {"operating_mode": 0})
    (proxy,) = zabbix.api.proxy.create(**{name: "proxy-a"}, **mode)["proxyids"]
    new_host(zabbix, "near-1")
    arguments = ("--host", "near-1", "--host", "near-2", "--proxy", "proxy-a")
    assert provision(*arguments).lines[1:] == [
        "host 'near-1': changed: template linked, put behind 'proxy-a'",
        "host 'near-2': created in group 'Linux servers', with the template, behind 'proxy-a'",
        "2 hosts: 1 created, 1 changed",
    ]
    key = "proxy_hostid" if is_older(zabbix, 7.0) else "proxyid"
    assert {the_host(zabbix, host)[key] for host in ("near-1", "near-2")} == {proxy}
    assert provision(*arguments).lines[-1] == "2 hosts: 2 as wanted"
    done = provision("--host", "near-1", "--proxy", "Proxy-A")
    assert done.code == 1
    assert (
        done.lines[-1]
        == "tcp-status-sender: there is no proxy 'Proxy-A' that this user may read. Check the name: case matters."
    )


def test_a_visible_name_is_taken(zabbix: ZabbixStack, provision: Provision) -> None:
    """Who takes a visible name for the technical one is told whose it is, by the dry run too; other hosts are created."""
    new_host(zabbix, "tech-05", name="shown-05")
    said = "host 'shown-05': 'shown-05' is the visible name of a host whose technical name is 'tech-05'. Is it the same host? Then"
    for dry in ((), ("--dry-run",)):
        done = provision("--host", "shown-05", "--host", "beside-05", *dry)
        assert done.code == 1
        assert any(line.startswith(f"{said} give --host tech-05 here") for line in done.lines)
    assert the_host(zabbix, "beside-05")
    assert provision("--host", "tech-05").lines[1:] == ["host 'tech-05': changed: template linked"]
    done = provision("--host", TEMPLATE)
    assert f"host {TEMPLATE!r}: there is a template {TEMPLATE!r} with this name" in done.lines[-1]


def test_a_visible_name_that_the_user_may_not_see(zabbix: ZabbixStack, provision: Provision) -> None:
    """A lack of rights is claimed of nobody who has them all, and who sees less than there is learns that."""
    new_host(zabbix, "tech-06", name="shown-06")
    rights = ({"Linux servers": WRITE}, {template.GROUP: READ})
    done = provision("--host", "shown-06", token=new_token(zabbix, user(zabbix, "sees less", ADMIN, *rights)))
    assert done.code == 1
    assert (
        'Host with the same visible name "shown-06" already exists. This user, whose role is of type Admin, does'
        in done.lines[-1]
    )
    assert "needs a role" not in done.lines[-1]


def test_a_role_that_does_not_allow_a_method(zabbix: ZabbixStack, provision: Provision) -> None:
    """It is named, whatever type the role is of, and the dry run knows."""
    rules = {"api.access": 1, "api.mode": 0, "api": ["host.create"]}
    rights = ({"Linux servers": WRITE}, {template.GROUP: WRITE})
    token = new_token(zabbix, user(zabbix, "may not create", ADMIN, *rights, rules=rules))
    for dry, how in (((), "was rejected: "), (("--dry-run",), "would be rejected. ")):
        done = provision("--host", "not allowed", *dry, token=token)
        assert done.code == 1
        line = next(line for line in done.lines if "not allowed" in line)
        assert line.startswith(f"host 'not allowed': host.create {how}")
        assert line.endswith(
            "The user's role does not allow the API's method host.create: let it (Users > User roles)."
        )


def test_a_frontend_without_a_database(zabbix: ZabbixStack, provision: Provision) -> None:
    """Its own words are quoted: the address is right, and Zabbix is not well."""
    with zabbix.without_database():
        done = provision("--template-only")
    assert done.code == 1
    (line,) = done.lines
    assert line.startswith(f"tcp-status-sender: {zabbix.web_url}: says: ")
    assert "database" in line
    assert "Is this the address" not in line


def test_one_refused_host_does_not_stop_the_others(zabbix: ZabbixStack, provision: Provision) -> None:
    """A host with another template that has one of our keys is named with the server's reason; the next one is created."""
    legacy = new_template(zabbix, "Legacy")
    zabbix.api.item.create(hostid=legacy, name="old", key_="tcp.status[LISTEN]", type=2, value_type=3)
    new_host(zabbix, "legacy", templates=[{"templateid": legacy}])
    unlink = "The host has 'tcp.status[LISTEN]' from another template. Unlink that, without clearing, so that the item"
    done = provision("--host", "legacy", "--host", "clear", "--dry-run")
    assert done.code == 1
    assert any(line.startswith(f"host 'legacy': host.massadd would be rejected. {unlink}") for line in done.lines)
    done = provision("--host", "legacy", "--host", "clear")
    assert done.code == 1
    assert any(unlink in line for line in done.lines)
    assert "host 'clear': created in group 'Linux servers', with the template" in done.lines
    assert any(
        line.startswith("host 'legacy': host.massadd was rejected: ") and "tcp.status[LISTEN]" in line
        for line in done.lines
    )


PERMISSIONS: dict[str, tuple[int, dict[str, int], dict[str, int], tuple[str, ...], str]] = {
    "a User": (USER, {"Linux servers": WRITE}, {template.GROUP: WRITE}, (), "needs a role of type Admin"),
    "no right to the template": (
        ADMIN,
        {"Linux servers": WRITE},
        {},
        ("--keep-template",),
        f"there is no template {TEMPLATE!r} that this user may read",
    ),
    "no right to the group": (
        ADMIN,
        {"Linux servers": READ},
        {template.GROUP: READ},
        (),
        "read-write permission to the host's groups",
    ),
    "a new group": (
        ADMIN,
        {"Linux servers": WRITE},
        {template.GROUP: READ},
        ("--group", "Of their own"),
        "Only a role of type Super admin may create groups",
    ),
}


@pytest.mark.parametrize("case", PERMISSIONS)
def test_what_the_user_may_not_is_said(zabbix: ZabbixStack, provision: Provision, case: str) -> None:
    """Each lack of a right names the call, and the role and permissions that it needs; a dry run promises none of it."""
    kind, groups, templates, arguments, expected = PERMISSIONS[case]
    token = new_token(zabbix, user(zabbix, case, kind, groups, templates))
    for dry in (("--dry-run",), ()):
        done = provision("--host", f"for {case}", *arguments, *dry, token=token)
        assert done.code == 1
        assert any(expected in line for line in done.lines)


def test_an_admin_with_rights_to_the_groups_is_enough(zabbix: ZabbixStack, provision: Provision) -> None:
    """Where the template is there, read-write permission to the hosts' group, and read permission to the template's."""
    rights = ({"Linux servers": WRITE}, {template.GROUP: READ})
    done = provision("--host", "admin's", token=new_token(zabbix, user(zabbix, "enough", ADMIN, *rights)))
    assert done.code == 2  # for the apostrophe
    done = provision("--host", "admins", token=new_token(zabbix, user(zabbix, "enough 2", ADMIN, *rights)))
    assert done.lines[1:] == ["host 'admins': created in group 'Linux servers', with the template"]


def user(
    zabbix: ZabbixStack,
    name: str,
    kind: int,
    groups: dict[str, int],
    templates: dict[str, int],
    rules: dict[str, Any] | None = None,
) -> str:
    """Return a user with a role of this type, with these rules, and with these permissions to groups; its id."""
    rights = [{"id": group_id(zabbix, group), "permission": level} for group, level in groups.items()]
    more = [{"id": group_id(zabbix, group, "templategroup"), "permission": level} for group, level in templates.items()]
    old = {"rights": rights + more}
    new = {"hostgroup_rights": rights, "templategroup_rights": more}
    (usergroup,) = zabbix.api.usergroup.create(name=name, **(old if is_older(zabbix, 6.2) else new))["usrgrpids"]
    (role,) = zabbix.api.role.create(name=name, type=kind, rules=rules or {})["roleids"]
    login = {"username": name, "passwd": "correct horse 4 battery", "roleid": role}
    return str(zabbix.api.user.create(**login, usrgrps=[{"usrgrpid": usergroup}])["userids"][0])


def test_a_token_that_is_refused(zabbix: ZabbixStack, provision: Provision) -> None:
    """One that Zabbix does not know, and one that was disabled, end with what may be the matter."""
    disabled = zabbix.api.token.create(name="disabled", userid="1", status=1)["tokenids"]
    for token in ("f" * 64, zabbix.api.token.generate(disabled)[0]["token"]):
        done = provision("--host", "nobody", token=token)
        assert done.code == 1
        (line,) = done.lines
        assert line.startswith(f"tcp-status-sender: {zabbix.web_url}: rejects the API token: ")
        assert line.endswith(". Was it copied whole? Has it expired? Is it or its user disabled?")


def test_a_user_and_a_password_serve_too(zabbix: ZabbixStack) -> None:
    """From the environment; the session is ended, and a wrong password is said."""
    sessions = "select count(*) from sessions where status = 0"
    before = zabbix.query(sessions)

    def log_in(password: str) -> subprocess.CompletedProcess[str]:
        login = bare_environment(ZABBIX_USER="Admin", ZABBIX_PASSWORD=password)
        command = [COMMAND, "provision", "--url", zabbix.web_url, "--template-only"]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=login)

    done = log_in("zabbix")
    assert (done.returncode, done.stdout) == (0, f"template {TEMPLATE!r}: nothing to do\n")
    assert zabbix.query(sessions) == before
    done = log_in("rosebud")
    assert done.returncode == 1
    assert "rejects the user or the password" in done.stderr
    assert "rosebud" not in done.stderr


def test_https_is_verified(zabbix: ZabbixStack, provision: Provision, tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused, with the option that helps; with its CA all goes well."""
    with Https(tmp_path, int(zabbix.web_url.rstrip("/").rpartition(":")[2])) as https:
        done = provision("--template-only", url=https.url)
        assert done.code == 1
        assert "its certificate cannot be trusted: self-signed certificate" in done.lines[0]
        assert "--ca-file" in done.lines[0]
        done = provision("--template-only", "--ca-file", https.certificate, url=https.url)
        assert done == Done(0, [f"template {TEMPLATE!r}: nothing to do"])


def test_a_wrong_address_is_said(zabbix: ZabbixStack, provision: Provision) -> None:
    """One sentence with the address and what may be wrong with it; exit code 1."""
    done = provision("--template-only", url=f"{zabbix.web_url}nowhere")
    assert done.code == 1
    assert "Is this the address of Zabbix's web interface, such as " in done.lines[0]
    done = provision("--template-only", url=zabbix.web_url.replace("http:", "https:"))
    assert done.code == 1
    assert done.lines[0].endswith(". Is it https there?")
    assert "None" not in done.lines[0]  # OpenSSL does not give every failure a reason of its own
