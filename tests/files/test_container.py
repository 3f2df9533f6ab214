"""What the files in packaging/container promise: no privilege, the host's network, a root that nobody writes, the same user."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
import yaml

from lab import documents
from lab.command import unit_environment
from lab.documents import REPOSITORY
from sender import __version__
from sender.settings import section
from sender.settings.files import DEFAULT_PATH
from sender.settings.schema import Settings
from sender.settings.values import MIB

PLACE = "packaging/container"
CONTAINERFILE = documents.text(f"{PLACE}/Containerfile")
SPOOL = "/var/lib/tcp-status-sender"
CGROUPS = "/sys/fs/cgroup"
BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def last_stage() -> str:
    """Return what the image itself is made by."""
    return CONTAINERFILE.rpartition("\nFROM ")[2].replace("\\\n", "")


def instruction(name: str) -> str:
    """Return the arguments of an instruction that the last stage has once."""
    (found,) = re.findall(rf"^{name} (.*)$", last_stage(), re.MULTILINE)
    return str(found)


USER, GROUP = map(int, instruction("USER").split(":"))


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    """Return the one service of the compose file."""
    loaded = yaml.safe_load(documents.text(f"{PLACE}/compose.yaml"))
    (service,) = loaded["services"].values()
    assert "spool" in loaded["volumes"]
    return dict(service)


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """Return Kubernetes' objects by their kinds."""
    return {each["kind"]: each for each in yaml.safe_load_all(documents.text(f"{PLACE}/daemonset.yaml"))}


@pytest.fixture(scope="module")
def pod(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of the DaemonSet."""
    return dict(objects["DaemonSet"]["spec"]["template"]["spec"])


def test_the_image_is_of_no_ones_user() -> None:
    """It has a fixed number that is not root's, and the spool's directory is that user's."""
    assert USER == GROUP > 0
    (copied,) = re.findall(r"^COPY (.*) /var/lib/$", last_stage(), re.MULTILINE)
    assert f"--chown={USER}:{GROUP}" in copied.split()
    assert instruction("VOLUME") == SPOOL


def test_the_image_has_the_units_environment() -> None:
    """What keeps the daemon small under systemd does so in a container."""
    environment = dict(word.split("=", 1) for word in instruction("ENV").split())
    assert environment.items() >= unit_environment().items()
    assert environment["TMPDIR"] == SPOOL


def test_everything_that_is_built_is_there() -> None:
    """What is copied into the build exists, and is all that the wheel is made of."""
    (first, _), copied = CONTAINERFILE.split("\nFROM ${BASE}\n"), set[str]()
    for sources in re.findall(r"^COPY (.*) \S+$", first, re.MULTILINE):
        copied |= set(sources.split())
    assert [path for path in copied if not (REPOSITORY / path).exists()] == []
    project = documents.text("pyproject.toml")
    wanted = re.findall(r'^"([^"]+)" = "(?:share|sender)/', project, re.MULTILINE)
    assert [path for path in wanted if not {path, path.split("/")[0]} & copied] == []


def test_compose_has_no_privilege(service: dict[str, Any]) -> None:
    """No capability, none to be gained, a root that cannot be written, and the image's user."""
    assert service["user"] == f"{USER}:{GROUP}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "ports"} & set(service)


def test_compose_sees_the_host(service: dict[str, Any]) -> None:
    """It has the host's network and cgroups; it can write nothing but its spool."""
    assert service["network_mode"] == "host"
    assert set(service["volumes"]) == {
        f"{DEFAULT_PATH.parent}:{DEFAULT_PATH.parent}:ro",
        f"{CGROUPS}:{CGROUPS}:ro",
        f"spool:{SPOOL}",
    }


def test_the_pod_has_no_privilege(pod: dict[str, Any]) -> None:
    """No capability, none to be gained, a root that cannot be written, the image's user, and no key to Kubernetes."""
    (container,) = pod["containers"]
    assert "initContainers" not in pod
    of_all = pod["securityContext"]
    assert (of_all["runAsNonRoot"], of_all["runAsUser"], of_all["runAsGroup"]) == (True, USER, GROUP)
    assert of_all["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostPID", "hostIPC"} & set(pod)
    assert pod["automountServiceAccountToken"] is False


def test_the_pod_sees_the_node(pod: dict[str, Any], objects: dict[str, Any]) -> None:
    """It has the node's network and cgroups; it can write nothing but its spool. Its namespace allows that."""
    assert pod["hostNetwork"] is True
    (container,) = pod["containers"]
    mounts = {each["mountPath"]: (each["name"], each.get("readOnly", False)) for each in container["volumeMounts"]}
    assert mounts == {
        str(DEFAULT_PATH.parent): ("config", True),
        CGROUPS: ("cgroups", True),
        SPOOL: ("spool", False),
    }
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["cgroups"]["hostPath"]["path"] == CGROUPS
    labels = objects["Namespace"]["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "privileged"}


def test_the_objects_belong_together(pod: dict[str, Any], objects: dict[str, Any]) -> None:
    """One namespace, the map that is mounted, labels that are selected, and this version's image."""
    space = objects["Namespace"]["metadata"]["name"]
    assert {each["metadata"].get("namespace", space) for each in objects.values()} == {space}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["config"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    spec = objects["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert pod["containers"][0]["image"].endswith(f"/tcp-status-sender:{__version__}")


def test_the_map_is_a_configuration(objects: dict[str, Any]) -> None:
    """It is one that the daemon takes, under the name that it looks for; each node keeps its own name."""
    data = objects["ConfigMap"]["data"]
    assert set(data) == {DEFAULT_PATH.name}
    settings = section.read(Settings, yaml.safe_load(data[DEFAULT_PATH.name]))
    assert settings.host == socket.gethostname()
    assert settings.autoregistration


def test_the_spool_has_room(pod: dict[str, Any], objects: dict[str, Any]) -> None:
    """The pod is not evicted for what the daemon may keep: a whole spool, a damaged one beside it, and the journal."""
    settings = section.read(Settings, yaml.safe_load(objects["ConfigMap"]["data"][DEFAULT_PATH.name]))
    (spool,) = (each["emptyDir"] for each in pod["volumes"] if each["name"] == "spool")
    limit, unit = re.fullmatch(r"(\d+)([KMG]i)", spool["sizeLimit"]).groups()  # type: ignore[union-attr]
    assert int(limit) * BYTES[unit] >= 2 * (settings.spool.max_size + 4 * MIB)
