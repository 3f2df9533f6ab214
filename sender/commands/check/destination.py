"""What `check` finds about one destination: each node, step by step; then the host, and every key, by a true sample.

Zabbix says how many values it rejected, never why. A host whose values are all rejected is asked for its active checks,
the one request whose answer tells why (get_hostid_by_host(), src/zabbix_server/trapper/active.c). Where a registration
action is enabled that request sets it to work, so it is made only then.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sender.commands.check.report import CheckResult, is_well
from sender.delivery import advice
from sender.delivery.probe import Part, Verdict, parts, probe, verdict
from sender.errors import DeliveryError, Step
from sender.items import named
from sender.settings.values import address
from sender.text import some_of
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item, Node
    from sender.settings.schema import Destination

_PROBE_S = 30.0  # for trying keys one by one; one more answer may come after that
_MAX_QUOTE = 200  # characters of an answer

_ADVICE = {  # by words of Zabbix's answer
    "not found": f"{advice.NAME} {advice.DELAY}",
    "not monitored": advice.ENABLE,
    "monitored by": "Name the proxy that monitors the host in `nodes`.",
    "connection of type": "Change the host's 'Connections from host' (Encryption) in Zabbix, or `tls` here.",
    "identity": "The host's PSK identity in Zabbix and `tls.psk_identity` here must be the same.",
    "certificate": (
        "The host's Issuer and Subject (Encryption) in Zabbix must be those of the certificate in `tls.cert_file`."
    ),
}
_NEW_PORTS = (
    "Zabbix creates them from the discovery that it got just now, within about a minute, and the daemon holds their values "
    "until then. Those that the filter of the discovery rule leaves out never come."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked: the host, its metadata for registration actions, one sample, and `take` for a fresh one.

    `missing` are keys that no sample here has.
    """

    host: str
    metadata: str
    sample: Sequence[Item]
    take: Callable[[], Sequence[Item]]
    missing: tuple[str, ...] = ()


def check_destination(destination: Destination, subject: Subject) -> list[CheckResult]:
    """Return the results of every check there, within a few times its timeout."""
    with ThreadPoolExecutor(len(destination.nodes)) as pool:
        nodes = list(pool.map(lambda node: _check_node(destination, node), destination.nodes))
    good = tuple(node for node, found in zip(destination.nodes, nodes, strict=True) if is_well(found))
    if good and len(nodes) > 1:
        nodes = [_as_standby(found) for found in nodes]
    results = [result for found in nodes for result in found]
    if good and subject.sample:
        results += check_values(replace(destination, nodes=good), subject)
    else:
        why = "no sample to send" if good else "no node answers"
        results += [CheckResult(check=check, result="skip", found=why) for check in ("host", "keys")]
    return [replace(each, destination=destination.name) for each in results]


