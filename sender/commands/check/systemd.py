"""What this host's systemd can do for the installed unit: start it at all, and hand it keys. Asks it for its version alone."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sender.commands.check.report import CheckResult
from sender.commands.check.unit import EDIT

if TYPE_CHECKING:
    from sender.commands.check.unit import Unit

_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")  # namespaces(7), if the kernel has user ones
_FIRST_WITH_CREDENTIALS = 247  # systemd.exec(5), LoadCredential=


def check_start(unit: Unit | None) -> list[CheckResult]:
    """Return the failure of a unit with PrivateUsers= where the host allows no user namespace; otherwise nothing."""
    if not unit or not unit.private_users or not _NAMESPACES.exists() or _NAMESPACES.read_text().strip() != "0":
        return []
    found = f"the unit does not start: it has PrivateUsers=, and {_NAMESPACES} is 0, so systemd fails with 217/USER"
    return [CheckResult(check="unit", result="fail", found=found, advice=f"Set `PrivateUsers=no` with `{EDIT}`.")]


@cache
def hands_over() -> bool:
    """Return whether systemd knows LoadCredential=, which an older one leaves out; True where nobody says its version."""
    said = ""
    with suppress(OSError):
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"systemd (\d+)", said)
    return not version or int(version[1]) >= _FIRST_WITH_CREDENTIALS
