"""`check`: each fault is named, with what to do, against trappers that fail in a way of the test's choosing."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from lab.findings import checks, one, results
from lab.keys import FIRST, FIRST_KEYS
from lab.spools import opened, sample
from lab.trapper import Trapper, accept, counts, packet, redirect
from sender.commands.check.kernel import check_kernel
from sender.commands.check.report import CheckResult, as_text
from sender.commands.daemon_state import daemon_state
from sender.model import CountedPorts
from sender.sampling.guard import GuardMemory
from sender.sampling.memory import Memory, NameMemory
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def answering(**others: Any) -> Callable[[dict[str, Any]], bytes]:
    """Return a trapper's answers: every value is rejected; `others` answer other requests, spaces as underscores."""

    def answer(request: dict[str, Any]) -> bytes:
        kind = request["request"].replace(" ", "_").replace(".", "_")
        if kind in others:
            return packet(json.dumps(others[kind]).encode())
        return counts(0, len(request["data"])) if "data" in request else b""

    return answer


def refusing(*parts: str) -> Callable[[dict[str, Any]], bytes]:
    """Return a trapper's answer: values are refused whose keys hold one of these."""

    def answer(request: dict[str, Any]) -> bytes:
        if "data" not in request:
            return accept(request)
        refused = [value for value in request["data"] if any(part in value["key"] for part in parts)]
        return counts(len(request["data"]) - len(refused), len(refused))

    return answer


def test_without_a_file(tmp_path: Path) -> None:
    """A file that is not there is one problem, in one line."""
    finding = one(checks(tmp_path / "none.yaml", 1), "fail")
    assert (finding["check"], finding["found"].startswith(f"{tmp_path}/none.yaml: ")) == ("config", True)


def test_a_kernel_that_is_too_slow() -> None:
    """A sample that takes longer than the interval is a failure."""
    (finding,), snapshot = check_kernel(CountedPorts(), interval_s=0)
    assert snapshot
    assert (finding.result, finding.seconds) == ("fail", snapshot.duration_s)
    assert "Choose a longer `interval`" in finding.advice


def test_a_name_that_does_not_resolve(config: Callable[..., Path]) -> None:
    """What comes after the name is not tried. .invalid never resolves (RFC 2606)."""
    findings = checks(config(destinations=[{"nodes": ["zbx.invalid"]}]), 1)
    failed = one(findings, "fail")
    assert (failed["check"], failed["destination"], failed["node"]) == ("name", "main", "zbx.invalid:10051")
    assert failed["found"].startswith("the name cannot be resolved (")
    assert failed["advice"] == "Check `nodes` and DNS."
    skipped = [(each["check"], each["found"]) for each in findings if each["result"] == "skip"]
    assert skipped == [
        *[("connection", "name failed"), ("protocol", "name failed")],
        *[("host", "no node answers"), ("keys", "no node answers")],
    ]


def test_a_name_that_resolves(config: Callable[..., Path]) -> None:
    """Its addresses are shown."""
    with Trapper() as trapper:
        findings = checks(config(destinations=[{"nodes": [f"localhost:{trapper.port}"]}]), 0)
    (name,) = [each for each in findings if each["check"] == "name"]
    assert "127.0.0.1" in name["found"].split(", ")
    assert name["seconds"] > 0


def test_a_port_that_is_refused(config: Callable[..., Path], dead_port: int) -> None:
    """The failure is the connection's."""
    failed = one(checks(config(dead_port), 1), "fail")
    assert (failed["check"], failed["found"]) == ("connection", "connection refused")
    assert failed["advice"] == "Is a Zabbix server or proxy listening there?"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "its answer is not that of a Zabbix trapper: b'HTTP/1.1 400 "),
        (b"", "it closed the connection without an answer"),
        (packet(b'{"response":"failed","info":"Zabbix server shutdown in progress"}'), "it answers Zabbix server shut"),
        (packet(b'{"response":"success"}'), "it answers {'response': 'success'}"),
    ],
)
def test_what_is_not_a_trapper(config: Callable[..., Path], answer: bytes, found: str) -> None:
    """Another service on the port, or a server that is about to stop, fails at the protocol, and gets no value."""
    with Trapper(lambda _: answer) as trapper:
        failed = one(checks(config(trapper.port), 1), "fail")
        assert not [request for request in trapper.requests if request.get("data")]
    assert (failed["check"], failed["found"][: len(found)]) == ("protocol", found)