def _as_standby(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the results of a node of a cluster, whose standby nodes do not listen."""
    text = "In an HA cluster, a node on standby does not answer. Is this one on standby?"
    return [
        replace(each, result="warn", advice=text) if each.check == "connection" and each.result == "fail" else each
        for each in results
    ]


class _Steps:
    """The steps to one node, and how each ended."""

    def __init__(self, node: Node) -> None:
        self.results: dict[Step, CheckResult] = {}
        self._node = str(node)
        self._begin = time.perf_counter()

    def done(self, step: Step, found: str) -> None:
        """Note a step that worked; once more, after a redirect, it is no news."""
        if step not in self.results:
            now = time.perf_counter()
            seconds, self._begin = now - self._begin, now
            self._add(step, CheckResult(check="", result="ok", found=found, seconds=seconds))

    def failed(self, error: DeliveryError) -> None:
        """Note the step that failed, and those that could not be tried. Where a redirect led is the protocol's matter."""
        is_elsewhere = error.node not in ("", self._node)
        step, found = (Step.PROTOCOL, f"{error.node}: {error.found}") if is_elsewhere else (error.step, error.found)
        self._add(step, CheckResult(check="", result="fail", found=found, advice=error.advice))
        steps = list(Step)
        for later in steps[steps.index(step) + 1 :]:
            self._add(later, CheckResult(check="", result="skip", found=f"{step.value} failed"))

    def _add(self, step: Step, result: CheckResult) -> None:
        self.results[step] = replace(result, check=step.value, node=self._node)


def _check_node(destination: Destination, node: Node) -> list[CheckResult]:
    steps, version = _Steps(node), list[CheckResult]()
    alone = replace(destination, nodes=(node,))
    try:
        _expect_trapper(Uplink(alone, steps.done).ask({"request": "sender data", "data": []}))
        steps.done(Step.PROTOCOL, "a Zabbix trapper answers")
    except DeliveryError as error:
        steps.failed(error)
    else:
        version = _version(Uplink(alone), node)
    needless = _needless(destination, node)
    return [
        *(each for step, each in steps.results.items() if each.result == "fail" or step not in needless),
        *version,
    ]


def _needless(destination: Destination, node: Node) -> set[Step]:
    """Return the steps that are none here, and of no interest while they do not fail."""
    needless = set() if destination.tls.connect != "unencrypted" else {Step.KEY_FILES, Step.TLS}
    return needless | {Step.NAME} if _is_address(node) else needless


def _is_address(node: Node) -> bool:
    try:
        return bool(address(node.address))
    except ValueError:
        return False


def _expect_trapper(answer: dict[str, Any]) -> None:
    """Raise DeliveryError where this is no trapper's answer to no values, a question without consequences."""
    if answer.get("response") != "success" or not str(answer.get("info")).startswith("processed: 0"):
        raise DeliveryError(f"it answers {_said(answer)}", advice="Is it starting or stopping?")


def _version(uplink: Uplink, node: Node) -> list[CheckResult]:
    """Return the version, which Zabbix tells those in its StatsAllowedIP; nothing where it does not."""
    try:
        data = uplink.ask({"request": "zabbix.stats"}).get("data")
    except DeliveryError:
        return []
    version = data.get("version") if isinstance(data, dict) else None
    found = f"Zabbix {str(version)[:_MAX_QUOTE]}"
    return [CheckResult(check="version", result="ok", found=found, node=str(node))] if version else []


def check_values(destination: Destination, subject: Subject) -> list[CheckResult]:
    """Return what becomes of a sample there: whether the host is known, and which keys are rejected."""
    uplink = Uplink(destination)
    try:
        outcome = uplink.send(subject.sample)
        if verdict(outcome) is Verdict.ALL:
            return _check_host(uplink, subject)
        known = CheckResult(check="host", result="ok", found=f"{subject.host!r} is known and enabled")
        keys = _check_keys(uplink, subject.take()) if outcome.rejected else []
    except DeliveryError as error:
        node = error.node or None
        return [CheckResult(check="keys", result="fail", found=error.found, advice=error.advice, node=node)]
    return [known, *(keys or [_all_keys(subject)])]


def _all_keys(subject: Subject) -> CheckResult:
    found = f"each of {len(subject.sample)} keys is accepted"
    if subject.missing:
        found += f"; not tried: {', '.join(subject.missing)}, as this user cannot see the daemon"
    return CheckResult(check="keys", result="ok", found=found)


def _check_host(uplink: Uplink, subject: Subject) -> list[CheckResult]:
    """Return why all values of a host are rejected. Raises DeliveryError."""
    request = {"request": "active checks", "host": subject.host}
    if subject.metadata:
        request["host_metadata"] = subject.metadata
    answer = uplink.ask(request)
    rejected = f"all {len(subject.sample)} values are rejected"
    if answer.get("response") == "success":
        keys = CheckResult(
            check="keys",
            result="fail",
            found=f"{rejected}, though the host is there: probably the template is not linked to it",
            advice=f"{advice.LINK} {advice.ITEMS}",
            keys=tuple(item.key for item in subject.sample),
        )
        return [CheckResult(check="host", result="ok", found=f"{subject.host!r} is known and enabled"), keys]
    said = _said(answer)
    reason = said.replace(f"[{subject.host}]", "").replace(f'"{subject.host}"', "")  # which may be called "certificate"
    text = next((text for words, text in _ADVICE.items() if words in reason), "Look at the host in Zabbix.")
    skipped = CheckResult(check="keys", result="skip", found="host failed")
    return [CheckResult(check="host", result="fail", found=f"{rejected}: {said}", advice=text), skipped]


def _said(answer: dict[str, Any]) -> str:
    return str(answer.get("info") or answer)[:_MAX_QUOTE]


def _check_keys(uplink: Uplink, sample: Sequence[Item]) -> list[CheckResult]:
    """Return which keys are rejected, by sending them one by one, those of a port together. Raises DeliveryError."""
    if not sample:
        return [
            CheckResult(check="keys", result="fail", found="some are rejected; there is no second sample to see which")
        ]
    untried, rejected = len(all_parts := parts(sample)), list[Part]()
    until = time.monotonic() + _PROBE_S
    for part in probe(all_parts, uplink.send):
        untried -= 1
        rejected += [part] if part.rejected else []
        if time.monotonic() >= until:
            break
    results = _rejected(rejected, len(all_parts))
    if untried:
        found = f"{untried} of {len(all_parts)} keys and ports, as the answers come slowly"
        results.append(CheckResult(check="keys", result="skip", found=found))
    return results


def _rejected(rejected: Sequence[Part], count: int) -> list[CheckResult]:
    """Return a result for keys of the host, one for ports some of whose values are rejected, one for ports without items."""
    keys = tuple(str(part) for part in rejected if not part.port)
    some = [part for part in rejected if part.port and not part.lacks_items]
    gone = [part.port for part in rejected if part.lacks_items]
    results = []
    if keys:
        found = f"{len(keys)} of {count} keys are rejected: {some_of(keys)}"
        results.append(CheckResult(check="keys", result="fail", found=found, advice=advice.ITEMS, keys=keys))
    if some:
        found = f"rejected: {some_of(some)}"
        results.append(CheckResult(check="keys", result="fail", found=found, advice=advice.PORTS))
    if gone:
        found = f"there are no items of {named(gone)} yet"
        results.append(CheckResult(check="keys", result="warn", found=found, advice=_NEW_PORTS))
    return results
