"""What one destination refuses: says so when it changes, and finds out which keys. Knows no spool and no retry policy.

Zabbix says how many values it refused, never which or why. So after a refusal of some, the next sample is sent one value
at a time, those of one port together: each value still goes out once, and the refused keys get their names.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from sender.delivery import advice
from sender.delivery.probe import Part, parts, probe
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
    """Of destination `name`."""

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._monotonic = monotonic
        self.wants_probe = False  # the next sample is to be probed
        self._host = ""  # whose values they are
        self._kind: str | None = None  # all, some or none of its last values; None before the first answer
        self._lost = 0  # values refused since every value was accepted last
        self._keys: list[str] = []  # those refused of each sample, as far as is known,
        self._count = 0  # and how many values these are
        self.gone: set[str] = set()  # ports of which the last sample's values were all refused, if that is known
        self.summary = ""  # what is refused now, in a few words; empty while nothing is
        self._probe_at = 0.0
        self._changes: deque[float] = deque(maxlen=_CHANGES)  # when they were logged
        self._moment: tuple[int, int] | None = None  # of the sample that is being probed,
        self._probed: list[Part] = []  # and what became of its parts so far

    def note(self, sent: Sequence[Item], outcome: Outcome) -> None:
        """Take in what became of `sent`, whole samples in one request."""
        host, count = sent[0].host, len(sent)
        self.gone = set()
        if host != self._host:  # another name is another story
            self._host, self._kind, self._keys, self._count, self._lost, self._probe_at = host, None, [], 0, 0, 0.0
        kind = "none" if not outcome.rejected else "all" if outcome.rejected == count else "some"
        before, self._kind = self._kind, kind
        self._lost += outcome.rejected
        if kind != "some":
            self._keys, self._count = [], 0
        else:
            self._want_probe(outcome.rejected, samples=len({(item.clock, item.ns) for item in sent}))
        self.summary = self._summary(host)
        if kind == before or not self._is_worth_a_line():
            return
        if kind == "all":
            _LOG.error(
                "%s refused all %d values of host %r; they are lost. %s", self._name, count, host, advice.UNKNOWN_HOST
            )
        elif kind == "some":
            refused = f"{outcome.rejected} of {count} values"
            which = "The next sample is sent value by value, to see which" if self.wants_probe else advice.SOME_KEYS
            _LOG.error("%s refused %s of host %r; they are lost. %s", self._name, refused, host, which)
        else:
            again = f" again; {self._lost} were refused" if self._lost else ""
            _LOG.info("%s accepts every value of host %r%s", self._name, host, again)
            self._lost = 0

    def _is_worth_a_line(self) -> bool:
        """A destination that refuses now some, now none, is not to fill the log; `summary` has the last word."""
        now = self._monotonic()
        if len(self._changes) == _CHANGES and now - self._changes[0] < _WITHIN_S:
            return False
        self._changes.append(now)
        return True

    def _summary(self, host: str) -> str:
        if self._kind == "all":
            return f"it refuses all values of host {host!r}; the log says what to look at"
        if self._kind == "some":
            return f"it refuses values of host {host!r}: {some_of(self._keys) or 'the log will say which'}"
        return ""

    def _want_probe(self, rejected: int, *, samples: int) -> None:
        if rejected != self._count * samples and self._monotonic() >= self._probe_at:
            self._probe_at = self._monotonic() + _PROBE_AGAIN_S
            self.wants_probe = True

    def probe(
        self, sample: Sequence[Item], send: Callable[[Sequence[Item]], Outcome], pause: Callable[[float], object]
    ) -> Outcome:
        """Send one sample part by part. What `send` raises ends it; the next probe goes on from there."""
        host, moment = sample[0].host, (sample[0].clock, sample[0].ns)
        if moment != self._moment:
            self._moment, self._probed = moment, []
        for part in probe(parts(sample)[len(self._probed) :], send):
            self._probed.append(part)
            pause(_PROBE_PAUSE_S)
        refused = [part for part in self._probed if part.rejected]
        self.wants_probe, self._moment = False, None
        rejected = sum(part.rejected for part in refused)
        outcome = Outcome(accepted=len(sample) - rejected, rejected=rejected)
        if not 0 < rejected < len(sample):
            self.note(sample, outcome)
            return outcome
        gone = [part for part in refused if part.lacks_items]
        self.gone = {part.port for part in gone}
        self._kind, self._keys = "some", list(map(str, refused))
        self._count = rejected - sum(part.rejected for part in gone)
        self._lost += rejected
        self.summary = self._summary(host)
        _LOG.error("%s refuses of host %r: %s. %s", self._name, host, some_of(self._keys), advice.SOME_KEYS)
        return outcome
