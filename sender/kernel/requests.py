"""What the kernel is asked: the requests of sock_diag, encoded once by pyroute2. Opens no socket."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from socket import AF_INET, AF_INET6, IPPROTO_TCP
from typing import TypeAlias

from sender.kernel.netlink import NLM_F_DUMP, NLM_F_REQUEST, nlmsg
from sender.model import TcpState

TCPDIAG_GETSOCK = 18  # include/uapi/linux/inet_diag.h
SOCK_DIAG_BY_FAMILY = 20  # include/uapi/linux/sock_diag.h
ALL_STATES = 0x1FFE  # bits 1 to 12, include/net/tcp_states.h: up to TCP_NEW_SYN_RECV
BOUND_INACTIVE = 1 << 13  # TCP_BOUND_INACTIVE, since Linux 6.8: never with the others, see sender/kernel/bound.py
IPPROTO_MPTCP = 262  # include/uapi/linux/in.h
SKMEMINFO_BIT = 1 << 6  # of idiag_ext: INET_DIAG_SKMEMINFO is 7, include/uapi/linux/inet_diag.h
LISTEN_ONLY = 1 << TcpState.LISTEN

_ANY = bytes(48)  # struct inet_diag_sockid: whatever addresses and ports
# INET_DIAG_REQ_PROTOCOL, since Linux 5.9: for a protocol above the 255 that `sdiag_protocol` has room for.
_REQ_PROTOCOL = 3


class _TcpDiagReq(nlmsg):
    """`struct inet_diag_req` of linux/inet_diag.h, the older request; its dump covers IPv4 and IPv6 in one walk."""

    fields = (
        ("idiag_family", "B"),
        ("idiag_src_len", "B"),
        ("idiag_dst_len", "B"),
        ("idiag_ext", "B"),
        ("id", "48s"),  # struct inet_diag_sockid
        ("idiag_states", "I"),
        ("idiag_dbs", "I"),
    )


class _InetDiagReq(nlmsg):
    """`struct inet_diag_req_v2` of linux/inet_diag.h, of one address family; pyroute2's own comes with its sockets."""

    fields = (
        ("sdiag_family", "B"),
        ("sdiag_protocol", "B"),
        ("idiag_ext", "B"),
        ("__pad", "B"),
        ("idiag_states", "I"),
        ("id", "48s"),  # struct inet_diag_sockid
    )


def one_walk(states: int = ALL_STATES, extension: int = 0) -> bytes:
    """Return a request for every TCP socket, IPv4 and IPv6, in these states, a bit for each, with these attributes."""
    return _encoded(_TcpDiagReq(), TCPDIAG_GETSOCK, states, extension)


def by_family(family: int, protocol: int = IPPROTO_TCP, states: int = ALL_STATES, extension: int = 0) -> bytes:
    """Return a request for every socket of one address family (AF_INET, AF_INET6) in these states, a bit for each."""
    request = _InetDiagReq()
    request["sdiag_family"] = family
    is_large = protocol > 255  # noqa: PLR2004
    request["sdiag_protocol"] = 0 if is_large else protocol
    attribute = struct.pack("=HHI", 8, _REQ_PROTOCOL, protocol) if is_large else b""
    return _encoded(request, SOCK_DIAG_BY_FAMILY, states, extension) + attribute


def _ways(states: int, extension: int = 0) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    families = tuple(by_family(family, states=states, extension=extension) for family in (AF_INET, AF_INET6))
    return (one_walk(states, extension),), families


def _encoded(request: nlmsg, kind: int, states: int, extension: int) -> bytes:
    request["id"] = _ANY
    request["idiag_ext"] = extension
    request["idiag_states"] = states
    request["header"]["type"] = kind
    request["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
    request.encode()
    return bytes(request.data)


# The listening sockets of both families ahead of all others, as in the one walk: they say which ports to count.
_FAMILIES = [
    by_family(family, states=states)
    for states in (LISTEN_ONLY, ALL_STATES & ~LISTEN_ONLY)
    for family in (AF_INET, AF_INET6)
]
Ways: TypeAlias = Sequence[Iterable[bytes]]
WAYS = ((one_walk(),), tuple(_FAMILIES))
"""The ways to ask, best first. Each is a series of requests whose answers are added up."""
BOUND_WAYS = _ways(BOUND_INACTIVE)
"""The same for the sockets in CLOSE alone."""
LISTENER_WAYS = _ways(LISTEN_ONLY, SKMEMINFO_BIT)
"""The same for the listening ones alone, with their memory."""
MPTCP = tuple(by_family(family, IPPROTO_MPTCP) for family in (AF_INET, AF_INET6))
