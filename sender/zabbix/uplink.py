"""One destination: one chunk, one request, one Outcome. Knows its nodes, whose turn it is, and redirects.

Of zabbix_utils nothing is used here, nor in protocol.py. Its Sender has a time limit that starts again
with every byte that drips in; it needs to know IPv6 beforehand; it runs in a circle of redirects and stays for good where
one led; it hides what was accepted before an error; and most errors come out of it as they are. Here whatever goes wrong
becomes a DeliveryError.
"""

from __future__ import annotations

import logging
import re
import reprlib
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from sender.errors import DeliveryError
from sender.items import to_request
from sender.model import Outcome
from sender.zabbix.connector import Connector
from sender.zabbix.protocol import to_packet
from sender.zabbix.redirects import Route, expect_none, follow, redirect_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from sender.errors import Step
    from sender.model import Item
    from sender.settings.schema import Destination

_LOG = logging.getLogger(__name__)
_MAX_QUOTE = 200  # characters of an answer in an error
_T = TypeVar("_T")


class Uplink:
    """Sends to where a redirect led last, else to the last good node of `destination`, or the next that connects.

    `watch` is told each step on the way to an answer when it is done, and what was found in it; after a redirect, again.
    """

    def __init__(self, destination: Destination, watch: Callable[[Step, str], None] = lambda _, __: None) -> None:
        self._destination = destination
        self._connector = Connector(destination, watch)
        self._number = 0  # of the configured node that was asked last, or is to be asked first
        self._failures: dict[int, DeliveryError] = {}  # of the configured nodes, since values were accepted last
        self._redirect: Route | None = None
        self._logged: Route | None = None  # the redirect that was logged last

    def send(self, items: Sequence[Item]) -> Outcome:
        """Send `items`, which must be of one host, and return what became of them.

        Raises DeliveryError when there is no answer that says so; none of the items may then be taken as accepted.

        It takes at most one timeout for each connection that is tried (each configured node once and, where there are
        redirects, two more) and one for each answer, TLS handshake included, of which there are at most three. On top of
        that comes what has no bound here: where a node is a name, getaddrinfo waits for DNS as long as resolv.conf says.
        """
        outcome = self._try(lambda: _outcome(*self._request(to_request(items)), sent=len(items)))
        self._log_redirect()
        return outcome

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to any other request, success or not. Raises DeliveryError like `send`; takes as long."""
        return self._try(lambda: self._request(request)[1])

    def _try(self, action: Callable[[], _T]) -> _T:
        """Return what `action` returns. On error raise one DeliveryError for all nodes, and start with the next one next time.

        No context manager of contextlib's: its frame and the error raised in it would keep each other, and all that was to be
        sent, until Python looks for such circles, which may be hours later.
        """
        self._connector.prepare()
        try:
            result = action()
        except DeliveryError as error:
            self._redirect = None
            self._record(self._number, error)
            self._number = (self._number + 1) % len(
                self._destination.nodes
            )  # one that never answers must not hide the others
            # Those of all nodes, though not all were asked this time: one trouble has one text, whichever has the turn.
            failures = [failure for _, failure in sorted(self._failures.items())]
            raise DeliveryError.joined(failures) from error
        self._failures.clear()
        return result

    def _record(self, number: int, error: DeliveryError) -> None:
        self._failures[number] = copy(error)  # without the traceback, which keeps all that was to be sent

    def _log_redirect(self) -> None:
        if (self._redirect and self._redirect.node) == (self._logged and self._logged.node):
            return
        self._logged = self._redirect
        name, home = self._destination.name, self._destination.nodes[self._number]
        if self._redirect:
            _LOG.info("%s: redirected by %s to %s (Zabbix proxy group)", name, home, self._redirect.node)
        else:
            _LOG.info("%s: no longer redirected, values go to %s again", name, home)

    def _request(self, request: dict[str, Any]) -> tuple[Route, dict[str, Any]]:
        """Follow at most one reset, then one redirect, and return the answer; anything more is a loop."""
        packet = to_packet(request, compression=self._destination.compression)
        route, answer = self._ask(packet)
        if self._redirect and redirect_of(answer).get("reset") is True:
            self._redirect = None
            route, answer = self._ask(packet)
        if "address" in redirect_of(answer):
            self._redirect = follow(redirect_of(answer), route)
            route, answer = self._ask(packet)
        expect_none(answer, route)
        return route, answer

    def _ask(self, packet: bytes) -> tuple[Route, dict[str, Any]]:
        route, connection = self._connected()
        return route, self._connector.ask(connection, route, packet)

    def _connected(self) -> tuple[Route, socket.socket]:
        """Return a connection to where a redirect led, else to the first configured node, by turns, that takes one."""
        if self._redirect:
            return self._redirect, self._connector.connect(self._redirect)
        nodes = self._destination.nodes
        for _ in nodes[1:]:
            route = Route(nodes[self._number])
            try:
                return route, self._connector.connect(route)
            except DeliveryError as error:
                self._record(self._number, error)
            self._number = (self._number + 1) % len(nodes)
        route = Route(nodes[self._number])
        return route, self._connector.connect(route)


def _outcome(route: Route, answer: dict[str, Any], *, sent: int) -> Outcome:
    """Return what the counts in `answer` say. Raises DeliveryError when there are none."""
    info = answer.get("info")
    said = info[:_MAX_QUOTE] if isinstance(info, str) else reprlib.repr(answer)
    if answer.get("response") != "success":
        raise DeliveryError(f"it rejected the request: {said}", node=str(route))
    counts = re.match(r"processed: ([0-9]{1,9}); failed: [0-9]{1,9}; total: [0-9]", said)
    if not counts:
        raise DeliveryError(f"it answered without saying what it accepted: {said}", node=str(route))
    accepted = int(counts[1])
    if accepted > sent:
        raise DeliveryError("it answered for more values than were sent", node=str(route))
    # A value that Zabbix cannot even read is not counted as failed: it shows only in what is missing from the sum.
    return Outcome(accepted=accepted, rejected=sent - accepted)
