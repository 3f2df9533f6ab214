"""What one destination rejects: keeps the verdict on its host, finds the keys, logs changes. Knows no spool, no retry policy.

After a rejection of some values the next sample is probed: each value still goes out once, and the rejected keys get their
names. One thread at a time may use an instance; `verdict`, `summary` and `state` may be read from any.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from sender.delivery import advice
from sender.delivery.probe import Part, Verdict, parts, probe, verdict
from sender.items import WHOLE, is_rare
from sender.model import Outcome
from sender.text import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.model import Item

_LOG = logging.getLogger(__name__)
_PROBE_AGAIN_S = 600.0  # at the earliest
_PROBE_PAUSE_S = 0.1  # between two values: a thousand hosts may be at it at once
_CHANGES, _WITHIN_S = 6, 600.0  # that are worth a line; more often, the next ones are not


class Rejections:
    """The values that destination `name` rejects."""

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._monotonic = monotonic
        self.verdict = Verdict.UNKNOWN
        self.wants_probe = False  # the next sample is to be probed
        self.ports: set[str] = set()  # those whose items are missing, if the last sample was probed
        self.summary = ""  # what is rejected now, in a few words; empty while nothing is
        self._host = ""  # whose values they are
        self._total = 0  # values rejected since every value was accepted last
        self._keys: list[str] = []  # those rejected of each sample, as far as is known,
        self._count = 0  # and how many values these are
        self._probe_at = 0.0
        self._changes: deque[float] = deque(maxlen=_CHANGES)  # when they were logged
        self._moment: tuple[int, int] | None = None  # of the sample that is being probed,
        self._probed: list[Part] = []  # and what became of its parts so far

    @property
    def state(self) -> str:
        """Return the verdict in a few words."""
        if self.verdict is Verdict.UNKNOWN:
            return "nothing sent yet"
        return self.summary or "all values accepted"

    def record(self, sent: Sequence[Item], outcome: Outcome) -> None:
        """Take in what became of `sent`, whole samples in one request."""
        self._turn_to(sent[0].host)
        self.ports = set()
        if self._says_nothing_of_named(sent, outcome):
            return
        before, self.verdict = self.verdict, verdict(outcome)
        if self.verdict is Verdict.SOME:
            self._total += outcome.rejected
            self._decide_on_probe(outcome.rejected, samples=_samples(sent))
        else:
            self._keys, self._count = [], 0
        self._summarise()
        if self.verdict is not before and self._is_worth_a_line():
            self._log_change(outcome.rejected, len(sent), is_first=before is Verdict.UNKNOWN)

    def _says_nothing_of_named(self, sent: Sequence[Item], outcome: Outcome) -> bool:
        """Return whether all was accepted because the rejected keys, which are rare, are not among what was sent."""
        if outcome.rejected or not self._keys or not all(map(is_rare, self._keys)):
            return False
        return not {item.key for item in sent}.intersection(self._keys)

    def count(self, rejected: int) -> None:
        """Count values of whole samples that were rejected for good, for the line that says when that is over."""
        self._total += rejected

    def _turn_to(self, host: str) -> None:
        """Forget what is known of another host name."""
        if host != self._host:
            self._host, self.verdict = host, Verdict.UNKNOWN
            self._keys, self._count, self._total, self._probe_at = [], 0, 0, 0.0

    def _log_change(self, rejected: int, count: int, *, is_first: bool) -> None:
        name, host = self._name, self._host
        if self.verdict is Verdict.ALL:
            _LOG.error("%s: Zabbix rejects all %d values of host %r. %s", name, count, host, advice.UNKNOWN_HOST)
        elif self.verdict is Verdict.SOME:
            which = "The next sample is sent key by key to find out which" if self.wants_probe else advice.SOME_KEYS
            _LOG.error("%s: Zabbix rejected %d of %d values of host %r. %s", name, rejected, count, host, which)
        else:
            again = "" if is_first else f" again ({self._total} values were rejected)" if self._total else " again"
            _LOG.info("%s: Zabbix accepts all values of host %r%s", name, host, again)
            self._total = 0

    def _is_worth_a_line(self) -> bool:
        """Return False for a destination that changes its mind too often to be logged; `summary` has the last word."""
        now = self._monotonic()
        if len(self._changes) == _CHANGES and now - self._changes[0] < _WITHIN_S:
            return False
        self._changes.append(now)
        return True

    def _summarise(self) -> None:
        if self.verdict is Verdict.ALL:
            self.summary = f"Zabbix rejects all values of host {self._host!r} (see the log)"
        elif self.verdict is Verdict.SOME:
            which = some_of(self._keys) or "the log will say which"
            self.summary = f"Zabbix rejects values of host {self._host!r}: {which}"
        else:
            self.summary = ""

    def _decide_on_probe(self, rejected: int, *, samples: int) -> None:
        """Want a probe where more values are rejected than those that the last one has named: rare ones come now and then."""
        if rejected > self._count * samples and self._monotonic() >= self._probe_at:
            self._probe_at = self._monotonic() + _PROBE_AGAIN_S
            self.wants_probe = True

    def probe(
        self, sample: Sequence[Item], send: Callable[[Sequence[Item]], Outcome], pause: Callable[[float], object]
    ) -> Outcome:
        """Send one sample part by part; return the outcome. What `send` raises ends it; the next call goes on from there."""
        moment = sample[-1].clock, sample[-1].ns
        if moment != self._moment:
            self._moment, self._probed = moment, []
        for part in probe(parts(sample)[len(self._probed) :], send):
            self._probed.append(part)
            pause(_PROBE_PAUSE_S)
        self.wants_probe, self._moment = False, None
        rejected = sum(part.rejected for part in self._probed)
        outcome = Outcome(accepted=len(sample) - rejected, rejected=rejected)
        if verdict(outcome) is Verdict.SOME:
            self._turn_to(sample[0].host)
            self._name_keys([part for part in self._probed if part.rejected], rejected)
        else:
            self.record(sample, outcome)
        return outcome

    def _name_keys(self, rejected: Sequence[Part], count: int) -> None:
        """Remember and log which parts of a probed sample were rejected, `count` values in all."""
        lacking = [part for part in rejected if part.lacks_items]
        self.ports = {part.port for part in lacking}
        self.verdict, self._keys = Verdict.SOME, list(map(str, rejected))
        self._count = count - sum(part.rejected for part in lacking)  # those are held from now on
        self._total += count
        self._summarise()
        keys = some_of(self._keys)
        _LOG.error("%s: Zabbix rejects these keys of host %r: %s. %s", self._name, self._host, keys, advice.SOME_KEYS)


def _samples(items: Sequence[Item]) -> int:
    """Return how many samples these are; values of a moment before theirs are no sample of their own."""
    return sum(item.key == WHOLE for item in items) or len({(item.clock, item.ns) for item in items})
