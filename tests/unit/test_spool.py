"""The spool: every destination gets every sample once, in order, over any restart; what falls out is the oldest, counted."""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.spools import NOW, WEEK, numbers, opened, sample, settle
from sender.errors import TakenError
from sender.model import Item, Outcome
from sender.spool.reader import read_note
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=[":memory:", "file"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """Yield what makes a spool of either kind."""
    made: list[Spool] = []

    def spool(*names: str, **settings: Any) -> Spool:
        path = ":memory:" if request.param == ":memory:" else tmp_path / "spool.db"
        made.append(opened(path, *names, **settings))
        return made[-1]

    yield spool
    for each in made:
        each.close()


def test_an_empty_spool_has_nothing_to_read(spool: Callable[..., Spool]) -> None:
    """Nothing waits before the first sample, nor after the last was settled."""
    subject = spool("main")
    assert subject.read("main", max_values=100) is None
    subject.append(sample(1))
    settle(subject, "main")
    assert subject.read("main", max_values=100) is None
    assert subject.backlog == subject.queued("main") == 0


def test_items_come_back_as_they_went_in(spool: Callable[..., Spool]) -> None:
    """Host, key, value and moment survive, whatever characters they have."""
    subject = spool("main")
    items = tuple(Item(host="web 01", key=f'k["\u20ac",{n}]', value=f'\u00fc"\n{n}', clock=NOW, ns=9) for n in range(3))
    subject.append(items)
    chunk = subject.read("main", max_values=100)
    assert chunk is not None
    assert chunk.items == items


def test_a_chunk_is_whole_samples_oldest_first(spool: Callable[..., Spool]) -> None:
    """A chunk holds as many whole samples as fit, but at least one, in order."""
    subject = spool("main")
    for number in range(1, 6):
        subject.append(sample(number))
    assert numbers(subject.read("main", max_values=5)) == [1, 1, 2, 2]
    assert numbers(subject.read("main", max_values=1)) == [1, 1]
    assert numbers(subject.read("main", max_values=100)) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_chunk_is_of_one_host(spool: Callable[..., Spool]) -> None:
    """Zabbix decides on redirects by the first host of a request, so a chunk ends where the host changes."""
    subject = spool("main")
    subject.append(sample(1, host="old"))
    subject.append(sample(2, host="new"))
    assert numbers(settle(subject, "main")) == [1, 1]
    assert numbers(settle(subject, "main")) == [2, 2]


def test_nothing_is_gone_before_it_is_settled(spool: Callable[..., Spool]) -> None:
    """Reading removes nothing; neither does an outcome that keeps any of the chunk."""
    subject = spool("main")
    subject.append(sample(1))
    first = settle(subject, "main", Outcome(kept=2), "connection refused")
    assert subject.read("main", max_values=100) == first
    assert subject.queued("main") == 2


def test_rejected_is_settled_and_counted(spool: Callable[..., Spool]) -> None:
    """What Zabbix refused is not sent again for ever, and shows in the count."""
    subject = spool("main")
    subject.append(sample(1))
    settle(subject, "main", Outcome(accepted=1, rejected=1))
    assert subject.read("main", max_values=100) is None
    assert subject.rejected == 1


def test_each_destination_goes_at_its_own_pace(spool: Callable[..., Spool]) -> None:
    """One destination that settles nothing takes nothing from another, nor gets less itself."""
    subject = spool("fast", "slow")
    for number in (1, 2):
        subject.append(sample(number))
        assert numbers(settle(subject, "fast")) == [number, number]
    assert subject.queued("fast") == 0
    assert subject.queued("slow") == subject.backlog == 4
    assert numbers(settle(subject, "slow")) == [1, 1, 2, 2]
    assert subject.backlog == 0


def test_past_its_age_the_oldest_falls_out(spool: Callable[..., Spool], caplog: pytest.LogCaptureFixture) -> None:
    """What is older than max_age is thrown away with the next sample, counted, and said once an hour, not each time."""
    elapsed = [0.0]
    subject = spool("main", limits=Limits(max_age_s=1000, max_bytes=2**28), elapsed=lambda: elapsed[0])
    for number in range(6):
        subject.append(sample(number))
    for number in range(6, 9):
        elapsed[0] += 1.5
        subject.append(sample(number))
    assert numbers(settle(subject, "main")) == [number for number in (5, 6, 7, 8) for _ in range(2)]
    assert subject.dropped == 10
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "sender.spool.messages")
    assert "spool.max_age reached" in record.getMessage()
    assert "4 values" in record.getMessage()
    elapsed[0] += 3600
    subject.append(sample(9))
    assert subject.read("main", max_values=100) is None
    assert subject.dropped == 12
    assert len(caplog.records) == 2


