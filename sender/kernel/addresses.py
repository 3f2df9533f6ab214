"""IP addresses as a socket's message has them: 16 bytes, of which IPv4 uses four. One in IPv4's and in IPv6's form is the same."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, ntohs

_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in IPv6's form: RFC 4291, 2.5.5.2
_LOOPBACK_6 = bytes(15) + b"\x01"


def plain(family: int, packed: bytes) -> tuple[int, bytes]:
    """Return family and bytes of an address, in IPv4's form where it can have that."""
    is_mapped = family == AF_INET6 and packed.startswith(_MAPPED)
    return (AF_INET, packed[12:] + bytes(12)) if is_mapped else (family, packed)


def is_loopback(family: int, packed: bytes) -> bool:
    """Return whether nobody else reaches the address."""
    family, packed = plain(family, packed)
    return packed[0] == 127 if family == AF_INET else packed == _LOOPBACK_6  # noqa: PLR2004  127.0.0.0/8


def text(family: int, packed: bytes) -> str:
    """Return the address as people write it."""
    family, packed = plain(family, packed)
    return inet_ntop(family, packed[:4] if family == AF_INET else packed)


def with_port(family: int, packed: bytes, port: int) -> str:
    """Return address and port as people write them; `port` as it stands in a message."""
    address = text(family, packed)
    return f"[{address}]:{ntohs(port)}" if ":" in address else f"{address}:{ntohs(port)}"