def test_a_source_address_that_is_not_ours(config: Callable[..., Path]) -> None:
    """`source_ip` of another machine fails at the connection."""
    with Trapper() as trapper:
        destination = {"nodes": [f"127.0.0.1:{trapper.port}"], "source_ip": "192.0.2.10"}
        failed = one(checks(config(destinations=[destination]), 1), "fail")
    assert (failed["check"], failed["found"]) == ("connection", "source_ip 192.0.2.10 is not an address of this host")


def test_a_cluster(config: Callable[..., Path], dead_port: int) -> None:
    """One node that answers is enough: those on standby do not listen. Where none does, each has failed."""
    with Trapper() as active:
        nodes = [f"127.0.0.1:{dead_port}", f"127.0.0.1:{active.port}"]
        findings = checks(config(destinations=[{"nodes": nodes}]), 0)
    standby = one(findings, "warn")
    assert (standby["check"], standby["node"], standby["found"]) == ("connection", nodes[0], "connection refused")
    assert "on standby" in standby["advice"]
    failed = [each["node"] for each in checks(config(destinations=[{"nodes": nodes}]), 1) if each["result"] == "fail"]
    assert failed == nodes


def test_nodes_that_all_fail_at_last(config: Callable[..., Path]) -> None:
    """Where several nodes fail with the sample, each is part of what was found, and what to do is said once, apart."""

    def leave(trapper: Trapper) -> Callable[[dict[str, Any]], bytes]:
        def answer(request: dict[str, Any]) -> bytes:
            if request["request"] == "zabbix.stats":  # the last that a node is asked alone
                trapper.refuse()
            return accept(request)

        return answer

    with Trapper() as first, Trapper() as second:
        first.answer, second.answer = leave(first), leave(second)
        failed = one(checks(config(destinations=[{"nodes": [first.node, second.node]}]), 1), "fail")
    assert failed["check"] == "keys"
    assert failed["found"] == f"{first.node}: connection refused; {second.node}: connection refused"
    assert failed["advice"] == "Is a Zabbix server or proxy listening there?"


def test_a_redirect_to_nowhere(config: Callable[..., Path], dead_port: int) -> None:
    """A redirect that leads to a closed port is the node's failure, and says where it led; so is a circle."""
    with Trapper(lambda _: redirect(address=f"127.0.0.1:{dead_port}", revision=1)) as trapper:
        failed = one(checks(config(trapper.port), 1), "fail")
        trapper.answer = lambda _: redirect(address=trapper.node, revision=1)
        circle = one(checks(config(trapper.port), 1), "fail")
    assert failed["check"] == circle["check"] == "protocol"
    assert f"127.0.0.1:{dead_port} (redirected by {trapper.node}): connection refused" in failed["found"]
    assert "a loop" in circle["found"]


def test_the_version_where_it_is_told(config: Callable[..., Path]) -> None:
    """A Zabbix that tells its statistics to this host tells its version; one that does not is no worse for it."""
    stats = {"response": "success", "data": {"version": "7.0.22", "uptime": 3}}
    with Trapper(answering(zabbix_stats=stats, active_checks={"response": "success"})) as trapper:
        findings = checks(config(trapper.port), 1)
        trapper.answer = answering(zabbix_stats={"response": "failed", "info": "Permission denied."})
        unknown = checks(config(trapper.port), 1)
    assert [each["found"] for each in findings if each["check"] == "version"] == ["Zabbix 7.0.22"]
    assert "version" not in results(unknown)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("host [web-01] not found", "Create the host in Zabbix under exactly this name"),
        ("host [web-01] not monitored", "Enable the host"),
        ('host "web-01" is monitored by a proxy', "Name the proxy"),
        ('connection of type "unencrypted" is not allowed for host "web-01"', "'Connections from host'"),
        ('false PSK identity for host "web-01"', "PSK identity"),
        ('certificate issuer does not match for host "web-01"', "Issuer and Subject"),
        ("never heard of", "Look at the host in Zabbix"),
    ],
)
def test_a_host_that_is_refused_everything(config: Callable[..., Path], said: str, advice: str) -> None:
    """What Zabbix says to a request for active checks is quoted, with advice; keys are not tried then."""
    with Trapper(answering(active_checks={"response": "failed", "info": said})) as trapper:
        findings = checks(config(trapper.port), 1)
        sent = [len(request["data"]) for request in trapper.requests if "data" in request]
    failed = one(findings, "fail")
    assert (failed["check"], failed["found"]) == ("host", f"all {FIRST} values are rejected: {said}")
    assert advice in failed["advice"]
    assert results(findings)["keys"] == "skip"
    assert sent == [0, FIRST]