def test_what_falls_out_in_flight_is_lost_only_if_it_fails(spool: Callable[..., Spool]) -> None:
    """A chunk whose samples reach their age while they are sent settles nothing else, and counts as lost only if kept."""
    for outcome, lost in ((Outcome(accepted=2), 0), (Outcome(kept=2), 2)):
        elapsed = [0.0]
        limits = Limits(max_age_s=1000, max_bytes=2**28)
        subject = spool("main", limits=limits, elapsed=lambda elapsed=elapsed: elapsed[0])
        subject.append(sample(1))
        in_flight = subject.read("main", max_values=100)
        assert in_flight is not None
        elapsed[0] = 2.5
        subject.append(sample(3))
        assert subject.dropped == 0
        subject.settle("main", in_flight, outcome)
        assert subject.dropped == lost
        assert numbers(settle(subject, "main")) == [3, 3]
        assert subject.dropped == lost
        subject.close()


def test_a_wall_clock_that_jumps_throws_nothing_away(tmp_path: Path) -> None:
    """Age is not measured by a clock that somebody may set to another year."""
    wall = [float(NOW)]
    subject = Spool(str(tmp_path / "spool.db"), ["main"], WEEK, now=lambda: wall[0])
    subject.append(sample(0))
    wall[0] += 10 * 365 * 86400
    subject.append(tuple(Item(host="web-01", key="key", value="1", clock=int(wall[0]), ns=1) for _ in range(2)))
    assert subject.queued("main") == 4
    assert subject.dropped == 0
    subject.close()


def test_a_wall_clock_that_is_set_back_throws_nothing_away(tmp_path: Path) -> None:
    """What is sampled after the clock was wrong, by years, is not too old; nor is it when the clock is wrong again."""
    wall = [NOW + 10 * 365 * 86400.0]
    subject = Spool(str(tmp_path / "spool.db"), ["main"], WEEK, now=lambda: wall[0], elapsed=lambda: 0.0)
    for now in (NOW, wall[0]):
        wall[0] = float(now)
        subject.append(tuple(Item(host="web-01", key="key", value="1", clock=int(now), ns=1) for _ in range(2)))
    assert subject.queued("main") == 4
    assert subject.dropped == 0
    subject.close()


def test_what_waits_survives_a_restart(tmp_path: Path) -> None:
    """A new daemon goes on exactly where the one before ended, for each destination, also after an idle end."""
    path = tmp_path / "spool.db"
    subject = opened(path, "a", "b")
    for number in (1, 2, 3):
        subject.append(sample(number))
    first = subject.read("a", max_values=4)
    assert first is not None
    subject.settle("a", first, Outcome(accepted=4))
    subject.close()
    subject = opened(path, "a", "b")
    assert (subject.queued("a"), subject.queued("b")) == (2, 6)
    subject.append(sample(4))
    assert numbers(settle(subject, "a")) == [3, 3, 4, 4]
    assert numbers(settle(subject, "b")) == [1, 1, 2, 2, 3, 3, 4, 4]
    subject.close()
    subject = opened(path, "a", "b")
    assert subject.backlog == 0
    subject.append(sample(5))
    assert numbers(settle(subject, "a")) == [5, 5]
    subject.close()


