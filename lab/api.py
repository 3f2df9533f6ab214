"""Zabbix's API without a Zabbix, for who calls it: it answers as it is told, and notes what it is asked."""

from __future__ import annotations

from typing import Any

KEPT = {"templateid": "1"}  # the template that is there
GROUP = {"groupid": "2"}
EXPORT = "<zabbix_export/>"


class Zabbix:
    """Answers each method as told, with an empty list otherwise, and notes what would have changed something."""

    def __init__(self, **answers: Any) -> None:
        there = {"template_get": self.templates, "configuration_export": EXPORT, "hostgroup_get": [GROUP]}
        self.answers: dict[str, Any] = {**there, **answers}
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, method: str, params: Any) -> Any:
        """As Api.call."""
        self.asked.append((method, params))
        answer = self.answers.get(method.replace(".", "_"), [])
        return answer(params) if callable(answer) else answer

    @staticmethod
    def templates(params: Any) -> list[dict[str, str]]:
        """Ours is there, is linked to no other, and has the name of no host."""
        return [] if "parentTemplateids" in params or "searchByAny" in params else [KEPT]

    @property
    def changes(self) -> list[tuple[str, Any]]:
        """The calls that change something."""
        harmless = (".get", ".export", ".importcompare", ".version")
        return [call for call in self.asked if not call[0].endswith(harmless)]