def test_a_host_whose_name_is_one_of_zabbix_s_words(config: Callable[..., Path]) -> None:
    """What to do follows from what Zabbix says of the host, not from the host's name."""
    for name, said in (("certificate", "host [certificate] is away"), ("identity", 'host "identity" is away')):
        with Trapper(answering(active_checks={"response": "failed", "info": said})) as trapper:
            failed = one(checks(config(trapper.port, host=name), 1), "fail")
        assert failed["advice"] == "Look at the host in Zabbix."


def test_a_host_without_the_template(config: Callable[..., Path]) -> None:
    """A host that is there and takes nothing lacks the items, which is another failure than a host that is not there."""
    with Trapper(answering(active_checks={"response": "success", "data": []})) as trapper:
        findings = checks(config(trapper.port), 1)
        asked = [request for request in trapper.requests if request["request"] == "active checks"]
    assert results(findings)["host"] == "ok"
    assert "probably the template is not linked to it" in one(findings, "fail")["found"]
    assert one(findings, "fail")["keys"] == FIRST_KEYS
    assert asked == [{"request": "active checks", "host": "web-01"}]


def test_a_host_that_is_to_register_itself(config: Callable[..., Path]) -> None:
    """The question why all is refused may register it, and so carries the metadata by which Zabbix knows what to do."""
    with Trapper(answering(active_checks={"response": "failed", "info": "host [web-01] not found"})) as trapper:
        findings = checks(config(trapper.port, autoregistration={"metadata": "Linux"}), 1)
        asked = [request for request in trapper.requests if request["request"] == "active checks"]
    assert one(findings, "fail")["check"] == "host"
    assert asked == [{"request": "active checks", "host": "web-01", "host_metadata": "Linux"}]


def test_keys_that_are_refused(config: Callable[..., Path]) -> None:
    """They are named; no value is sent twice, and nobody is asked for active checks, which is not without consequences."""
    with Trapper(refusing("[TOTAL]", "LAST_ACK")) as trapper:
        findings = checks(config(trapper.port), 1)
        values = trapper.values
        assert {request["request"] for request in trapper.requests} == {"sender data", "zabbix.stats"}
    failed = one(findings, "fail")
    assert failed["keys"] == ["tcp.status[LAST_ACK]", "tcp.status[TOTAL]"]
    assert failed["found"] == f"2 of {FIRST} keys are rejected: tcp.status[LAST_ACK], tcp.status[TOTAL]"
    assert results(findings)["host"] == "ok"
    assert len({(value["key"], value["clock"], value["ns"]) for value in values}) == len(values) == 2 * FIRST


def test_ports(config: Callable[..., Path]) -> None:
    """A port without items is to be looked at, but fails nothing; one of which some values are refused does."""
    ports = {"listening": False, "local": [443], "remote": [5432]}
    with Trapper(refusing("443]", "remote.status[TIME_WAIT,5432]")) as trapper:
        findings = checks(config(trapper.port, ports=ports), 1)
        trapper.answer = refusing(",443]", "[443]")
        healthy = checks(config(trapper.port, ports=ports), 0)
    assert one(findings, "fail")["found"] == "rejected: 1 of 4 values of port remote 5432"
    assert one(findings, "warn")["found"] == one(healthy, "warn")["found"] == "there are no items of port 443 yet"


def test_ports_over_the_limit(config: Callable[..., Path]) -> None:
    """Those that are left out are named."""
    with Trapper() as trapper, Trapper() as other:
        finding = one(checks(config(trapper.port, ports={"limit": 1, "ephemeral_after": 0}), 0), "warn")
        assert str(max(trapper.port, other.port)) in finding["found"]
    assert (finding["check"], "Raise ports.limit" in finding["advice"]) == ("ports", True)