# As the first daemon with schema 2 wrote it: three samples of two values, of which `main` has settled the first.
EARLIER = """
PRAGMA application_id = 1952673907;
PRAGMA user_version = 2;
PRAGMA auto_vacuum = FULL;
PRAGMA journal_mode = WAL;
CREATE TABLE sample (last INTEGER PRIMARY KEY, host TEXT, clock INTEGER, ns INTEGER, body BLOB, crc INTEGER);
CREATE TABLE destination (name TEXT PRIMARY KEY, settled INTEGER, dropped INTEGER, rejected INTEGER,
    succeeded_at INTEGER, failing_since INTEGER, error TEXT, known TEXT);
INSERT INTO destination VALUES
    ('main', 2, 0, 1, 1795401000, 0, '', '443'), ('dr', 0, 0, 0, 0, 1795401000, 'connection refused', '');
INSERT INTO sample VALUES
    (2, 'web-01', 1795400030, 7,
    X'78018B8E562A492ED02B2E492C292D8E0EF10F71F48955D25132548AD54191F1F10C0E71F5D3313131864AC702002F6011DB',
    1927903662),
    (4, 'web-01', 1795400060, 7,
    X'78018B8E562A492ED02B2E492C292D8E0EF10F71F48955D25132528AD54191F1F10C0E71F5D3313131864AC702002F8711DD',
    86760698),
    (6, 'web-01', 1795400090, 7,
    X'78018B8E562A492ED02B2E492C292D8E0EF10F71F48955D25132568AD54191F1F10C0E71F5D3313131864AC702002FAE11DF',
    1364394766);
"""


def test_a_spool_of_an_earlier_daemon_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is queued in a file of an earlier daemon is delivered, and what it knew is known."""
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(EARLIER)
    subject = opened(path, "main", "dr")
    assert (subject.known("main"), subject.failing_s("dr"), subject.dropped) == (["443"], 0.0, 0)
    subject.append(sample(100))
    expected = [(NOW + 30 * n, key, str(n)) for n in (2, 3) for key in ("tcp.status[TOTAL]", "tcp.status[LISTEN,443]")]
    main = [(item.clock, item.key, item.value) for item in settle(subject, "main").items]
    assert main[:-2] == expected
    assert numbers(settle(subject, "dr")) == [30, 30, 60, 60, 90, 90, 100, 100]
    subject.close()
    assert caplog.records == []


def test_a_new_destination_gets_what_still_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A destination that was renamed, while its values wait, loses none of them; at a restart as at a reload."""
    path = tmp_path / "spool.db"
    subject = opened(path, "a", "old")
    subject.append(sample(1))
    settle(subject, "a")
    subject.serve(["a", "new"], WEEK)
    assert subject.read("old", max_values=100) is None
    assert (subject.queued("a"), subject.queued("new"), subject.queued("old")) == (0, 2, 0)
    subject.close()
    subject = opened(path, "a", "newest")
    assert numbers(settle(subject, "newest")) == [1, 1]
    assert subject.read("a", max_values=100) is None
    subject.close()
    old, new = (record.getMessage() for record in caplog.records)
    assert "destination old is not configured any more: dropped 2 values" in old
    assert "destination new is not configured any more: dropped 2 values" in new


def test_what_only_a_removed_destination_lacked_is_gone(tmp_path: Path) -> None:
    """Samples that nobody waits for any more do not stay in the file."""
    subject = opened(tmp_path / "spool.db", "a", "b")
    subject.append(sample(1))
    settle(subject, "a")
    subject.serve(["a"], WEEK)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        assert db.execute("SELECT count(*) FROM sample").fetchone() == (0,)
    subject.close()


def test_a_removed_destination_takes_no_figure_away(spool: Callable[..., Spool]) -> None:
    """What it rejected and lost stays in the sums, or as much would not be seen later; brought back, it adds what is new alone."""
    elapsed = [0.0]
    limits = Limits(max_age_s=1000, max_bytes=2**28)
    subject = spool("a", "b", limits=limits, elapsed=lambda: elapsed[0])
    subject.append(sample(1))
    chunk = subject.read("b", max_values=100)
    assert chunk is not None
    subject.settle("b", chunk, Outcome(rejected=2))
    subject.append(sample(2))
    elapsed[0] = 2000.0
    subject.append(sample(2999))  # the two before, of which b has settled the first, are too old now
    for names in (["a", "b"], ["a"], ["a", "b"]):
        subject.serve(names, limits)
        assert (subject.rejected, subject.dropped) == (2, 6)
    chunk = subject.read("b", max_values=100)
    assert chunk is not None
    subject.settle("b", chunk, Outcome(rejected=2))
    assert subject.rejected == 4


def test_a_chunk_of_a_removed_destination_settles_nothing(tmp_path: Path) -> None:
    """What was on the wire when the destination was taken out of the configuration is nobody's any more."""
    subject = opened(tmp_path / "spool.db", "a", "b")
    subject.append(sample(1))
    chunk = subject.read("b", max_values=100)
    assert chunk is not None
    subject.serve(["a"], WEEK)
    subject.settle("b", chunk, Outcome(rejected=2))
    assert (subject.rejected, subject.queued("a")) == (0, 2)
    subject.close()


