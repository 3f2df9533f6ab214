"""One destination: one chunk, one request, one Outcome; knows nodes, addresses, redirects and what can go wrong there.

Of zabbix_utils nothing is used here, and in protocol.py next to nothing. Its Sender has a time limit that starts again
with every byte that drips in; it needs to know IPv6 beforehand; it runs in a circle of redirects and stays for good where
one led; it hides what was accepted before an error; and most errors come out of it as they are. Here whatever goes wrong
becomes a DeliveryError.
"""

from __future__ import annotations

import errno
import logging
import re
import reprlib
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sender.errors import DeliveryError
from sender.items import to_request
from sender.model import Outcome
from sender.settings.values import Node
from sender.zabbix.protocol import from_packet, missing, to_packet
from sender.zabbix.tls import TlsConnector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.model import Item
    from sender.settings.schema import Destination

_LOG = logging.getLogger(__name__)
_PORTS = "is the port right? 10051 is a server's or a proxy's, 10050 an agent's"
_ROUTES = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EINVAL}  # EINVAL: a blackhole route
_MAX_QUOTE = 200  # characters of an answer in an error
_MAX_REDIRECT = 255  # characters of an address, which costs time; ZBX_REDIRECT_ADDRESS_LEN, include/zbxcomms.h
_MAX_ADDRESSES = 8  # of one name that are tried


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to ask: a configured node or, by redirect from that one, another proxy of its group (Zabbix 7)."""

    node: Node
    redirected_by: Node | None = None
    revision: int = 0

    def __str__(self) -> str:
        return f"{self.node} (by redirect from {self.redirected_by})" if self.redirected_by else str(self.node)


class Uplink:
    """Sends to where a redirect led last, else to the last good node of `destination`, or the next that connects.

    `watch` is told each step on the way to an answer when it is done, and what was found: "key files", "name" and the
    addresses, "connection" and the one that took it, "TLS", whether or not these are of use.
    """

    def __init__(self, destination: Destination, watch: Callable[[str, str], None] = lambda _, __: None) -> None:
        self._destination = destination
        self._watch = watch
        self._encryption = TlsConnector(destination.tls, destination.name)
        self._number = 0  # of the configured node that was asked last, or is to be asked first
        self._failures: dict[int, str] = {}  # of the configured nodes, since values were taken last
        self._redirect: _Target | None = None
        self._logged: Node | None = None  # where the redirect that was logged last led

    def send(self, items: Sequence[Item]) -> Outcome:
        """Ask the destination to take `items`, which must be of one host; what it says became of them.

        Raises DeliveryError when there is no such answer; none of the items may then be taken as accepted.

        It takes at most one timeout for each connection that is tried (each configured node once and, where there are
        redirects, two more) and one for each answer, TLS handshake included, of which there are at most three. On top of
        that comes what has no bound here: where a node is a name, getaddrinfo waits for DNS as long as resolv.conf says.
        """
        with self._remembering():
            target, answer = self._follow(to_request(items))
            outcome = _outcome(target, answer, sent=len(items))
        self._log_redirect()
        return outcome

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to any other request, success or not. Raises DeliveryError when there is none; takes as long."""
        with self._remembering():
            return self._follow(request)[1]

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Which nodes fail, until one does not. Raises DeliveryError with what all of them said."""
        self._encryption.prepare()  # of what is wrong with a key file no node is to be blamed
        self._watch("key files", "can be used")
        try:
            yield
        except DeliveryError as error:
            self._redirect = None
            self._failures[self._number] = str(error)
            self._number = (self._number + 1) % len(self._destination.nodes)  # a mute one shall not hide the others
            # Those of all nodes, though not all were asked this time: one trouble has one text, whoever has the turn.
            raise DeliveryError("; ".join(text for _, text in sorted(self._failures.items()))) from error
        self._failures.clear()

    def _log_redirect(self) -> None:
        node = self._redirect.node if self._redirect else None
        if node != self._logged:
            self._logged = node
            where = self._redirect or f"{self._destination.nodes[self._number]} again, without a redirect"
            _LOG.info("%s takes values at %s", self._destination.name, where)

    def _follow(self, request: dict[str, Any]) -> tuple[_Target, dict[str, Any]]:
        """Follow one reset and one redirect, in this order: the way home and out again. More would be a circle."""
        packet = to_packet(request, compression=self._destination.compression)
        target, answer = self._ask(packet)
        if self._redirect and _redirect(answer).get("reset") is True:
            self._redirect = None
            target, answer = self._ask(packet)
        if "address" in _redirect(answer):
            self._redirect = self._redirected(target, _redirect(answer))
            target, answer = self._ask(packet)
        match _redirect(answer):
            case {"address": address}:
                raise DeliveryError(f"{target} redirects on to {reprlib.repr(address)}: in a circle, or not agreed yet")
            case {"reset": True}:
                raise DeliveryError(
                    f"{target} wants another node to be asked: a proxy that has lost its server, probably"
                )
        return target, answer

    def _redirected(self, target: _Target, redirect: dict[str, Any]) -> _Target:
        try:
            node, revision = _where_to(redirect)
        except ValueError as error:
            where = reprlib.repr(redirect["address"])
            raise DeliveryError(f"{target} redirects to {where}, which cannot be followed: {error}") from error
        if self._redirect and revision < self._redirect.revision:
            raise DeliveryError(f"{target} redirects to {node}, but by an older revision than the one that led here")
        return _Target(node, self._destination.nodes[self._number], revision)

    def _ask(self, packet: bytes) -> tuple[_Target, dict[str, Any]]:
        """What is said where we were redirected, else at the first configured node that takes a connection."""
        target, connection = self._connected()
        timeout_s = self._destination.timeout
        end_s = time.monotonic() + timeout_s
        try:
            connection = self._encryption.wrap(connection, timeout_s)
        except DeliveryError as error:
            raise DeliveryError(f"{target}: {error}") from error
        self._watch("TLS", f"a handshake with connect: {self._destination.tls.connect}")
        seen = bytearray()
        with connection:
            try:
                return target, _answer(connection, packet, end_s, seen)
            except (OSError, ValueError) as error:
                why = self._encryption.why_no_answer(error) or _why_no_answer(error, bytes(seen), timeout_s)
                raise DeliveryError(f"{target}{why}") from error

    def _connected(self) -> tuple[_Target, socket.socket]:
        if self._redirect:
            return self._redirect, self._connect(self._redirect)
        nodes = self._destination.nodes
        for self._number in [(self._number + step) % len(nodes) for step in range(len(nodes))]:
            target = _Target(nodes[self._number])
            try:
                return target, self._connect(target)
            except DeliveryError as error:
                self._failures[self._number] = str(error)
        raise DeliveryError(self._failures[self._number])

    def _connect(self, target: _Target) -> socket.socket:
        """To one of its addresses. They share the time: one that says nothing leaves some to those after it."""
        found = self._addresses(target)
        end_s, failures = time.monotonic() + self._destination.timeout, set()
        for number, (family, _, _, _, address) in enumerate(found):
            left_s = max(end_s - time.monotonic(), 0.1)
            try:
                connection = self._open(family, address, left_s / (len(found) - number))
            except OSError as error:
                failures.add(self._why_not_connected(error))
            else:
                self._watch("connection", address[0])
                return connection
        raise DeliveryError(f"{target}: {', and '.join(sorted(failures))}")

    def _addresses(self, target: _Target) -> list[Any]:
        """As getaddrinfo gives them, those that `source_ip` can reach. Raises DeliveryError where there is none."""
        try:
            found = socket.getaddrinfo(target.node.address, target.node.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise DeliveryError(f"{target}: the name cannot be resolved ({why}); look at `nodes` and at DNS") from error
        if source_ip := self._destination.source_ip:
            found = [entry for entry in found if (entry[0] == socket.AF_INET6) == (":" in source_ip)]
        if not found:
            raise DeliveryError(f"{target}: it has no address of the IP version of source_ip {source_ip}")
        found = found[:_MAX_ADDRESSES]
        self._watch("name", ", ".join(str(address[0]) for *_, address in found))
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

    def _why_not_connected(self, error: OSError) -> str:
        """In an admin's words, with what to look at."""
        source_ip = self._destination.source_ip
        match error:
            case ConnectionRefusedError():
                return "connection refused; is zabbix_server (or the proxy) running there, and is this its ListenPort?"
            case TimeoutError():
                return f"no connection within {self._destination.timeout} s; is a firewall in between?"
            case OSError(errno=errno.EADDRNOTAVAIL) if source_ip:
                return f"source_ip {source_ip} is not an address of this host"
            case OSError(errno=errno.EADDRNOTAVAIL | errno.EADDRINUSE):
                return "this host has no address or port left to connect from; look at net.ipv4.ip_local_port_range"
            case OSError(errno=code) if code in _ROUTES:
                return f"no connection: {error.strerror}; look at this host's routes (`ip route get`) and firewall"
            case _:
                return f"no connection: {error.strerror or error}"


