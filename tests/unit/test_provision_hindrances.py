"""What is found to be in the way of a call, given answers as Zabbix gives them to such a user; with a real one: tests/zabbix."""

from __future__ import annotations

from typing import Any

import pytest

from lab.api import GROUP, Zabbix
from sender.commands import template
from sender.commands.provision.api import User
from sender.commands.provision.hindrances import Hindrances
from sender.commands.provision.provision import Goal, Provision
from sender.errors import ApiError, ApiRejectedError

ADMIN = User(kind=2, role_id="7")
CREATE = [{"host": "a", "groups": [{"groupid": "1"}, {"groupid": "2"}]}]
PSK = {"tls_psk_identity": "one", "tls_psk": "5a" * 16}


def rejects(_: Any) -> Any:
    """Answer as for a method that the role does not allow."""
    raise ApiRejectedError("role.get was rejected: why")


def breaks_down(_: Any) -> Any:
    """Answer as no Zabbix does."""
    raise ApiError("https://a/: role.get: cannot be reached")


def role(*methods: str, mode: str = "0", access: str = "1") -> list[Any]:
    """Return what role.get says of one that denies these methods, or with another mode allows them alone."""
    return [{"roleid": "7", "rules": {"api.access": access, "api.mode": mode, "api": list(methods)}}]


def of(method: str, params: Any, user: User = ADMIN, version: tuple[int, int] = (7, 0), **answers: Any) -> str:
    """Return what is found, where the role allows all and every group may be changed unless the answers say so."""
    every = {"role_get": role(), "templategroup_get": [GROUP], "hostgroup_get": []}
    return Hindrances(Zabbix(**{**every, **answers}), version, user).of(method, params)


def test_nothing_is_in_the_way() -> None:
    """Nothing is made up where all is as it should be, nor where Zabbix cannot be asked."""
    calls: tuple[tuple[str, Any], ...] = (
        ("host.create", CREATE),
        ("configuration.import", {}),
        ("template.get", {}),
        ("host.massadd", {"hosts": []}),
    )
    for method, params in calls:
        assert of(method, params) == ""
        assert of(method, params, user=User()) == ""
        assert of(method, params, role_get=breaks_down, hostgroup_get=breaks_down) == ""
        assert of(method, params, role_get=["?"]) == ""


def test_a_token_that_does_not_arrive() -> None:
    """Zabbix tells its version to nobody who is logged in: it does so where the header is lost. Before 6.4 there is none."""
    lost = "Let the web server pass the header Authorization on to PHP: it does not arrive."
    assert of("host.create", CREATE, apiinfo_version="7.0.22") == lost
    assert of("host.create", CREATE, apiinfo_version=rejects) == ""
    assert of("host.create", CREATE, version=(6, 2), apiinfo_version="6.2.0") == ""


@pytest.mark.parametrize(
    ("found", "is_allowed"),
    [
        (role(), True),
        (role("host.create"), False),
        (role("host.*"), False),
        (role("*.create"), False),
        (role("host.delete"), True),
        (role(mode="1"), False),
        (role("host.create", mode="1"), True),
        (role("*", mode="1"), True),
        (role(access="0"), False),
    ],
)
def test_what_the_role_allows(found: list[Any], *, is_allowed: bool) -> None:
    """Its list is of methods that it denies, or of the only ones that it allows; or it has no access to the API at all."""
    denied = "The user's role does not allow the API's method host.create: let it (Users > User roles)."
    assert of("host.create", CREATE, role_get=found) == ("" if is_allowed else denied)


@pytest.mark.parametrize(
    ("method", "kind", "said"),
    [
        (
            "host.create",
            1,
            "The user's role is of type User. The user needs a role of type Admin that allows this method",
        ),
        (
            "configuration.import",
            1,
            "The user's role is of type User. The user needs a role of type Admin with read-write",
        ),
        ("hostgroup.create", 2, "The user's role is of type Admin. Only a role of type Super admin may create groups."),
        ("hostgroup.create", 3, ""),
    ],
)
def test_the_type_of_the_role(method: str, kind: int, said: str) -> None:
    """Each method that changes something needs one of its own."""
    found = of(method, [], user=User(kind=kind, role_id="7"))
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_a_group_that_may_not_be_changed() -> None:
    """Of those into which hosts are to go, the ones without read-write permission are named."""
    groups = [{"groupid": "1", "name": "Mine"}, {"groupid": "2", "name": "Theirs"}]

    def found(params: Any) -> list[Any]:
        return groups[:1] if "editable" in params else groups

    said = "The user has no read-write permission to the group 'Theirs'. The user needs a role of type Admin"
    for method, params in (("host.create", CREATE), ("host.massadd", {"hosts": [], "groups": CREATE[0]["groups"]})):
        assert of(method, params, hostgroup_get=found).startswith(said)
        assert of(method, params, hostgroup_get=found, user=User(kind=3)) == ""