def test_two_daemons_do_not_share_a_spool(tmp_path: Path) -> None:
    """The second is told by whom the spool is used; when the first has ended, it may have it."""
    path = tmp_path / "spool.db"
    subject = opened(path)
    with pytest.raises(
        TakenError, match=r"spool .*spool\.db is in use by process \d+: a tcp-status-sender runs already"
    ):
        opened(path)
    subject.close()
    opened(path).close()


actions = st.one_of(
    st.sampled_from(["append", "restart"]),
    st.tuples(st.sampled_from("ab"), st.sampled_from(["accept", "reject", "keep"]), st.integers(1, 9)),
)


@given(st.lists(actions, max_size=40))
def test_each_gets_every_sample_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, script: list[str | tuple[str, str, int]]
) -> None:
    """Whatever the order of appends, deliveries, refusals, failures and restarts: exactly once, in order, everywhere."""
    path = tmp_path_factory.mktemp("any") / "spool.db"
    subject, appended, got = opened(path, "a", "b"), 0, defaultdict[str, list[int]](list)
    for action in script:
        if action == "restart":
            subject.close()
            subject = opened(path, "a", "b")
            continue
        if isinstance(action, str):
            appended += 1
            subject.append(sample(appended, values=appended % 3 + 1))
            continue
        name, verdict, max_values = action
        chunk = subject.read(name, max_values=max_values)
        if chunk is None:
            continue
        count = len(chunk.items)
        outcomes = {"accept": Outcome(accepted=count), "reject": Outcome(rejected=count), "keep": Outcome(kept=count)}
        subject.settle(name, chunk, outcomes[verdict])
        if verdict != "keep":
            got[name] += numbers(chunk)
    everything = [number for number in range(1, appended + 1) for _ in range(number % 3 + 1)]
    for name in "ab":
        assert subject.queued(name) == len(everything) - len(got[name])
        got[name] += numbers(subject.read(name, max_values=10**9))
        assert got[name] == everything
    subject.close()


def test_the_time_of_success_and_the_cause_of_failure_are_noted(tmp_path: Path) -> None:
    """What `status` shows stands in the file: last success, failing since, why; and outlives a restart."""
    path = tmp_path / "spool.db"
    subject = opened(path)
    subject.append(sample(1))
    settle(subject, "main")
    subject.append(sample(2))
    settle(subject, "main", Outcome(kept=2), "connection refused")
    subject.close()
    opened(path).close()
    with closing(sqlite3.connect(path)) as db:
        (row,) = db.execute("SELECT name, succeeded_at, failing_since, error FROM destination")
    assert row == ("main", NOW + 1000, NOW + 1000, "connection refused")


def test_the_log_is_silent_while_all_is_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A spool that works says nothing."""
    caplog.set_level(logging.DEBUG)
    subject = opened(tmp_path / "new" / "folder" / "spool.db")
    subject.append(sample(1))
    settle(subject, "main")
    subject.close()
    assert caplog.records == []


def test_a_note_outlives_a_restart(tmp_path: Path) -> None:
    """What sampling remembers is saved with a sample, in a file that had none before too; one that makes no sense is none."""
    path = tmp_path / "spool.db"
    opened(path, "main").close()
    assert read_note(str(path)) == ""
    for note, before in (("one", ""), ("two", "one"), ("", "two")):
        spool = opened(path, "main")
        assert spool.note == before
        spool.append(sample(1), note)
        spool.close()
    assert read_note(str(path)) == "two"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE note SET text = x'ff'")
    spool = opened(path, "main")
    assert (spool.note, spool.queued("main")) == ("", 6)
    spool.close()


def test_what_is_told_after_the_end_changes_nothing(tmp_path: Path) -> None:
    """A delivery that the end did not wait for finds a closed spool: another daemon may have the file by now."""
    spool = opened(tmp_path / "spool.db")
    spool.append(sample(1))
    chunk = spool.read("main", max_values=9)
    assert chunk
    spool.close()
    spool.settle("main", chunk, Outcome(accepted=2))
    spool.learn("main", ["443"])
    spool.append(sample(2))
    assert spool.read("main", max_values=9) is None
    again = opened(tmp_path / "spool.db")
    assert numbers(again.read("main", max_values=9)) == [1, 1]
    again.close()
