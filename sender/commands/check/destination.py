"""What `check` looks at in one destination: each node, step by step; then the host, and every key, by a true sample.

Zabbix says how many values it refused, never why. A host that is refused everything is asked for its active checks, the
one request whose answer tells why (get_hostid_by_host(), src/zabbix_server/trapper/active.c). Where a registration action
is enabled that request sets it to work, so it is made only then.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sender.commands.check.report import CheckResult, is_well, split
from sender.errors import DeliveryError
from sender.settings.values import address
from sender.text import some_of
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item, Outcome
    from sender.settings.schema import Destination
    from sender.settings.values import Node

_STEPS = ("key files", "name", "connection", "TLS", "protocol")
_PROBE_S = 30.0  # for trying keys one by one; one more answer may come after that
_MAX_QUOTE = 200  # characters of an answer
_TEMPLATE = "the template 'TCP states by Zabbix trapper'"

_NOT_FOUND = (
    "create the host under exactly this name (case matters), or correct `host` here; a host that is new is known within a "
    "minute. One that another server or a proxy monitors is not known here either: then name that one in `nodes`"
)
_ADVICE = {
    "not found": _NOT_FOUND,
    "not monitored": "enable the host in Zabbix",
    "monitored by": "name the proxy that monitors the host in `nodes`",
    "connection of type": "change the host's 'Connections from host' (Encryption) in Zabbix, or `tls` here",
    "identity": "the host's PSK identity in Zabbix and `tls.psk_identity` here must be the same",
    "certificate": "the host's Issuer and Subject (Encryption) in Zabbix must be those of the certificate in `tls.cert_file`",
}
_NO_KEY = (
    f"link {_TEMPLATE} to the host (`tcp-status-sender template` prints it); if it is linked, wait: a server takes up to a "
    "minute to know, a proxy up to its ConfigFrequency, an hour before 6.4. Else look at the items: enabled, of type Zabbix "
    "trapper, 'Allowed hosts' empty or with the address from which this host comes"
)
_SOME_KEYS = (
    "look at these items of the host: enabled, of type Zabbix trapper, 'Allowed hosts' empty or with the address from which "
    "this host comes. Where they are missing, import the template of this version again (`tcp-status-sender template`)"
)
_SOME_OF_PORTS = (
    "look at the items of these ports: enabled, of type Zabbix trapper; where they are missing, let the item prototypes of "
    "the states in `ports.states` be discovered"
)
_NEW_PORTS = (
    "Zabbix makes them from the discovery that it got just now, within a minute or so, and the daemon holds their values "
    "until then; those that the filter of the discovery rule leaves out never come"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Of whom it is asked: the host, its `metadata` for registration actions, one `sample`, and `take` for another."""

    host: str
    metadata: str
    sample: Sequence[Item]
    take: Callable[[], Sequence[Item]]
    missing: tuple[str, ...] = ()


def look(destination: Destination, subject: Subject) -> list[CheckResult]:
    """All that is to be found there, within a few times its timeout."""
    with ThreadPoolExecutor(len(destination.nodes)) as pool:
        nodes = list(pool.map(lambda node: _node(destination, node), destination.nodes))
    good = tuple(node for node, found in zip(destination.nodes, nodes, strict=True) if is_well(found))
    if good and len(nodes) > 1:
        nodes = [_as_standby(found) for found in nodes]
    found = [finding for node in nodes for finding in node]
    why = "no sample to send" if good else "no node answers"
    if not good or not subject.sample:
        skipped = [CheckResult(check=check, result="skip", found=why) for check in ("host", "keys")]
    else:
        skipped = _values(destination.model_copy(update={"nodes": good}), subject)
    return [replace(each, destination=destination.name) for each in (*found, *skipped)]


def _as_standby(found: Sequence[CheckResult]) -> list[CheckResult]:
    """Of a cluster, whose standby nodes do not listen."""
    advice = "in an HA cluster, a node on standby does not answer; is this one?"
    return [
        replace(each, result="warn", advice=advice) if each.check == "connection" and each.result == "fail" else each
        for each in found
    ]


def _node(destination: Destination, node: Node) -> list[CheckResult]:
    done: list[CheckResult] = []
    begin = time.perf_counter()

    def watch(step: str, found: str) -> None:
        nonlocal begin
        if any(each.check == step for each in done):  # once more, after a redirect
            return
        now = time.perf_counter()
        done.append(CheckResult(check=step, result="ok", found=found, node=str(node), seconds=now - begin))
        begin = now

    alone = destination.model_copy(update={"nodes": (node,)})
    try:
        _expect_trapper(node, Uplink(alone, watch).ask({"request": "sender data", "data": []}))
        watch("protocol", "a Zabbix trapper answers")
    except DeliveryError as error:
        found, advice = split(DeliveryError(str(error).removeprefix(str(node)).lstrip(": ")))
        failing, *later = _STEPS[len(done) :]
        done.append(CheckResult(check=failing, result="fail", found=found, advice=advice, node=str(node)))
        why = f"{failing} fail" if failing == "key files" else f"{failing} fails"
        done += [CheckResult(check=step, result="skip", found=why, node=str(node)) for step in later]
    else:
        done += _version(Uplink(alone), node)
    return [each for each in done if each.result == "fail" or each.check not in _needless(destination, node)]


