"""API tokens of a real Zabbix."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.zabbix_stack import ZabbixStack


def new_token(zabbix: ZabbixStack, user_id: str) -> str:
    """Return an API token of this user, another one each time."""
    made = zabbix.api.token.create(name=secrets.token_hex(), userid=user_id)
    return str(zabbix.api.token.generate(made["tokenids"])[0]["token"])
