"""The values that travel through the house: frozen, and without behaviour that could fail. Imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class TcpState(IntEnum):
    """The kernel's numbers (TCP_ESTABLISHED and so on, include/net/tcp_states.h) under netstat's names."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The host's TCP sockets at one moment.

    `clock` (s since 1970) and `ns` (1 to 999,999,999) are the moment at which the dump began; `duration_s` is how long
    the dump took; `states` holds every state, those without sockets as 0.
    """

    clock: int
    ns: int
    duration_s: float
    states: Mapping[TcpState, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The daemon about itself: values waiting at the worst destination, lost to limits, and refused by Zabbix."""

    uptime_s: int = 0
    backlog: int = 0
    dropped: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One value as Zabbix takes it: technical host name, item key, value as text, and the moment of its sample."""

    host: str
    key: str
    value: str
    clock: int
    ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a chunk at one destination, in values: accepted and rejected are settled, kept must be sent again."""

    accepted: int = 0
    rejected: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive samples of one host, oldest first, to be sent in one request; `last` names the newest to the spool."""

    items: tuple[Item, ...]
    last: int
