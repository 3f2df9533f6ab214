"""What network namespaces are called: by their mounts, and by cgroups and files as container engines have them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.commands.namespaces.container_names import ContainerNames
from sender.commands.namespaces.finder import Finder, Sight
from sender.errors import KernelError
from sender.kernel.container_ids import Container, container_of, fit

if TYPE_CHECKING:
    from pathlib import Path

ID = "1e5b" * 16
OTHER = "ab" * 32
FIRST, OWN = 4026531840, 4026532001


@pytest.mark.parametrize(
    ("path", "engine"),
    [
        (f"/system.slice/docker-{ID}.scope", "docker"),
        (f"/system.slice/docker-{ID}.scope/init.scope", "docker"),
        (f"/docker/{ID}", "docker"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman"),
        (f"/libpod_parent/libpod-{ID}", "podman"),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container", "podman"),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "containerd"),
        (f"/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}", "containerd"),
        (f"/kubepods.slice/kubepods-burstable.slice/crio-{ID}.scope", "crio"),
        (f"/kubepods/besteffort/pod1/{ID}", "container"),
        (f"/system.slice/docker-{OTHER}.scope/kubepods/pod1/{ID}", "container"),
        ("/system.slice/nginx.service", None),
        (f"/machine.slice/libpod-conmon-{ID}.scope", None),
        (f"/system.slice/docker-{ID[:-1]}.scope", None),
        (f"/docker/{ID.upper()}", None),
        ("/", None),
    ],
)
def test_the_container_of_a_cgroup(path: str, engine: str | None) -> None:
    """The innermost container's id, with cgroup2 alone and beside version 1."""
    expected = Container(engine, ID) if engine else None
    assert container_of(f"0::{path}\n") == expected
    assert container_of(f"12:pids:{path}\n1:name=systemd:{path}\n0::/\n") == expected


@given(st.text())
def test_any_text_may_stand_in_a_cgroup(text: str) -> None:
    """Whatever a user calls a cgroup, it is a container's or it is not."""
    container = container_of(text)
    assert container is None or len(container.id) == 64


@given(st.text())
def test_a_name_is_fit_to_be_sent(text: str) -> None:
    """It has some characters, and only such as can be in a key."""
    name = fit(text)
    assert 0 < len(name) <= 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@/-")


def test_names_stay_what_they_are() -> None:
    """As engines allow them; what they do not allow is replaced."""
    assert [fit(name) for name in ("web-01", "shop/web_1.x:y@z", 'a"b]c,d', "")] == [
        "web-01",
        "shop/web_1.x:y@z",
        "a_b_c_d",
        "unnamed",
    ]


def write(path: Path, content: Any) -> None:
    """Write a file as JSON, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def annotated(namespace_key: str, name_key: str) -> dict[str, Any]:
    """Return a container's configuration with those of a pod."""
    return {"ociVersion": "1.0.2", "annotations": {namespace_key: "shop", name_key: "web-5d9f"}}


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """Return the root of a machine that has all engines."""
    write(tmp_path / f"var/lib/docker/containers/{ID}/config.v2.json", {"ID": ID, "Name": "/web"})
    stored = [{"id": OTHER, "names": ["other"]}, {"id": ID, "names": ["db", "db-1"]}]
    write(tmp_path / "var/lib/containers/storage/overlay-containers/containers.json", stored)
    containerd = annotated("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name")
    write(tmp_path / f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json", containerd)
    crio = annotated("io.kubernetes.pod.namespace", "io.kubernetes.pod.name")
    write(tmp_path / f"run/containers/storage/overlay-containers/{ID}/userdata/config.json", crio)
    return tmp_path


@pytest.mark.parametrize(
    ("engine", "name"),
    [("docker", "web"), ("podman", "db"), ("containerd", "shop/web-5d9f"), ("crio", "shop/web-5d9f")],
)
def test_engines_keep_names_in_files(engines: Path, engine: str, name: str) -> None:
    """Each in its own way; none knows another's container."""
    names = ContainerNames(engines)
    assert names.name_of(Container(engine, ID)) == name
    assert names.name_of(Container(engine, "cd" * 32)) == ""


def test_an_id_alone_is_looked_for_everywhere(engines: Path) -> None:
    """Where the cgroup does not say which engine it is."""
    assert ContainerNames(engines).name_of(Container("container", OTHER)) == "other"


def test_podmans_passing_containers_have_names_too(engines: Path) -> None:
    """Those of `podman run --rm` are in a file of their own."""
    path = engines / "var/lib/containers/storage/overlay-containers/volatile-containers.json"
    write(path, [{"id": "cd" * 32, "names": ["once"]}])
    assert ContainerNames(engines).name_of(Container("podman", "cd" * 32)) == "once"


def test_a_container_is_renamed(engines: Path) -> None:
    """The file is read again when it has changed, and not before."""
    names, path = ContainerNames(engines), engines / f"var/lib/docker/containers/{ID}/config.v2.json"
    assert names.name_of(Container("docker", ID)) == "web"
    stamp = path.stat()
    path.write_text(path.read_text().replace("web", "new"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert names.name_of(Container("docker", ID)) == "web"  # it was not looked into
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert names.name_of(Container("docker", ID)) == "new"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'{"Name": 7}', b'[{"id": []}]', b'{"annotations": []}'],
)
def test_a_file_that_is_not_what_it_seems(engines: Path, content: bytes) -> None:
    """No name is known then."""
    for path in engines.rglob("*.json"):
        path.write_bytes(content)
    names = ContainerNames(engines)
    for engine in ("docker", "podman", "containerd", "crio", "container"):
        assert names.name_of(Container(engine, ID)) == ""


class Machine:
    """Files as /proc and /run/netns have them."""

    def __init__(self, root: Path) -> None:
        self.root, self.proc, self.mounts = root, root / "proc", root / "netns"
        self.process("self", OWN)
        self.process("1", FIRST)

    def process(self, number: int | str, inode: int, cgroup: str = "/", comm: str = "sh", started: int = 1) -> None:
        """Add a process, whose name may hold what a line of /proc/PID/stat is cut at."""
        folder = self.proc / str(number)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns" / "net").symlink_to(f"net:[{inode}]")
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "stat").write_text(f"{number} ({comm}) S {' '.join(['0'] * 18)} {started} 0 0\n")

    def found(self) -> list[tuple[int, str, str]]:
        """Return inode, name and container of what is found, in its order."""
        return [(each.inode, each.name, each.container) for each in self.sight().namespaces.values()]

    def sight(self) -> Sight:
        """Return all that is found."""
        return Finder(ContainerNames(self.root), proc=self.proc, mounts=self.mounts).find()