def _answer(connection: socket.socket, packet: bytes, end_s: float, seen: bytearray) -> dict[str, Any]:
    """Send `packet` and read the answer into `seen`, both until `end_s`. Raises OSError and ValueError."""
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
    """What is asked of `connection` next ends at `end_s`. Raises TimeoutError where that is over."""
    if (left_s := end_s - time.monotonic()) <= 0:
        raise TimeoutError
    connection.settimeout(left_s)


def _why_no_answer(error: OSError | ValueError, seen: bytes, timeout_s: float) -> str:
    match error:
        case TimeoutError():
            return f": connected, but no whole answer within {timeout_s} s; is it overloaded?"
        case ConnectionResetError() | BrokenPipeError() if not seen:  # or simply an end; which of them is chance
            return f" closed the connection without an answer; {_PORTS}"
        case OSError() if not isinstance(error, ConnectionResetError):
            return f": the connection broke before the answer ({error.strerror or error})"
        case _:
            begin = seen.removeprefix(b"ZBXD\x01")[:60]
            return f" does not answer like a Zabbix trapper, but {begin!r}; {_PORTS}"


def _redirect(answer: dict[str, Any]) -> dict[str, Any]:
    """Empty where there is none."""
    redirect = answer.get("redirect") if answer.get("response") == "failed" else None
    return redirect if isinstance(redirect, dict) else {}


