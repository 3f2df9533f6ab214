"""What the daemon says at its start of where it runs: in a container that hides the host's sockets, or their owners."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sender.kernel.cgroups import to_know_them, why_unknown
from sender.kernel.namespaces import stranger, to_have_the_hosts

if TYPE_CHECKING:
    from sender.settings.schema import Settings

_LOG = logging.getLogger(__name__)


def warn(settings: Settings) -> None:
    """Log what a sample will lack here though somebody may expect it, and what to set."""
    kind = stranger()
    if kind is not None:
        where = f", but that of a container ({kind})" if kind else ""
        advice = to_have_the_hosts(kind)
        _LOG.warning(
            "this network namespace is not the host's%s: the host's sockets are not counted. %s", where, advice
        )
    elif settings.services.report and (advice := to_know_them()):
        _LOG.warning("the owners of sockets are unknown, and units are not reported: %s. %s", why_unknown(), advice)