@pytest.fixture
def machine(engines: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return one without other namespaces. Any file can be a mount: those of `ip netns` are told by their device."""
    true_stat = os.stat
    own = str(engines / "proc" / "self" / "ns" / "net")
    monkeypatch.setattr(os, "stat", lambda path, **more: true_stat(engines if path == own else path, **more))
    return Machine(engines)


def test_the_first_and_our_own_are_left_out(machine: Machine) -> None:
    """There are no others on a host without containers; what is no process is none."""
    machine.process(7, FIRST)
    machine.process(8, OWN)
    (machine.proc / "sys").mkdir()
    (machine.proc / "9").mkdir()  # it has ended
    assert machine.found() == []


def test_a_namespace_is_called_by_its_container(machine: Machine) -> None:
    """By the name, else by engine and id."""
    machine.process(10, 11, f"/system.slice/docker-{ID}.scope", started=2)
    machine.process(11, 12, f"/system.slice/docker-{OTHER}.scope", started=3)
    assert machine.found() == [(11, "web", ID), (12, f"docker-{OTHER[:12]}", OTHER)]


def test_containers_on_the_host_s_network_have_names(machine: Machine) -> None:
    """By their engine's files, whatever process it is; what has no name there is left to its cgroup."""
    machine.process(10, FIRST, f"/system.slice/docker-{ID}.scope")
    machine.process(11, OWN, f"/system.slice/docker-{ID}.scope/worker")
    machine.process(12, FIRST, f"/system.slice/docker-{OTHER}.scope")
    machine.process(13, FIRST, "/system.slice/nginx.service")
    assert machine.sight() == Sight(namespaces={}, containers={ID: "web"})


def test_a_namespace_is_called_by_its_oldest_process(machine: Machine) -> None:
    """Numbers of processes begin anew, so the oldest is not the one with the lowest."""
    machine.process(10, 11, comm="new", started=300)
    machine.process(30, 11, comm="a) S 1 (b", started=20)
    machine.process(20, 11, comm="newer", started=1000)
    assert machine.found() == [(11, "a__S_1__b", "")]


def test_what_ip_netns_says_goes_first(machine: Machine) -> None:
    """A mount keeps a namespace without processes, and its name is somebody's choice."""
    machine.mounts.mkdir()
    for name in ("empty", "vpn"):
        (machine.mounts / name).touch()
    vpn = (machine.mounts / "vpn").stat().st_ino
    (machine.mounts / "vpn-too").hardlink_to(machine.mounts / "vpn")
    machine.process(10, vpn, f"/docker/{ID}")
    machine.process(11, 11)
    found = machine.found()
    assert sorted(found[:2]) == sorted([(vpn, "vpn", ID), ((machine.mounts / "empty").stat().st_ino, "empty", "")])
    assert found[2:] == [(11, "sh", "")]


@pytest.mark.parametrize("prefix", ["cni-", "netns-", ""])
def test_a_name_that_an_engine_made_up_goes_last(machine: Machine, prefix: str) -> None:
    """It is another one at each start of the container."""
    machine.mounts.mkdir()
    mount = machine.mounts / f"{prefix}1e5b1e5b-0000-4000-8000-1e5b1e5b1e5b"
    mount.touch()
    inode = mount.stat().st_ino
    assert machine.found() == [(inode, mount.name, "")]
    machine.process(10, inode, f"/kubepods.slice/cri-containerd-{ID}.scope")
    assert machine.found() == [(inode, "shop/web-5d9f", ID)]


def test_a_first_process_that_nobody_may_look_at(machine: Machine) -> None:
    """The first of the kernel's threads is where it is; no other process with that number says anything."""
    (machine.proc / "1" / "ns" / "net").unlink()
    machine.process(2, FIRST, comm="sh")
    with pytest.raises(KernelError, match="as root"):
        machine.found()
    (machine.proc / "2" / "stat").write_text("2 (kthreadd) S 0 0 0 0 -1 2129984 0\n")
    machine.process(7, FIRST)
    machine.process(8, 11)
    assert machine.found() == [(11, "sh", "")]


def test_it_takes_root(tmp_path: Path) -> None:
    """Whoever may not see the first process's namespace is told so."""
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "net").symlink_to(f"net:[{OWN}]")
    with pytest.raises(KernelError, match="as root"):
        Finder(ContainerNames(tmp_path), proc=tmp_path)
