"""The spool: every destination gets every sample once, in order; what falls out is the oldest, and is counted."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sender.model import Chunk, Item, Outcome
from sender.spool import Spool

if TYPE_CHECKING:
    import pytest


def sample(number: int, *, host: str = "web-01", values: int = 2) -> tuple[Item, ...]:
    """A sample whose clock is its number."""
    return tuple(Item(host=host, key=f"key[{each}]", value="1", clock=number, ns=1) for each in range(values))


def clocks(chunk: Chunk | None) -> list[int]:
    """The samples in a chunk, one number per value."""
    return [item.clock for item in chunk.items] if chunk else []


def settle(spool: Spool, name: str, outcome: Outcome | None = None) -> Chunk:
    """Read all that waits, as one chunk, and settle it: accepted, unless told otherwise."""
    chunk = spool.read(name, max_values=10**9)
    assert chunk is not None
    spool.settle(name, chunk, outcome or Outcome(accepted=len(chunk.items)))
    return chunk


def test_an_empty_spool_has_nothing_to_read() -> None:
    """Nothing waits before the first sample, nor after the last was settled."""
    spool = Spool(["main"])
    assert spool.read("main", max_values=100) is None
    spool.append(sample(1))
    settle(spool, "main")
    assert spool.read("main", max_values=100) is None
    assert spool.backlog == spool.waiting("main") == 0


def test_a_chunk_is_whole_samples_oldest_first() -> None:
    """A chunk holds as many whole samples as fit, but at least one, in clock order."""
    spool = Spool(["main"])
    for number in range(1, 6):
        spool.append(sample(number))
    assert clocks(spool.read("main", max_values=5)) == [1, 1, 2, 2]
    assert clocks(spool.read("main", max_values=1)) == [1, 1]
    assert clocks(spool.read("main", max_values=100)) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_chunk_is_of_one_host() -> None:
    """Zabbix decides on redirects by the first host of a request, so a chunk ends where the host changes."""
    spool = Spool(["main"])
    spool.append(sample(1, host="old"))
    spool.append(sample(2, host="new"))
    assert clocks(spool.read("main", max_values=100)) == [1, 1]


def test_nothing_is_gone_before_it_is_settled() -> None:
    """Reading removes nothing; neither does an outcome that keeps any of the chunk."""
    spool = Spool(["main"])
    spool.append(sample(1))
    first = settle(spool, "main", Outcome(kept=2))
    assert spool.read("main", max_values=100) == first
    assert spool.waiting("main") == 2


def test_rejected_is_settled_and_counted() -> None:
    """What Zabbix refused is not sent again for ever, and shows in the count."""
    spool = Spool(["main"])
    spool.append(sample(1))
    settle(spool, "main", Outcome(accepted=1, rejected=1))
    assert spool.read("main", max_values=100) is None
    assert spool.rejected == 1


def test_each_destination_goes_at_its_own_pace() -> None:
    """One destination that settles nothing takes nothing from another, nor gets less itself."""
    spool = Spool(["fast", "slow"])
    for number in (1, 2):
        spool.append(sample(number))
        assert clocks(settle(spool, "fast")) == [number, number]
    assert spool.waiting("fast") == 0
    assert spool.waiting("slow") == spool.backlog == 4
    assert clocks(settle(spool, "slow")) == [1, 1, 2, 2]
    assert spool.backlog == 0


def test_past_the_limit_the_oldest_falls_out(caplog: pytest.LogCaptureFixture) -> None:
    """The newest samples are held, the lost values counted, and it is said once, not with every sample."""
    caplog.set_level(logging.INFO)
    spool = Spool(["main"], max_samples=3)
    for number in range(1, 7):
        spool.append(sample(number))
    assert clocks(settle(spool, "main")) == [4, 4, 5, 5, 6, 6]
    assert spool.dropped == 6
    assert [record.getMessage() for record in caplog.records] == [
        "3 samples wait, as many as are held: each new one now costs the oldest"
    ]


def test_losing_what_everybody_has_is_no_loss() -> None:
    """A sample that was settled everywhere makes room without being counted as lost."""
    spool = Spool(["main"], max_samples=1)
    for number in range(1, 4):
        spool.append(sample(number))
        settle(spool, "main")
    assert spool.dropped == 0


def test_a_chunk_that_fell_out_while_it_was_sent_settles_nothing_else() -> None:
    """A chunk in flight whose samples fall out meanwhile does not take the newer ones with it."""
    spool = Spool(["main"], max_samples=2)
    spool.append(sample(1))
    in_flight = spool.read("main", max_values=100)
    assert in_flight is not None
    for number in (2, 3, 4):
        spool.append(sample(number))
    spool.settle("main", in_flight, Outcome(accepted=2))
    assert clocks(spool.read("main", max_values=100)) == [3, 3, 4, 4]


actions = st.one_of(
    st.just("append"),
    st.tuples(st.sampled_from("ab"), st.sampled_from(["accept", "reject", "keep"]), st.integers(1, 9)),
)


@given(st.lists(actions, max_size=60))
def test_each_gets_every_sample_once_in_order(script: list[str | tuple[str, str, int]]) -> None:
    """Whatever the order of appends, deliveries, refusals and failures: exactly once, in order, at each destination."""
    spool, appended, got = Spool(["a", "b"]), 0, defaultdict[str, list[int]](list)
    for action in script:
        if isinstance(action, str):
            appended += 1
            spool.append(sample(appended, values=1))
            continue
        name, verdict, max_values = action
        chunk = spool.read(name, max_values=max_values)
        if chunk is None:
            continue
        count = len(chunk.items)
        outcomes = {"accept": Outcome(accepted=count), "reject": Outcome(rejected=count), "keep": Outcome(kept=count)}
        spool.settle(name, chunk, outcomes[verdict])
        if verdict != "keep":
            got[name] += clocks(chunk)
    for name in "ab":
        got[name] += clocks(spool.read(name, max_values=10**9))
        assert got[name] == list(range(1, appended + 1))