def _where_to(redirect: dict[str, Any]) -> tuple[Node, int]:
    """Node and revision. Raises ValueError."""
    address, revision = redirect["address"], redirect.get("revision")
    if not isinstance(revision, int):
        raise ValueError("it has no revision")  # noqa: TRY004  a caller's mistake it is not
    if not isinstance(address, str) or len(address) > _MAX_REDIRECT:
        raise ValueError("expected a name or an address")
    return Node.parse(address), revision


def _outcome(target: _Target, answer: dict[str, Any], *, sent: int) -> Outcome:
    """What the counts in `answer` say. Raises DeliveryError when there are none."""
    info = answer.get("info")
    said = info[:_MAX_QUOTE] if isinstance(info, str) else reprlib.repr(answer)
    if answer.get("response") != "success":
        raise DeliveryError(f"{target} did not take the values: {said}")
    counts = re.match(r"processed: ([0-9]{1,9}); failed: [0-9]{1,9}; total: [0-9]", said)
    if not counts:
        raise DeliveryError(f"{target} answered without saying what it took: {said}")
    accepted = int(counts[1])
    if accepted > sent:
        raise DeliveryError(f"{target} answered for more values than were sent")
    # A value that Zabbix cannot even read is not counted as failed: it shows only in what is missing from the sum.
    return Outcome(accepted=accepted, rejected=sent - accepted)
