"""Whether this host lets systemd start the installed unit at all. Starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sender.commands.check.report import CheckResult
from sender.commands.check.unit import EDIT

if TYPE_CHECKING:
    from sender.commands.check.unit import Unit

_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")  # namespaces(7), if the kernel has user ones


def check_start(unit: Unit | None) -> list[CheckResult]:
    """Return the failure of a unit with PrivateUsers= where the host allows no user namespace; otherwise nothing."""
    if not unit or not unit.private_users or not _NAMESPACES.exists() or _NAMESPACES.read_text().strip() != "0":
        return []
    found = f"the unit does not start: it has PrivateUsers=, and {_NAMESPACES} is 0, so systemd fails with 217/USER"
    return [CheckResult(check="unit", result="fail", found=found, advice=f"Set `PrivateUsers=no` with `{EDIT}`.")]
