"""One destination: one chunk, one request, one Outcome. The only importer of zabbix_utils' sender side.

Of zabbix_utils this uses ZabbixProtocol (packets) and TrapperResponse (the answer's counts), not the whole Sender:
Sender's time limit starts again with every byte that drips in, IPv6 needs to be known beforehand, an announced 2 GB is
believed, and it stays with a node that it was once redirected to. So the connection is ours, and what is read from it
passes through `_Answer`, which keeps one deadline and one size limit. Whatever goes wrong becomes a DeliveryError.
"""

from __future__ import annotations

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

_LOG = logging.getLogger(__name__)
_MAX_ANSWER = 65536  # bytes; a trapper's answer has about 100


class Uplink:
    """Sends to the first node of `destination` that takes a connection."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def send(self, items: Sequence[Item]) -> Outcome:
        """Ask the destination to take `items`, which must be of one host; what it says became of them.

        Raises DeliveryError when there is no such answer; none of the items may then be taken as accepted.
        """
        packet: bytes = ZabbixProtocol.create_packet(to_request(items), _LOG, self._destination.compression)
        failures = []
        for node in self._destination.nodes:
            deadline = time.monotonic() + self._destination.timeout
            try:
                connection = self._connect(node)
            except OSError as error:
                failures.append(f"{node}: {_cause(error)}")
                continue
            with connection:
                return _outcome(node, _ask(node, connection, packet, deadline), sent=len(items))
        raise DeliveryError("; ".join(failures))

    def _connect(self, node: Node) -> socket.socket:
        source = (self._destination.source_ip, 0) if self._destination.source_ip else None
        return socket.create_connection((node.address, node.port), self._destination.timeout, source)


class _Answer:
    """A connection as ZabbixProtocol reads it, with one deadline for the whole answer and a limit to its size."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def recv(self, size: int) -> bytes:
        if size > _MAX_ANSWER:
            raise ProcessingError(f"it announces an answer of {size} bytes")
        self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
        data = self._connection.recv(size)
        if not data:
            raise ProcessingError("it closed the connection before it had answered")
        return data


def _ask(node: Node, connection: socket.socket, packet: bytes, deadline: float) -> Any:
    """The decoded answer. Raises DeliveryError."""
    try:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.sendall(packet)
        return json.loads(ZabbixProtocol.parse_sync_packet(_Answer(connection, deadline), _LOG, ProcessingError))
    except OSError as error:
        raise DeliveryError(f"{node}: {_cause(error)}") from error
    except ProcessingError as error:
        raise DeliveryError(f"{node} does not talk like a Zabbix trapper: {error}; is the port right?") from error
    except (ValueError, zlib.error, RecursionError) as error:
        raise DeliveryError(f"{node} gave an answer that cannot be read: {error}; is the port right?") from error


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


def _cause(error: OSError) -> str:
    """A network error in an admin's words, and what to look at."""
    match error:
        case ConnectionRefusedError():
            return "connection refused; is zabbix_server (or the proxy) running there, and is this its ListenPort?"
        case ConnectionResetError() | BrokenPipeError():
            return "the connection broke before the answer"
        case TimeoutError():
            return "no answer in time; is it overloaded, or is a firewall in between?"
        case socket.gaierror():
            return f"the name cannot be resolved ({error.strerror}); look at `nodes` and at DNS"
        case _:
            return f"{error.strerror or error}"
