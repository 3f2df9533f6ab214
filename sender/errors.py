"""The exception tree. Each message is one sentence or two for the person who must act.

SenderError
├── ConfigError      the configuration cannot be used; carries every problem at once
├── KernelError      the kernel did not give a whole answer about its sockets
│   ├── RefusedError it said no, with an errno: another way of asking may be taken
│   └── TornError    the answer came in pieces that do not fit together: worth asking again
├── ApiError         the Zabbix API cannot be used as it must be: nothing more can be done over it
│   └── ApiRejectedError it said no to one request, with a reason: others may be granted
├── DeliveryError    one destination did not take one request: worth trying again later
└── SpoolError       the spool cannot be written or read now: worth trying again later
    ├── FullError    the disk has no room for it
    ├── BusyError    another process has locked it for a moment
    ├── DeniedError  its place cannot be written: no right, or read-only
    ├── DamagedError its content is void: nothing but a new file helps
    └── TakenError   the file belongs to somebody else, who must be left alone
"""

from __future__ import annotations

from copy import copy
from enum import Enum
from typing import TYPE_CHECKING

from sender.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Step(Enum):
    """A step on the way to an answer of a destination, in their order."""

    KEY_FILES = "key files"
    NAME = "name"
    CONNECTION = "connection"
    TLS = "TLS"
    PROTOCOL = "protocol"


class SenderError(Exception):
    """What this program expects to go wrong.

    `found` says what is so, `advice` what to do about it, in whole sentences ("" where nothing is known). `str()` is
    what the user reads: both.
    """

    def __init__(self, found: str, *, advice: str = "") -> None:
        self.found, self.advice = printable(found), printable(advice)
        super().__init__(f"{self.found}. {self.advice}" if advice else self.found)


class ConfigError(SenderError):
    """Unusable configuration. `problems` are complete lines: `FILE: path.to.key: what is wrong, and what is expected`."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(printable, problems))
        super().__init__("; ".join(self.problems))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class KernelError(SenderError):
    """The kernel refused to dump its TCP sockets, or did not finish. Never to be shown as a row of zeros."""


class RefusedError(KernelError):
    """The kernel answered with an errno."""


class TornError(KernelError):
    """A dump that was interrupted, cut short or mixed with something else; its counts are void."""


class ApiError(SenderError):
    """Zabbix's API does not answer as such, or lacks what is needed."""


class ApiRejectedError(ApiError):
    """The API rejected one request."""


class DeliveryError(SenderError):
    """A destination did not answer a request properly; none of its values may be taken as accepted.

    `step` is where it failed, `node` who did: "" where no node is to blame, a key file say, or where several are.
    """

    def __init__(self, found: str, *, advice: str = "", step: Step = Step.PROTOCOL, node: str = "") -> None:
        super().__init__(found, advice=advice)
        self.step, self.node = step, printable(node)

    def __str__(self) -> str:
        return f"{self.node}: {super().__str__()}" if self.node else super().__str__()

    @classmethod
    def joined(cls, failures: Sequence[DeliveryError]) -> DeliveryError:
        """Return one error for the failures of several nodes: what each did, and each advice once."""
        if len(failures) == 1:
            return copy(failures[0])  # raised, the one that is kept would keep all that was to be sent
        found = "; ".join(f"{each.node}: {each.found}" for each in failures)
        advice = " ".join(dict.fromkeys(each.advice for each in failures if each.advice))
        return cls(found, advice=advice, step=failures[-1].step)


class SpoolError(SenderError):
    """The spool's file cannot be opened, written or read now: a full disk, a read-only one, no permission."""


class FullError(SpoolError):
    """The disk under the spool's file is full."""


class BusyError(SpoolError):
    """Another process holds SQLite's lock on the spool's file."""


class DeniedError(SpoolError):
    """The spool's file, or its directory, cannot be opened or written by this process."""


class DamagedError(SpoolError):
    """What is in the spool's file makes no sense, whole or in part."""


class TakenError(SpoolError):
    """Another daemon uses the spool's file, or it is a database of another program."""
