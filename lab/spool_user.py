"""A program that uses the product's own spool and deliveries as hard as it can, until it is killed; see tests/disk.

Arguments: the spool, and a record to which it adds a line at each step:
    a 7        sample 7 was appended
    b 4 6      the destination b acknowledged samples 4 to 6
    b done 6   and the spool has taken it in
For each line of standard input, the number of the first sample and a seed, it forks a process that does this, prints
its id, and prints its end.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import threading
from typing import TYPE_CHECKING

from sender.delivery.delivery import Delivery
from sender.errors import DeliveryError
from sender.model import Chunk, Item, Outcome
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

DESTINATIONS = ("b", "c")
LIMITS = Limits(max_age_s=1e10, max_bytes=2**28)  # samples are numbered by their clocks
FAILS_AT_MOST = 0.02  # of the requests
VALUES = 12


class RecordedSpool(Spool):
    """Puts down what was taken in."""

    record: int

    def settle(self, destination: str, chunk: Chunk, outcome: Outcome, error: str = "") -> None:
        """As the spool does."""
        super().settle(destination, chunk, outcome, error)
        if not outcome.kept:
            write(self.record, f"{destination} done {chunk.items[-1].clock}")


def write(record: int, line: str) -> None:
    """Add a line that outlives the process."""
    os.write(record, f"{line}\n".encode())


def use(path: str, record: int, first: int, seed: int) -> None:
    """Append samples from `first` on and deliver them, for ever."""
    spool = RecordedSpool(path, DESTINATIONS, LIMITS)
    spool.record = record
    deliveries = [
        Delivery(name, lambda items, name=name: send(name, items), spool)  # type: ignore[misc]
        for name in DESTINATIONS
    ]
    chance = random.Random(seed)  # noqa: S311  no secret
    fails = {name: chance.choice([0, FAILS_AT_MOST]) for name in DESTINATIONS}

    def send(name: str, items: Sequence[Item]) -> Outcome:
        if chance.random() < fails[name]:
            raise DeliveryError("no")
        write(record, f"{name} {items[0].clock} {items[-1].clock}")
        return Outcome(accepted=len(items))

    for delivery in deliveries:
        threading.Thread(target=delivery.run, daemon=True).start()
    for number in itertools.count(first):
        spool.append([Item(host="h", key=f"k[{n}]", value=str(n), clock=number, ns=1) for n in range(VALUES)])
        write(record, f"a {number}")
        for delivery in deliveries:
            delivery.wake()


def main() -> None:
    """Start a process for each line."""
    path, record = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    logging.getLogger("sender.spool").addHandler(logging.StreamHandler())
    logging.getLogger("sender.delivery").addHandler(logging.NullHandler())  # that a destination fails is no news here
    for line in sys.stdin:
        child = os.fork()
        if not child:
            use(path, record, *map(int, line.split()))
        print(child, flush=True)  # noqa: T201
        _, status = os.waitpid(child, 0)
        print(f"ended by signal {os.WTERMSIG(status)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
