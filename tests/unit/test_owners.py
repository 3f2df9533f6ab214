"""Whose sockets are: cgroups in messages of any form, names from paths, and who gets those that have no cgroup."""

from __future__ import annotations

import struct
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.kernel.alike import SOCKET_LEN, Alike
from sender.kernel.cgroups import CgroupNames, find_root, to_know_them, why_unknown
from sender.kernel.counts import SocketCounts
from sender.kernel.id_codes import IdCodes
from sender.kernel.owners import cgroups_of, owners_by_state, port_owners
from sender.kernel.unit_names import owner_of
from sender.model import CountedPorts, TcpState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = 0x0123456789ABCDEF
SHUTDOWN, MARK, SOCKOPT = (
    struct.pack("=HHBxxx", 5, 8, 0),
    struct.pack("=HHI", 8, 15, 0),
    struct.pack("=HHHxx", 6, 22, 7),
)


def socket(state: int, *, cgroup: int = 0, port: int = 443, before: bytes = SHUTDOWN, after: bytes = SOCKOPT) -> bytes:
    """Return the message of a socket, its cgroup between other attributes; without one where that is 0."""
    attributes = before + (struct.pack("=HHQ", 12, 21, cgroup) if cgroup else b"") + after
    head = struct.pack("=IQI", SOCKET_LEN + len(attributes), HEADER, 1)
    body = struct.pack("=BBBB", 2, state, 0, 0) + struct.pack(">HH", port, 0 if state == TcpState.LISTEN else 5000)
    return head + body + bytes(SOCKET_LEN - len(head) - len(body)) + attributes


def counted(messages: Sequence[bytes], wanted: CountedPorts | None = None) -> SocketCounts:
    """Return what is counted of these, those of one length together, as a datagram has them."""
    counts = SocketCounts(wanted or CountedPorts(owners=True, listening=True))
    groups = []
    for length, some in groupby(sorted(messages, key=len), key=len):
        joined = b"".join(some)
        groups.append(Alike(joined, len(joined), length))
    counts.count(groups)
    return counts


FULL = [state for state in TcpState if state not in (TcpState.LISTEN, TcpState.SYN_SENT)]
full = st.tuples(
    st.sampled_from(FULL),
    st.sampled_from([0, 1, 7, 2**20, 2**32 + 7, 2**63]),
    st.sampled_from([b"", SHUTDOWN, SHUTDOWN + MARK, MARK + SHUTDOWN]),
    st.sampled_from([b"", SOCKOPT, MARK]),
)


@given(found=st.lists(full, max_size=40))
def test_each_socket_is_its_cgroups(found: list[tuple[TcpState, int, bytes, bytes]]) -> None:
    """Whatever attributes stand before and behind, and where only some of the messages of one length have an id."""
    counts = counted([socket(state, cgroup=cgroup, before=a, after=b) for state, cgroup, a, b in found])
    assert counts.owners
    by_state = {(state, cgroup): n for state, ids in counts.owners.by_state.items() for cgroup, n in ids.items()}
    assert by_state == Counter((state, cgroup) for state, cgroup, *_ in found if cgroup)
    assert sum(counts.states) == len(found)


