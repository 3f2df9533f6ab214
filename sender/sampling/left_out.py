"""Logs which ports, units and network namespaces are not reported, and what to do. Each line once, and again after a while."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sender.sampling.guard import DAY_S
from sender.settings.values import MOST_NAMES
from sender.text import duration, some_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sender.sampling.names import LeftOut
    from sender.settings.schema import NamespaceSettings, PortSettings, ServiceSettings

_LOG = logging.getLogger(__name__)
_LOG_AGAIN_S = 3600.0


def how_to_report_more(limit: int, section: str) -> str:
    """Return what to do where `limit` leaves names out; `section` is its place in the configuration: ports, services or namespaces."""
    if limit < MOST_NAMES:
        return f"Raise {section}.limit, or name some in {section}.exclude"
    advice = f"More cannot be reported: name in {section}.exclude those that matter least"
    return f"{advice}, or those that matter in ports.local" if section == "ports" else advice


class LeftOutLog:
    """What was logged of the names of one kind."""

    def __init__(self) -> None:
        self._logged: Sequence[object] = ()  # the names that were logged last,
        self._again_at = 0.0  # and when others may be
        self._budget_again_at = 0.0  # when it may be logged again that the budget of new names is used up
        self._is_young_logged = False
        self._trouble: str | None = None
        self._too_large_again_at = 0.0

    def log_ports(self, left_out: LeftOut[int], settings: PortSettings, now: float) -> None:
        """Log which listening ports are not reported."""
        if self._has_news(left_out.over_limit, now):
            if left_out.over_limit:
                _LOG.warning(
                    "ports.limit of %d reached: %d listening ports are not reported: %s. %s",
                    *(settings.limit, len(left_out.over_limit), some_of(left_out.over_limit)),
                    how_to_report_more(settings.limit, "ports"),
                )
            else:
                _LOG.info("no listening port is over ports.limit any more")
        if self._is_over_budget(left_out.over_budget, now):
            _LOG.warning(
                "ports.new_per_day of %d reached: %d new listening ports are not reported for now: %s. Does something listen on "
                "ever another port? Name its range in ports.exclude. Are these services that stay? Name them in ports.local, or "
                "raise ports.new_per_day (repeated daily)",
                *(settings.new_per_day, len(left_out.over_budget), some_of(left_out.over_budget)),
            )

    def log_young(self, left_out: LeftOut[int], settings: PortSettings) -> None:
        """Log once which listening ports are too new."""
        if left_out.young and not self._is_young_logged:
            self._is_young_logged = True
            _LOG.info(
                "ports of the kernel's ephemeral range are reported after %s of listening (ports.ephemeral_after); now %s. Name "
                "a service of yours in ports.local",
                *(duration(settings.ephemeral_after), some_of(left_out.young)),
            )

    def log_units(self, left_out: LeftOut[str], settings: ServiceSettings, now: float) -> None:
        """Log which units are not reported."""
        if self._has_news(left_out.over_limit, now):
            if left_out.over_limit:
                _LOG.warning(
                    "services.limit of %d reached: %d units with sockets are not reported: %s. %s",
                    *(settings.limit, len(left_out.over_limit), some_of(left_out.over_limit)),
                    how_to_report_more(settings.limit, "services"),
                )
            else:
                _LOG.info("no unit is over services.limit any more")
        if self._is_over_budget(left_out.over_budget, now):
            _LOG.warning(
                "services.new_per_day of %d reached: %d new units are not reported for now: %s. Do units come and go under ever "
                "other names? Name a pattern in services.exclude. Are these services that stay? Raise services.new_per_day "
                "(repeated daily)",
                *(settings.new_per_day, len(left_out.over_budget), some_of(left_out.over_budget)),
            )

    def log_namespaces(self, left_out: LeftOut[str], settings: NamespaceSettings, now: float) -> None:
        """Log which network namespaces are not reported."""
        if self._has_news(left_out.over_limit, now):
            if left_out.over_limit:
                _LOG.warning(
                    "namespaces.limit of %d reached: %d network namespaces are not reported: %s. %s",
                    *(settings.limit, len(left_out.over_limit), some_of(left_out.over_limit)),
                    how_to_report_more(settings.limit, "namespaces"),
                )
            else:
                _LOG.info("no network namespace is over namespaces.limit any more")
        if self._is_over_budget(left_out.over_budget, now):
            _LOG.warning(
                "namespaces.new_per_day of %d reached: %d new network namespaces are not reported for now: %s. Do containers come "
                "and go under ever other names? Name a pattern in namespaces.exclude, or give them names that last (repeated daily)",
                *(settings.new_per_day, len(left_out.over_budget), some_of(left_out.over_budget)),
            )

    def log_trouble(self, trouble: str | None) -> None:
        """Log once why other network namespaces are not counted, and that they are again."""
        if trouble == self._trouble:
            return
        if trouble:
            _LOG.warning(
                "other network namespaces are not counted: %s. Is the helper there? systemctl enable --now "
                "tcp-status-sender-namespaces.socket",
                trouble,
            )
        else:
            _LOG.info("other network namespaces are counted again")
        self._trouble = trouble

    def log_too_large(self, names: Iterable[str], settings: NamespaceSettings, now: float) -> None:
        """Log daily which network namespaces are never counted, as a sample has no time for so many sockets."""
        wanted = sorted(name for name in names if not settings.excludes(name))
        if wanted and now >= self._too_large_again_at:
            self._too_large_again_at = now + DAY_S
            _LOG.warning(
                "network namespaces whose sockets take longer than a sample has for all of them are not counted: %s. A daemon "
                "of its own in the container counts them; or name it in namespaces.exclude (repeated daily)",
                some_of(wanted),
            )

    def _has_news(self, names: Sequence[object], now: float) -> bool:
        """Return whether it is to be logged which names are over the limit, or that none is any more."""
        if names == self._logged or (names and now < self._again_at):
            return False
        self._logged, self._again_at = names, now + _LOG_AGAIN_S
        return True

    def _is_over_budget(self, names: Sequence[object], now: float) -> bool:
        if not names or now < self._budget_again_at:
            return False
        self._budget_again_at = now + DAY_S
        return True
