"""The story that the demo plays on this machine: how much of what, when, and in words. Pure.

The application's trouble is real, and so is what follows from it: it leaks connections until it has no descriptors left,
then accepts no more, and so its accept queue fills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = 60  # of the web server, of whom more and fewer are there
BATCH = 2000  # connections, one after the other
DESCRIPTORS, BACKLOG = 400, 128  # of the application
LEAKED = 150  # of its connections, before anybody counts
APPLICATION = "backend.service"  # as which it runs, so that it can be named
REQUESTS_PER_S = 2.0  # each of them leaks
PATIENCE_S = 30.0  # of the application's clients
INTERVAL_S = 5  # of the daemon
FULL_SAMPLES = 3  # that the trigger of a full accept queue waits for
THRESHOLD, LASTING_S = 100, 900  # of the trigger of CLOSE_WAIT, {$TCP.CLOSE_WAIT.MAX.WARN} and its window

_WORDS = f"""
An application on port {{application}} answers its clients, and never closes what they have closed: {LEAKED} connections are \
left in CLOSE_WAIT already. Problems at once, of the host and of the port: Many connections in CLOSE_WAIT{{whose}}. (Zabbix asks for 15 minutes of them, and judges \
by the values that it has.)
A batch job opens and closes {BATCH:,} connections to port {{database}}: TIME_WAIT, for a minute. That is normal: no problem.
The application has used up its {DESCRIPTORS} descriptors. It accepts no more, and its accept queue fills.
Problem: Accept queue is full. Clients get no answer any more (SYN_SENT).
The application is restarted: the problems are resolved. Its bug is still there.
Problem again: Accept queue is full.
Problem again: Many connections in CLOSE_WAIT, this time after 15 minutes of them.
The application is restarted again, and so on. The batch job comes back every ten minutes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The port on which each part of the story listens."""

    web: int
    application: int
    database: int


PREFERRED = Ports(web=443, application=8080, database=3306)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Something that happens again and again."""

    first_s: float
    every_s: float


class Plan:
    """The times of a demo that is so many times as fast. The kernel and the template keep their own times."""

    def __init__(self, speed: float = 1.0) -> None:
        self.interval_s = max(1, round(INTERVAL_S / speed))
        self.requests_per_s = REQUESTS_PER_S * speed
        self.patience_s = max(1.0, PATIENCE_S / speed)
        self.batch = Turn(first_s=60 / speed, every_s=600 / speed)
        self.restart = Turn(first_s=360 / speed, every_s=1800 / speed)

    def full_s(self, leaked: int) -> float:
        """Return how long after so many leaked connections the application's accept queue is full."""
        return self.exhausted_s(leaked) + BACKLOG / self.requests_per_s

    def exhausted_s(self, leaked: int) -> float:
        """Return how long after so many leaked connections the application has no descriptors left."""
        return (DESCRIPTORS - leaked) / self.requests_per_s

    def lines(self, ports: Ports, *, names_service: bool) -> Iterator[tuple[float, str]]:
        """Return what is to be seen, in words, and when."""
        whose = f"; the host's names the service, {APPLICATION}" if names_service else ""
        restarted, judged_s = self.restart.first_s, FULL_SAMPLES * self.interval_s
        words = _WORDS.format(application=ports.application, database=ports.database, whose=whose)
        times = (
            0,
            self.batch.first_s,
            self.exhausted_s(LEAKED),
            self.full_s(LEAKED) + judged_s,
            restarted,
            restarted + self.full_s(0) + judged_s,
            restarted + THRESHOLD / self.requests_per_s + LASTING_S,
            restarted + self.restart.every_s,
        )
        return zip(times, words.strip().split("\n"), strict=True)


def clock(seconds: float) -> str:
    """Return `125` as `2:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:3}:{rest:02}"