def test_ports_that_wait_for_another_day(config: Callable[..., Path], tmp_path: Path) -> None:
    """Where the daemon has used up its new ports, those that wait are named, and so are those that are too new."""
    with Trapper() as trapper, Trapper() as other, Trapper() as third:
        ports = {"new_per_day": 1, "ephemeral_after": "1h"}
        path = config(trapper.port, ports=ports)
        guard = GuardMemory(waiting={other.port: 3700, third.port: 60}, spent=[5], begun=8000)
        memory = Memory(ports=NameMemory(named={trapper.port: 0}, guard=guard))
        spool = opened(tmp_path / "spool.db", "d0")
        spool.append(sample(1), str(memory))
        spool.close()
        finding = one(checks(path, 0), "warn")
    assert re.search(rf"ports.new_per_day of 1 is used up, .* for now: .*{other.port}", finding["found"])
    assert re.search(rf"until something has listened there for 1 h 0 min: .*{third.port}", finding["found"])
    assert "`ports.exclude`" in finding["advice"]


@pytest.mark.parametrize(
    ("path", "result", "found"),
    [
        (":memory:", "warn", "queued values are lost"),
        ("/dev/null/spool.db", "fail", "/dev/null/spool.db cannot be written by "),
        ("{}/new/deep/spool.db", "ok", "/new/deep/spool.db can be written by "),
        ("{}/damaged.db", "warn", "damaged.db is damaged: file is not a database"),
        ("{}/inventory.yaml", "fail", "inventory.yaml is a file of another kind"),
        ("{}/link.db", "ok", "link.db can be written by "),
        ("{}/other.db", "fail", "other.db: no such table"),
        ("{}/empty.db", "ok", "empty.db can be written by "),
    ],
)
def test_spools(config: Callable[..., Path], tmp_path: Path, path: str, result: str, found: str) -> None:
    """Whether samples can wait there is found without a change to anything there."""
    (tmp_path / "damaged.db").write_bytes(b"noise" * 1000)
    (tmp_path / "damaged.db.lock").touch()  # a daemon had it
    (tmp_path / "inventory.yaml").write_text("hosts: [web-01]\n")
    (tmp_path / "link.db").symlink_to("new.db")  # which is not there yet
    (tmp_path / "empty.db").touch()
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE another (program)")
    db.close()
    with Trapper() as trapper:
        file = config(trapper.port, spool={"path": path.format(tmp_path)})
        before = sorted(os.listdir(tmp_path))  # noqa: PTH208
        (spool,) = [each for each in checks(file, int(result == "fail")) if each["check"] == "spool"]
    assert (spool["result"], found in spool["found"]) == (result, True), spool
    assert sorted(os.listdir(tmp_path)) == before  # noqa: PTH208


def test_ports_that_are_none_are_not_looked_for(config: Callable[..., Path], tmp_path: Path) -> None:
    """A spool that remembers a port over 65535 is no reason to fail: the other ports that it remembers are reported."""
    with Trapper() as trapper:
        path = config(trapper.port, ports={"listening": True, "exclude": ["1-65535"]})
        spool = Spool(str(tmp_path / "spool.db"), ["d0"], Limits(max_age_s=1e9, max_bytes=2**20))
        spool.learn("d0", ["443", "98080", "65536", "remote 5432"])
        spool.close()
        assert set(daemon_state(str(tmp_path / "spool.db")).memory.ports.named) == {443}
        assert results(checks(path, 0))["spool"] == "ok"


def test_a_disk_that_is_too_small(config: Callable[..., Path]) -> None:
    """Less space than spool.max_size is said, and fails nothing."""
    with Trapper() as trapper:
        path = config(trapper.port)
        settings = json.loads(path.read_text())
        settings["spool"]["max_size"] = "1024GiB"
        path.write_text(json.dumps(settings))
        spool = one(checks(path, 0), "warn")
    assert "The disk will be full before spool.max_size (1,048,576 MiB)" in spool["advice"]


def test_narrow_terminals() -> None:
    """Findings and advice are wrapped into the column where they stand."""
    finding = CheckResult(check="keys", result="fail", found="word " * 20, advice="do this " * 10, destination="main")
    lines = as_text([finding], width=80).splitlines()
    column = lines[0].index("FOUND")
    assert lines[1].startswith("FAIL    keys   main   word word")
    assert all(len(line) <= 80 for line in lines)
    assert all(not line[:column].strip() for line in lines[2:-2])
    assert sum(line[column:].startswith("-> do this") for line in lines) == 1
    assert lines[-1] == "1 check: 1 failed"