def test_thousands_of_sockets_are_counted_as_they_come() -> None:
    """Datagram after datagram, in two states; a cgroup that turns up late is counted from its first socket on."""
    found = [(1 + 7 * (number % 5 == 0), 1000 + number % 3 + (number > 4900)) for number in range(9000)]
    counts = SocketCounts(CountedPorts(owners=True))
    for begin in range(0, len(found), 250):
        joined = b"".join(socket(state, cgroup=cgroup) for state, cgroup in found[begin : begin + 250])
        counts.count([Alike(joined, len(joined), len(joined) // 250)])
    assert counts.owners
    by_state = {(state, cgroup): n for state, ids in counts.owners.by_state.items() for cgroup, n in ids.items()}
    assert by_state == Counter(found)


def test_an_attribute_that_looks_like_an_id_is_none() -> None:
    """What stands where others have their id counts only as an attribute: here it is the content of another one."""
    false_id = struct.pack("=HH", 20, 99) + struct.pack("=HHQ", 12, 21, 5)
    counts = counted([socket(1, before=b"", after=false_id), socket(1, cgroup=7, before=MARK, after=b"")])
    assert counts.owners
    assert {state: dict(ids) for state, ids in counts.owners.by_state.items()} == {1: {7: 1}}


def test_sockets_without_a_cgroup_go_to_the_port_s_owner() -> None:
    """TIME_WAIT and SYN_RECV are the unit's that listens on their port, where just one does; else the kernel's."""
    ears = [(80, 10), (443, 10), (443, 11), (8080, 12), (8080, 13)]
    messages = [socket(TcpState.LISTEN, cgroup=cgroup, port=port) for port, cgroup in ears]
    messages += [socket(TcpState.TIME_WAIT, port=port, after=b"") for port in (80, 80, 443, 8080, 9999)]
    messages += [socket(TcpState.SYN_RECV, port=80, after=b""), socket(TcpState.ESTABLISHED, port=80, cgroup=12)]
    counts = counted(messages)
    names = {10: "web.service", 11: "web.service", 12: "a.service", 13: "b.service"}
    owner_of_port = port_owners(counts.cgroups, names)
    assert owner_of_port == {80: "web.service", 443: "web.service"}
    found = owners_by_state(counts, names, owner_of_port)
    assert found[TcpState.TIME_WAIT] == {"web.service": 3, "kernel": 2}
    assert found[TcpState.SYN_RECV] == {"web.service": 1}
    assert found[TcpState.ESTABLISHED] == {"a.service": 1}
    assert found[TcpState.LISTEN] == {"web.service": 3, "a.service": 1, "b.service": 1}
    assert {state: sum(owners.values()) for state, owners in found.items()} == {
        state: counts.states[state] for state in TcpState
    }


def test_owners_do_not_change_what_is_counted_by_port() -> None:
    """Ports have the sockets with a cgroup and those without; where listening ones are not wanted, the named alone."""
    messages = [socket(TcpState.LISTEN, cgroup=10, port=port) for port in (80, 81)]
    messages += [socket(1, cgroup=10, port=port) for port in (80, 81)] + [socket(6, port=80, after=b"")]
    all_of_80 = {(80, TcpState.LISTEN): 1, (80, TcpState.ESTABLISHED): 1, (80, TcpState.TIME_WAIT): 1}
    assert counted(messages, CountedPorts(local=frozenset({80}), owners=True)).local == all_of_80
    all_of_81 = {(81, TcpState.LISTEN): 1, (81, TcpState.ESTABLISHED): 1}
    assert counted(messages).local == {**all_of_80, **all_of_81}
    assert counted(messages, CountedPorts(listening=True)).local == {**all_of_80, **all_of_81}


def test_an_old_kernel_has_no_owners() -> None:
    """Before Linux 5.8 no message has an id: there is nothing to name."""
    counts = counted([socket(state) for state in TcpState])
    assert cgroups_of(counts) is None
    assert cgroups_of(counted([])) == set()
    assert cgroups_of(counted([], CountedPorts())) is None


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/nginx.service/worker/0", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", "postgresql@15-main.service"),
        ("/system.slice/sshd.socket", "sshd.service"),
        # One for each connection: its name has the client's address.
        ("/system.slice/system-sshd.slice/sshd@3-192.0.2.1:22-192.0.2.9:50000.service", "sshd.service"),
        ("/system.slice/system-sshd.slice/sshd@12-4711-0.service", "sshd.service"),
        ("/init.scope", "init.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", "user sessions"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service", "user services"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user services"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ab12.scope", "user services"),
        ("/system.slice/docker-0123456789abcdef.scope", "docker"),
        ("/docker/0123456789abcdef", "docker"),
        ("/system.slice/docker.service", "docker.service"),
        ("/machine.slice/libpod-0123456789abcdef.scope/container", "podman"),
        ("/machine.slice/libpod-conmon-0123456789abcdef.scope", "podman"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-2.scope", "kubepods"),
        ("/kubepods/besteffort/pod1/2", "kubepods"),
        ("/system.slice/run-u12.service", "other"),
        ("/system.slice/run-p123-i456.service", "other"),
        ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "other"),
        ("/", "other"),
        ("/system.slice", "other"),
        ("/made/by hand", "other"),
        ("/made/by,hand].service", "other"),
    ],
)
def test_a_path_says_whose_it_is(path: str, owner: str) -> None:
    """Services by their names; all else put together, so that names are few and lasting, and never a client's address."""
    assert owner_of(path) == owner


def test_a_container_s_sockets_are_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the host's network, by the name that the helper has told; without one, they are its engine's."""
    known, unknown = "ab" * 32, "cd" * 32
    places = [
        f"system.slice/docker-{known}.scope",
        f"system.slice/docker-{unknown}.scope",
        "system.slice/nginx.service",
    ]
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    ids = [(tmp_path / place).stat().st_ino for place in places]
    monkeypatch.setattr("sender.kernel.cgroups.find_root", lambda _: tmp_path)  # its number is not that of a machine's
    names = CgroupNames()
    assert names.owners(set(ids), {}) == dict(zip(ids, ["docker", "docker", "nginx.service"], strict=True))
    told = names.owners(set(ids), {known: "web"})
    assert told == dict(zip(ids, ["container web", "docker", "nginx.service"], strict=True))


def test_where_there_are_no_cgroups_it_says_why(tmp_path: Path) -> None:
    """Cgroup v1 alone has nothing to tell; a tree whose root is not the machine's is a container's own."""
    (tmp_path / "v1" / "memory").mkdir(parents=True)
    assert find_root([tmp_path / "v1"]) is None
    assert "cgroup v1 alone" in (why_unknown([tmp_path / "v1"]) or "")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "cgroup.controllers").touch()
    assert "container" in (why_unknown([tmp_path / "own"]) or "")
    assert CgroupNames([tmp_path / "v1", tmp_path / "own"]).owners({1}, {}) is None
    (tmp_path / "none").mkdir()
    assert "no cgroups are mounted" in (why_unknown([tmp_path / "none", tmp_path / "missing"]) or "")


def test_cgroups_that_nobody_may_look_at_are_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with InaccessiblePaths=/sys/fs/cgroup. Root may look everywhere: a name that is too long stands for a denied one."""
    denied = [tmp_path / ("x" * 300)]
    assert find_root(denied) is None
    assert "may not see them" in (why_unknown(denied) or "")
    monkeypatch.setattr("sender.kernel.cgroups.container", lambda: ("", False))
    assert not to_know_them(denied)
    assert CgroupNames(denied).owners({1}, {}) is None


@pytest.mark.parametrize(
    ("kind", "place", "is_advised"),
    [
        (("", False), "v1", False),  # a host, where nothing helps
        (("", False), "own", True),  # a container that shows by its cgroups alone
        (("docker", False), "v1", True),
        (("docker", False), "missing", True),
        (("lxc", True), "own", False),  # a whole system, in which its own is what is meant
    ],
)
def test_a_container_is_told_how_to_see_the_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: tuple[str, bool], place: str, *, is_advised: bool
) -> None:
    """What to mount is said where a container of one program hides the host's cgroups, and nowhere else."""
    (tmp_path / "v1" / "memory").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "cgroup.controllers").touch()
    monkeypatch.setattr("sender.kernel.cgroups.container", lambda: kind)
    assert ("/sys/fs/cgroup:ro" in to_know_them([tmp_path / place])) is is_advised


few_ids = st.lists(st.integers(1, 2**16) | st.integers(1, 2**64 - 1), min_size=1, max_size=300, unique=True)


@given(known=few_ids, found=st.lists(st.integers(0, 299), min_size=1, max_size=60), other=st.integers(0, 2**64 - 1))
def test_codes_stand_for_known_ids_alone(known: list[int], found: list[int], other: int) -> None:
    """Where one byte tells the ids apart each message has the code of its own; an id that is not known has none."""
    codes, ids = IdCodes(known), [known[place % len(known)] for place in found]

    def of(*ids: int) -> bytes | bytearray | None:
        return codes.of([bytes(each >> 8 * byte & 255 for each in ids) for byte in range(8)])

    if codes.ids:
        assert [codes.ids[code] for code in of(*ids) or b""] == ids
        assert (of(*ids, other) is not None) == (other in known)
    else:
        assert of(*ids) is None
    assert codes.with_more(known) is codes