def _needless(destination: Destination, node: Node) -> set[str]:
    """Steps that are none here, and of no interest while they do not fail."""
    needless = set() if destination.tls.connect != "unencrypted" else {"key files", "TLS"}
    return needless | {"name"} if _is_address(node) else needless


def _is_address(node: Node) -> bool:
    try:
        return bool(address(node.address))
    except ValueError:
        return False


def _expect_trapper(node: Node, answer: dict[str, Any]) -> None:
    """No values are a question without consequences. Raises DeliveryError when the answer is not a trapper's."""
    if answer.get("response") != "success" or not str(answer.get("info")).startswith("processed: 0"):
        raise DeliveryError(f"{node}: it answers {_said(answer)}; is it starting or stopping?")


def _version(uplink: Uplink, node: Node) -> list[CheckResult]:
    """Zabbix tells it to those in its StatsAllowedIP."""
    try:
        data = uplink.ask({"request": "zabbix.stats"}).get("data")
    except DeliveryError:
        return []
    version = data.get("version") if isinstance(data, dict) else None
    found = f"Zabbix {str(version)[:_MAX_QUOTE]}"
    return [CheckResult(check="version", result="ok", found=found, node=str(node))] if version else []


def _values(destination: Destination, subject: Subject) -> list[CheckResult]:
    uplink = Uplink(destination)
    try:
        outcome = uplink.send(subject.sample)
        if not outcome.accepted:
            return _host(uplink, subject)
        known = CheckResult(check="host", result="ok", found=f"{subject.host!r} is known and enabled")
        keys = _probe(uplink, subject.take()) if outcome.rejected else []
    except DeliveryError as error:
        found, advice = split(error)
        return [CheckResult(check="keys", result="fail", found=found, advice=advice)]
    return [known, *(keys or [_all_keys(subject)])]


def _all_keys(subject: Subject) -> CheckResult:
    found = f"each of {len(subject.sample)} keys is accepted"
    if not subject.missing:
        return CheckResult(check="keys", result="ok", found=found)
    found += f"; not tried: {', '.join(subject.missing)}, as this user cannot see the daemon"
    return CheckResult(check="keys", result="ok", found=found)


def _host(uplink: Uplink, subject: Subject) -> list[CheckResult]:
    """Why a host is refused everything. Raises DeliveryError."""
    request = {"request": "active checks", "host": subject.host}
    if subject.metadata:
        request["host_metadata"] = subject.metadata
    answer = uplink.ask(request)
    refused = f"all {len(subject.sample)} values are refused"
    if answer.get("response") == "success":
        keys = CheckResult(
            check="keys",
            result="fail",
            found=f"{refused}, though the host is there: probably the template is not linked to it",
            advice=_NO_KEY,
            keys=tuple(item.key for item in subject.sample),
        )
        return [CheckResult(check="host", result="ok", found=f"{subject.host!r} is known and enabled"), keys]
    said = _said(answer)
    advice = next((advice for words, advice in _ADVICE.items() if words in said), "look at the host in Zabbix")
    skipped = CheckResult(check="keys", result="skip", found="host fails")
    return [CheckResult(check="host", result="fail", found=f"{refused}: {said}", advice=advice), skipped]


def _said(answer: dict[str, Any]) -> str:
    return str(answer.get("info") or answer)[:_MAX_QUOTE]


def _probe(uplink: Uplink, sample: Sequence[Item]) -> list[CheckResult]:
    """Which keys are refused, by sending them one by one, those of a port together. Raises DeliveryError."""
    parts = [list(part) for _, part in groupby(sample, key=lambda item: item.port or item.key)]
    tried: list[tuple[list[Item], Outcome]] = []
    until = time.monotonic() + _PROBE_S
    while len(tried) < len(parts) and time.monotonic() < until:
        part = parts[len(tried)]
        tried.append((part, uplink.send(part)))
    refused = [(part, outcome) for part, outcome in tried if outcome.rejected]
    single = [part[0].key for part, _ in refused if not part[0].port]
    gone = [_port(part) for part, outcome in refused if part[0].port and not outcome.accepted]
    some = [
        f"{outcome.rejected} of {len(part)} values of port {_port(part)}"
        for part, outcome in refused
        if outcome.accepted and part[0].port
    ]
    findings = []
    if single:
        found = f"{len(single)} of {len(parts)} keys are refused: {some_of(single)}"
        findings.append(CheckResult(check="keys", result="fail", found=found, advice=_SOME_KEYS, keys=tuple(single)))
    if some:
        findings.append(
            CheckResult(check="keys", result="fail", found=f"refused: {some_of(some)}", advice=_SOME_OF_PORTS)
        )
    if gone:
        found = f"there are no items of port {some_of(gone)} yet"
        findings.append(CheckResult(check="keys", result="warn", found=found, advice=_NEW_PORTS))
    if len(tried) < len(parts):
        found = f"{len(parts) - len(tried)} of {len(parts)} keys and ports, as the answers come slowly"
        findings.append(CheckResult(check="keys", result="skip", found=found))
    return findings


def _port(part: Sequence[Item]) -> str:
    return part[0].port
