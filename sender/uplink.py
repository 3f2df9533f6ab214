"""One destination: one chunk, one request, one Outcome. The only importer of zabbix_utils' sender side.

Of zabbix_utils this uses ZabbixProtocol (packets) and TrapperResponse (the answer's counts), not the whole Sender:
Sender's time limit starts again with every byte that drips in, IPv6 needs to be known beforehand, an announced 2 GB is
believed, and it stays with a node that it was once redirected to. So the connection is ours, and what is read from it
passes through `_Answer`, which keeps one deadline and one size limit. Whatever goes wrong becomes a DeliveryError.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import time
import zlib
from typing import TYPE_CHECKING, Any

from zabbix_utils.common import ZabbixProtocol
from zabbix_utils.exceptions import ProcessingError
from zabbix_utils.types import TrapperResponse

from sender.errors import DeliveryError
from sender.items import to_request
from sender.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config import Destination, Node
    from sender.model import Item

_LIBRARY_LOG = logging.getLogger("zabbix_utils")
_PORTS = "is the port right? 10051 is a server's or a proxy's, 10050 an agent's"
_MAX_ANSWER = 65536  # bytes; a trapper's answer has about 100


class Uplink:
    """Sends to the first node of `destination` that takes a connection."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def send(self, items: Sequence[Item]) -> Outcome:
        """Ask the destination to take `items`, which must be of one host; what it says became of them.

        Raises DeliveryError when there is no such answer; none of the items may then be taken as accepted.
        """
        packet: bytes = ZabbixProtocol.create_packet(to_request(items), _LIBRARY_LOG, self._destination.compression)
        failures = []
        for node in self._destination.nodes:
            try:
                connection = self._connect(node)
            except (OSError, UnicodeError) as error:
                failures.append(f"{node}: {self._why_not_connected(error)}")
                continue
            with connection:
                return _outcome(node, _ask(node, connection, packet, self._destination.timeout), sent=len(items))
        raise DeliveryError("; ".join(failures))

    def _connect(self, node: Node) -> socket.socket:
        source = (self._destination.source_ip, 0) if self._destination.source_ip else None
        return socket.create_connection((node.address, node.port), self._destination.timeout, source)

    def _why_not_connected(self, error: OSError | UnicodeError) -> str:
        """In an admin's words, with what to look at."""
        source_ip, timeout = self._destination.source_ip, self._destination.timeout
        match error:
            case ConnectionRefusedError():
                return "connection refused; is zabbix_server (or the proxy) running there, and is this its ListenPort?"
            case TimeoutError():
                return f"no connection within {timeout} s; is a firewall in between?"
            case socket.gaierror(errno=socket.EAI_ADDRFAMILY) if source_ip:
                return f"it has no address of the IP version of source_ip {source_ip}"
            case socket.gaierror() | UnicodeError():
                return f"the name cannot be resolved ({getattr(error, 'strerror', error)}); look at `nodes` and at DNS"
            case OSError(errno=errno.EADDRNOTAVAIL) if source_ip:
                return f"source_ip {source_ip} is not an address of this host"
            case _:
                return f"no connection: {getattr(error, 'strerror', None) or error}"


class _Answer:
    """A connection as ZabbixProtocol reads it, with one deadline for the whole answer and a limit to its size."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + timeout_s
        self.seen = b""

    def send(self, packet: bytes) -> None:
        self._connection.settimeout(self._left_s())
        self._connection.sendall(packet)

    def recv(self, size: int) -> bytes:
        if size > _MAX_ANSWER:
            raise ProcessingError(f"it announces an answer of {size} bytes")
        self._connection.settimeout(self._left_s())
        data = self._connection.recv(size)
        if not data:
            raise ProcessingError("it closed the connection in the middle of its answer")
        self.seen += data
        return data

    def _left_s(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)


def _ask(node: Node, connection: socket.socket, packet: bytes, timeout_s: float) -> Any:
    """The decoded answer. Raises DeliveryError."""
    answer = _Answer(connection, timeout_s)
    try:
        answer.send(packet)
        return json.loads(ZabbixProtocol.parse_sync_packet(answer, _LIBRARY_LOG, ProcessingError))
    except TimeoutError as error:
        raise DeliveryError(
            f"{node}: connected, but no whole answer within {timeout_s} s; is it overloaded?"
        ) from error
    except OSError as error:
        raise DeliveryError(f"{node}: the connection broke before the answer ({error.strerror or error})") from error
    except (ProcessingError, ValueError, zlib.error, RecursionError) as error:
        if not answer.seen:
            raise DeliveryError(f"{node} closed the connection without an answer; {_PORTS}") from error
        begin = answer.seen.removeprefix(b"ZBXD\x01")[:60]
        raise DeliveryError(f"{node} does not answer like a Zabbix trapper, but {begin!r}; {_PORTS}") from error


def _outcome(node: Node, answer: Any, *, sent: int) -> Outcome:
    """What the counts in `answer` say. Raises DeliveryError when there are none."""
    if not isinstance(answer, dict) or answer.get("response") != "success":
        said = answer.get("info", answer) if isinstance(answer, dict) else answer
        raise DeliveryError(f"{node} did not take the values: {str(said)[:200]}")
    try:
        counts = TrapperResponse().add(answer)
    except (ProcessingError, AttributeError, TypeError, ValueError) as error:
        raise DeliveryError(f"{node} answered without saying what it took: {str(answer)[:200]}") from error
    if counts.processed > sent:
        raise DeliveryError(f"{node} answered for {counts.processed} values, but {sent} were sent")
    # A value that Zabbix cannot even read is not counted as failed: it shows only in what is missing from the sum.
    return Outcome(accepted=counts.processed, rejected=sent - counts.processed)
