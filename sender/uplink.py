"""One destination: one chunk, one request, one Outcome. The only importer of zabbix_utils' sender side.

Of zabbix_utils this uses ZabbixProtocol to make the packet, and not the whole Sender, whose time limit starts again with
every byte that drips in, which needs to know IPv6 beforehand, and which stays with a node that it was once redirected to.
Nor its reading of answers, which believes an announced 2 GB and unpacks 60 KB to a gigabyte: here an answer has one
deadline and one limit, before and after unpacking. Whatever goes wrong becomes a DeliveryError.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

from zabbix_utils.common import ZabbixProtocol

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
_HEADER = struct.Struct("<4sBII")  # "ZBXD", flags, length, length before compression
_PLAIN, _COMPRESSED = 0x01, 0x03  # flags


class Uplink:
    """Sends to one node of `destination`: the last good one, or the next that takes a connection."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._begin = 0  # the node to try first

    def send(self, items: Sequence[Item]) -> Outcome:
        """Ask the destination to take `items`, which must be of one host; what it says became of them.

        Raises DeliveryError when there is no such answer; none of the items may then be taken as accepted.
        """
        packet: bytes = ZabbixProtocol.create_packet(to_request(items), _LIBRARY_LOG, self._destination.compression)
        failures = []
        nodes = self._destination.nodes
        for number in range(self._begin, self._begin + len(nodes)):
            node = nodes[number % len(nodes)]
            try:
                connection = self._connect(node)
            except (OSError, UnicodeError) as error:
                failures.append(f"{node}: {self._why_not_connected(error)}")
                continue
            with connection:
                self._begin = number + 1  # a node that takes connections and gives no answer is not tried first again
                outcome = _outcome(node, _ask(node, connection, packet, self._destination.timeout), sent=len(items))
                self._begin = number % len(nodes)
                return outcome
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
    """The answer on a connection, within one deadline; `seen` is what has come so far."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + timeout_s
        self.seen = b""

    def send(self, packet: bytes) -> None:
        self._connection.settimeout(self._left_s())
        self._connection.sendall(packet)

    def body(self) -> bytes:
        """Read one packet (Zabbix manual: Appendix, Protocols, Header). Raises ValueError for anything else."""
        magic, flags, length, _ = _HEADER.unpack(self._exactly(_HEADER.size))
        if magic != ZabbixProtocol.ZABBIX_PROTOCOL or flags not in (_PLAIN, _COMPRESSED) or length > _MAX_ANSWER:
            raise ValueError("not an answer")
        body = self._exactly(length)
        if flags == _PLAIN:
            return body
        unpacking = zlib.decompressobj()
        body = unpacking.decompress(body, _MAX_ANSWER)
        if not unpacking.eof:
            raise ValueError("not a whole answer, or too large a one")
        return body

    def _exactly(self, size: int) -> bytes:
        end = len(self.seen) + size
        while len(self.seen) < end:
            self._connection.settimeout(self._left_s())
            data = self._connection.recv(end - len(self.seen))
            if not data:
                raise ValueError("not a whole answer")
            self.seen += data
        return self.seen[end - size :]

    def _left_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _ask(node: Node, connection: socket.socket, packet: bytes, timeout_s: float) -> Any:
    """The decoded answer. Raises DeliveryError."""
    answer = _Answer(connection, timeout_s)
    try:
        answer.send(packet)
        return json.loads(answer.body())
    except TimeoutError as error:
        raise DeliveryError(
            f"{node}: connected, but no whole answer within {timeout_s} s; is it overloaded?"
        ) from error
    except OSError as error:
        raise DeliveryError(f"{node}: the connection broke before the answer ({error.strerror or error})") from error
    except (ValueError, zlib.error, RecursionError) as error:
        if not answer.seen:
            raise DeliveryError(f"{node} closed the connection without an answer; {_PORTS}") from error
        begin = answer.seen.removeprefix(b"ZBXD\x01")[:60]
        raise DeliveryError(f"{node} does not answer like a Zabbix trapper, but {begin!r}; {_PORTS}") from error


def _outcome(node: Node, answer: Any, *, sent: int) -> Outcome:
    """What the counts in `answer` say. Raises DeliveryError when there are none."""
    if not isinstance(answer, dict) or answer.get("response") != "success":
        said = answer.get("info", answer) if isinstance(answer, dict) else answer
        raise DeliveryError(f"{node} did not take the values: {str(said)[:200]}")
    counts = re.match(r"processed: ([0-9]{1,9}); failed: [0-9]{1,9}; total: [0-9]", str(answer.get("info")))
    if not counts:
        raise DeliveryError(f"{node} answered without saying what it took: {str(answer)[:200]}")
    accepted = int(counts[1])
    if accepted > sent:
        raise DeliveryError(f"{node} answered for {accepted} values, but {sent} were sent")
    # A value that Zabbix cannot even read is not counted as failed: it shows only in what is missing from the sum.
    return Outcome(accepted=accepted, rejected=sent - accepted)
