"""Redirects among the proxies of a group (Zabbix 7), as answers hold them. Pure: answers in, routes out."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sender.errors import DeliveryError
from sender.model import Node

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_ADDRESS = 255  # characters, which cost time; ZBX_REDIRECT_ADDRESS_LEN, include/zbxcomms.h


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: to a configured node or, redirected by that one, to another proxy of its group."""

    node: Node
    redirected_by: Node | None = None
    revision: int = 0

    def __str__(self) -> str:
        return f"{self.node} (redirected by {self.redirected_by})" if self.redirected_by else str(self.node)


def redirect_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the redirect in an answer, empty where there is none."""
    redirect = answer.get("redirect") if answer.get("response") == "failed" else None
    return redirect if isinstance(redirect, dict) else {}


def follow(redirect: Mapping[str, Any], route: Route) -> Route:
    """Return where `redirect`, which `route` answered with, leads. Raises DeliveryError where that is nowhere."""
    try:
        node, revision = _parsed(redirect)
    except ValueError as error:
        where = reprlib.repr(redirect["address"])
        found = f"it redirects to {where}, which cannot be followed: {error}"
        raise DeliveryError(found, node=str(route)) from error
    if route.redirected_by and revision < route.revision:
        found = f"it redirects to {node}, but by an older revision than the one that led here"
        raise DeliveryError(found, node=str(route))
    return Route(node, route.redirected_by or route.node, revision)


def expect_none(answer: Mapping[str, Any], route: Route) -> None:
    """Raise DeliveryError where the answer, at the end of the way, holds one more redirect."""
    match redirect_of(answer):
        case {"address": address}:
            found = f"it redirects on to {reprlib.repr(address)}: a loop, or the group has not agreed yet"
            raise DeliveryError(found, node=str(route))
        case {"reset": True}:
            advice = "The proxy has probably lost its server."
            raise DeliveryError("it asks us to use another node", advice=advice, node=str(route))


def _parsed(redirect: Mapping[str, Any]) -> tuple[Node, int]:
    """Return node and revision. Raise ValueError where they make no sense."""
    address, revision = redirect["address"], redirect.get("revision")
    if not isinstance(revision, int):
        raise ValueError("it has no revision")  # noqa: TRY004  a caller's mistake it is not
    if not isinstance(address, str) or len(address) > _MAX_ADDRESS:
        raise ValueError("expected a name or an address")
    return Node.parse(address), revision
