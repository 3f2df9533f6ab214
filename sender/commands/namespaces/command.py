"""From the command line to the helper at work: where it listens, and whom it serves."""

from __future__ import annotations

import logging
import os
import pwd
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sender.commands.namespaces import listening
from sender.commands.namespaces.container_names import ContainerNames
from sender.commands.namespaces.finder import Finder
from sender.commands.namespaces.helper import Helper

if TYPE_CHECKING:
    import argparse

_LOG = logging.getLogger(__name__)

DYNAMIC_USERS = Path("/run/systemd/dynamic-uid")


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped. Raises SenderError, and OSError of the path."""
    logging.getLogger().setLevel(logging.INFO)
    finder = Finder(ContainerNames())  # first: who may not look leaves no socket behind
    with listening.own(arguments.listen) if arguments.listen else listening.given(os.environ) as place:
        may_have = partial(_may_have, arguments.user)
        with closing(Helper(place, may_have=may_have, find=finder.find)) as helper:
            _LOG.info("network namespaces can be had by user %s", arguments.user)
            helper.serve()


def _may_have(user: str, peer: int) -> bool:
    return peer == 0 or peer == id_of(user)


def id_of(user: str) -> int | None:
    """Return a user's id, by name or as the number itself; None for a name that nobody has now.

    The user of DynamicUser= has none while its service does not run; that of a container has none on the host.
    """
    with suppress(KeyError):
        return pwd.getpwnam(user).pw_uid
    # Where libnss-systemd is not installed, systemd alone knows its users. It keeps these links for itself, too.
    with suppress(OSError, ValueError):
        return int(os.readlink(DYNAMIC_USERS / f"direct:{user}"))  # noqa: PTH115  it leads to no file
    return int(user) if user.isascii() and user.isdigit() else None
