"""The Ansible role says the same in each of its files; tests/zabbix/test_ansible.py runs it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lab import documents

ROLE = documents.REPOSITORY / "packaging/ansible/tcp_status_sender"
README = "packaging/ansible/tcp_status_sender/README.md"
DEFAULTS = (ROLE / "defaults/main.yml").read_text()
KNOWN = {*yaml.safe_load(DEFAULTS), *yaml.safe_load((ROLE / "vars/main.yml").read_text())}
REGISTERED = {
    "tcp_status_sender_systemd",
    "tcp_status_sender_installed",
    "tcp_status_sender_can_venv",
    "tcp_status_sender_provisioned",
}
SECRETS = {"tcp_status_sender_keys", "tcp_status_sender_zabbix_token", "tcp_status_sender_zabbix_psk"}


def options() -> dict[str, Any]:
    """Return what Ansible is told of each variable."""
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


def test_every_variable_is_explained_and_has_a_type() -> None:
    """Each variable with a default has its type, and a comment; those that hold secrets are never shown."""
    assert list(options()) == list(yaml.safe_load(DEFAULTS))
    for block in DEFAULTS.split("\n\n")[1:]:
        assert block.startswith("# ")
    assert {name for name, option in options().items() if option.get("no_log")} == SECRETS


def test_no_variable_is_unknown() -> None:
    """Whatever the role's files and its README name is a variable of the role."""
    for path in (path for path in ROLE.rglob("*") if path.is_file()):
        named = set(re.findall(r"\btcp_status_sender_\w+", path.read_text()))
        assert named <= KNOWN | REGISTERED, path


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Each link is one to a file of the repository, and its anchor to a heading there."""
    for link in documents.links(README):
        path, _, anchor = link.partition("#")
        target = (ROLE / path).resolve()
        assert target.exists(), link
        assert not anchor or anchor in documents.anchors(str(target.relative_to(documents.REPOSITORY))), link


def test_signatures_are_checked_of_all_but_the_rpm() -> None:
    """The Python that dnf fetches for it has been there before, so that without a check nothing but the one file is installed."""
    python, package = yaml.safe_load((ROLE / "tasks/rpm.yml").read_text())
    named = python["ansible.builtin.dnf"]
    assert set(named) == {"name"}
    assert package["ansible.builtin.dnf"] == {
        "name": "/var/cache/{{ tcp_status_sender_file }}",
        "disable_gpg_check": True,
        "allow_downgrade": True,
    }
    pattern, python_of = re.findall(r"'([^']*)'", named["name"].replace(r"\\", "\\"))
    assert re.sub(pattern, python_of, "tcp-status-sender-1.0.0-1.py312.el8.x86_64.rpm") == "/usr/bin/python3.12"
