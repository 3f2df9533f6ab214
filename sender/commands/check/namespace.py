"""What `check` finds about network namespaces: a sample has the sockets of one, and somebody may mean another."""

from __future__ import annotations

from sender.commands.check.report import CheckResult
from sender.kernel.namespaces import container, is_elsewhere, is_first, mounted, stranger, to_have_the_hosts

_CHECK = "namespace"


def check_namespace(daemon: int | None) -> list[CheckResult]:
    """Return what is worth knowing: nothing where there is one network namespace. `daemon` is its process, if one runs."""
    results = [*_this_one()]
    if daemon and is_elsewhere(daemon):
        found = f"the daemon (process {daemon}) is in another network namespace than this check, and counts that one's sockets"
        results.append(CheckResult(check=_CHECK, result="warn", found=found, advice=to_have_the_hosts("")))
    others = mounted()
    if others and not results:
        names = "1 other network namespace" if others == 1 else f"{others} other network namespaces"
        found = f"{names}, of containers for example: their sockets are not counted here"
        results.append(CheckResult(check=_CHECK, result="ok", found=found))
    return results


def _this_one() -> list[CheckResult]:
    if is_first() is not False:
        return []
    kind = stranger()
    if kind is None:
        found = f"that of this container ({container()[0]}): sockets of its host and of other containers are not counted here"
        return [CheckResult(check=_CHECK, result="ok", found=found)]
    where = f", but that of a container ({kind})" if kind else ""
    found = f"this network namespace is not the host's{where}: the host's sockets are not counted"
    return [CheckResult(check=_CHECK, result="warn", found=found, advice=to_have_the_hosts(kind))]