def test_a_host_that_may_not_be_changed() -> None:
    """One that the user may only read is named."""

    def found(params: Any) -> list[Any]:
        return [] if "editable" in params else [{"hostid": "3", "host": "a"}]

    said = "The user has no read-write permission to the host 'a'."
    for method, params in (("host.update", [{"hostid": "3"}]), ("host.massadd", {"hosts": [{"hostid": "3"}]})):
        assert of(method, params, host_get=found).startswith(said)


@pytest.mark.parametrize(("version", "kind"), [((6, 0), "hostgroup_get"), ((7, 0), "templategroup_get")])
def test_the_template_s_group_may_not_be_changed(version: tuple[int, int], kind: str) -> None:
    """Without read-write permission to it the template cannot be imported."""
    answers: dict[str, Any] = {"hostgroup_get": [GROUP], kind: []}
    found = of("configuration.import", {}, version=version, **answers)
    assert found.startswith(f"The user has no read-write permission to the template's group '{template.GROUP}'.")


def test_a_key_that_the_host_has_from_another_template() -> None:
    """Zabbix would not link ours: which keys, and that they are not to be cleared."""
    params = {"hosts": [{"hostid": "3"}], "templates": [{"templateid": "1"}]}
    found = of("host.massadd", params, item_get=[{"key_": "tcp.status[LISTEN]"}])
    assert found.startswith(
        "The host has 'tcp.status[LISTEN]' from another template. Unlink that, without clearing, so that"
    )
    assert of("host.massadd", {"hosts": [{"hostid": "3"}]}, item_get=[{"key_": "tcp.status[LISTEN]"}]) == ""


def with_keys(*hosts: tuple[str, str, str]) -> Any:
    """Return a host.get that finds these, id, identity and key, as 7.0 does."""

    def found(params: Any) -> list[Any]:
        wanted = params.get("filter", {})
        return [
            {"hostid": host}
            for host, identity, key in hosts
            if wanted.get("tls_psk_identity", identity) == identity and wanted.get("tls_psk", key) == key
        ]

    return found


def test_an_identity_with_two_keys() -> None:
    """From 7.0 on Zabbix takes no second key for one; the hosts whose key is changed in the same call do not count."""
    super_admin = User(kind=3)
    said = "Zabbix takes one key for an identity, and 'one' has another one already: of 1 hosts."
    other = with_keys(("3", "one", "ab" * 16), ("4", "two", "cd" * 16))
    for method, host in (("host.create", PSK), ("host.update", {"hostid": "9", **PSK})):
        assert of(method, [host], super_admin, host_get=other).startswith(said)
        assert of(method, [host], super_admin, (6, 4), host_get=other) == ""
    assert of("host.update", [{"hostid": "3", **PSK}], super_admin, host_get=other) == ""
    assert of("host.create", [PSK], super_admin, host_get=with_keys(("3", "one", PSK["tls_psk"]))) == ""
    assert of("host.create", [PSK], super_admin, host_get=lambda _: [{"hostid": "3"}]) == ""  # it does not look at keys


@pytest.mark.parametrize(
    ("user", "answers", "advice"),
    [
        (
            ADMIN,
            {},
            "This user, whose role is of type Admin, does not see all that this Zabbix has: what the message names may",
        ),
        (User(kind=3, role_id="7"), {}, ""),
        (User(), {}, ""),
        (
            ADMIN,
            {"role_get": rejects},
            "The user's role allows some methods of the API only: let it allow host.create, too.",
        ),
    ],
)
def test_a_rejection_for_which_no_reason_is_found(user: User, answers: dict[str, Any], advice: str) -> None:
    """Whatever words are in it, nothing is claimed: who does not see everything is told so, and nobody else."""
    hindrances = Hindrances(Zabbix(role_get=role(), **answers) if not answers else Zabbix(**answers), (7, 0), user)
    for words in ('Host "a" already exists', "No permissions to refused object", "Not authorized"):
        found = hindrances.explained(ApiRejectedError(f"host.create was rejected: {words}"), "host.create", [])
        assert found.found.endswith(words)
        assert found.advice.startswith(advice)
        assert bool(found.advice) == bool(advice)


def test_a_dry_run_fails_where_the_run_would() -> None:
    """What is seen to be in the way ends the template's import, and is the failure of a host; nothing is promised."""
    zabbix = Zabbix(role_get=role(), configuration_importcompare={"templates": {"added": [{"after": {"name": "t"}}]}})
    with pytest.raises(ApiRejectedError, match=r"configuration\.import would be rejected\. The user has no read-write"):
        list(Provision(zabbix, (7, 0), Goal(), user=ADMIN, is_dry=True).steps())
    zabbix = Zabbix(role_get=role("host.create"))
    steps = list(Provision(zabbix, (7, 0), Goal(hosts=("a",), is_template_kept=True), user=ADMIN, is_dry=True).steps())
    assert steps[0].is_failure
    assert steps[0].text.startswith("host 'a': host.create would be rejected. The user's role does not allow")
    assert zabbix.changes == []
