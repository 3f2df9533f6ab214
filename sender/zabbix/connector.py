"""One node: its addresses, a connection to it, TLS, one packet there and one back. Knows no other node and no redirect."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Any

from sender.errors import DeliveryError, Step
from sender.zabbix.protocol import from_packet, missing
from sender.zabbix.tls import TlsConnector

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.settings.schema import Destination
    from sender.zabbix.redirects import Route

_RIGHT_PORT = "Is the port right? A Zabbix server or proxy listens on 10051, an agent on 10050."
_ADVICE = {
    **dict.fromkeys(
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EINVAL),  # EINVAL: a blackhole route
        "Check this host's routes (`ip route get`) and firewall.",
    ),
    errno.EMFILE: "Raise LimitNOFILE= of the unit.",
    errno.ENFILE: "Raise fs.file-max.",
}
_MAX_BEGIN = 60  # bytes of what is no answer in an error
_MAX_ADDRESSES = 8  # of one name that are tried


class Connector:
    """Connects to a node as `destination` says: how long, from which address, encrypted or not; and asks it.

    `watch` is told each step that was done and what was found in it: Step.NAME and the addresses, Step.CONNECTION and the
    address that took it, Step.TLS.
    """

    def __init__(self, destination: Destination, watch: Callable[[Step, str], None]) -> None:
        self._destination = destination
        self._watch = watch
        self._tls = TlsConnector(destination.tls, destination.name)

    def prepare(self) -> None:
        """Read the key files. Raises DeliveryError where they cannot be used, of which no node is guilty."""
        self._tls.prepare()
        self._watch(Step.KEY_FILES, "can be used")

    def connect(self, route: Route) -> socket.socket:
        """Return a connection to one of the node's addresses. Raises DeliveryError.

        They share the time: one that does not answer leaves some to those after it.
        """
        addresses = self._addresses(route)
        end_s, failures = time.monotonic() + self._destination.timeout, set()
        for number, (family, _, _, _, address) in enumerate(addresses):
            left_s = max(end_s - time.monotonic(), 0.1)
            try:
                connection = self._open(family, address, left_s / (len(addresses) - number))
            except OSError as error:
                failures.add(self._why_not_connected(error))
            else:
                self._watch(Step.CONNECTION, address[0])
                return connection
        found = ", and ".join(sorted(found for found, _ in failures))
        advice = " ".join(sorted({advice for _, advice in failures if advice}))
        raise DeliveryError(found, advice=advice, step=Step.CONNECTION, node=str(route))

    def ask(self, connection: socket.socket, route: Route, packet: bytes) -> dict[str, Any]:
        """Return the answer to `packet`, after a TLS handshake where there is to be one. Raises DeliveryError."""
        timeout_s, seen = self._destination.timeout, bytearray()
        end_s = time.monotonic() + timeout_s
        try:
            connection = self._tls.wrap(connection, timeout_s)
        except DeliveryError as error:
            raise DeliveryError(error.found, advice=error.advice, step=Step.TLS, node=str(route)) from error
        self._watch(Step.TLS, f"a handshake with connect: {self._destination.tls.connect}")
        with connection:
            try:
                return _exchange(connection, packet, end_s, seen)
            except (OSError, ValueError) as error:
                found, advice = self._tls.why_no_answer(error) or _why_no_answer(error, bytes(seen), timeout_s)
                raise DeliveryError(found, advice=advice, step=Step.PROTOCOL, node=str(route)) from error

    def _addresses(self, route: Route) -> list[Any]:
        """Return what getaddrinfo gives, as far as `source_ip` can reach it. Raises DeliveryError where that is nothing."""
        try:
            found = socket.getaddrinfo(route.node.address, route.node.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = f"the name cannot be resolved ({getattr(error, 'strerror', None) or error})"
            raise DeliveryError(why, advice="Check `nodes` and DNS.", step=Step.NAME, node=str(route)) from error
        if source_ip := self._destination.source_ip:
            found = [entry for entry in found if (entry[0] == socket.AF_INET6) == (":" in source_ip)]
        if not found:
            why = f"it has no address of the IP version of source_ip {source_ip}"
            raise DeliveryError(why, advice="Check `nodes` and `source_ip`.", step=Step.NAME, node=str(route))
        found = found[:_MAX_ADDRESSES]
        self._watch(Step.NAME, ", ".join(str(address[0]) for *_, address in found))
        return found

    def _open(self, family: int, address: Any, timeout_s: float) -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            if self._destination.source_ip:
                connection.bind((self._destination.source_ip, 0))
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection

    def _why_not_connected(self, error: OSError) -> tuple[str, str]:
        """Return what is so, in an admin's words, and what to do."""
        source_ip = self._destination.source_ip
        match error:
            case ConnectionRefusedError():
                return "connection refused", "Is a Zabbix server or proxy listening there?"
            case TimeoutError():
                return f"no connection within {self._destination.timeout} s", "Is a firewall in between?"
            case OSError(errno=errno.EADDRNOTAVAIL) if source_ip:
                found = f"source_ip {source_ip} is not an address of this host"
                return found, "Correct `source_ip`, or leave it out."
            case OSError(errno=errno.EADDRNOTAVAIL | errno.EADDRINUSE):
                found = "this host has no address or port left to connect from"
                return found, "Check net.ipv4.ip_local_port_range."
            case _:
                return f"no connection: {error.strerror or error}", _ADVICE.get(error.errno or 0, "")


def _exchange(connection: socket.socket, packet: bytes, end_s: float, seen: bytearray) -> dict[str, Any]:
    """Send `packet`, read the answer into `seen`, both until `end_s`; return it. Raises OSError and ValueError."""
    unsent = memoryview(packet)
    while unsent:  # sendall would give an encrypted connection the whole time for every 16 KiB
        _limit(connection, end_s)
        unsent = unsent[connection.send(unsent) :]
    while size := missing(seen):
        _limit(connection, end_s)
        data = connection.recv(size)
        if not data:
            raise ConnectionResetError
        seen += data
    return from_packet(bytes(seen))


def _limit(connection: socket.socket, end_s: float) -> None:
    """Let what is asked of `connection` next end at `end_s`. Raises TimeoutError where that is over."""
    if (left_s := end_s - time.monotonic()) <= 0:
        raise TimeoutError
    connection.settimeout(left_s)


def _why_no_answer(error: OSError | ValueError, seen: bytes, timeout_s: float) -> tuple[str, str]:
    """Return what is so, in an admin's words, and what to do."""
    match error:
        case TimeoutError():
            return f"connected, but no whole answer within {timeout_s} s", "Is it overloaded?"
        case ConnectionResetError() | BrokenPipeError() if not seen:  # or simply an end; which of them is chance
            return "it closed the connection without an answer", _RIGHT_PORT
        case OSError() if not isinstance(error, ConnectionResetError):
            return f"the connection broke before the answer ({error.strerror or error})", ""
        case _:
            begin = seen.removeprefix(b"ZBXD\x01")[:_MAX_BEGIN]
            return f"its answer is not that of a Zabbix trapper: {begin!r}", _RIGHT_PORT
