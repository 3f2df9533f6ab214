"""The daemon for an hour, every second, while all around it goes wrong at random. Not part of `make test`: `make soak-faults`.

Rounds: in each, something goes wrong on the way to Zabbix, at a second destination and on the host, all at once; then
everything is well until nothing waits any more, and the daemon is measured. In the first third of the time it is
stopped and killed too; after that it lives to the end, so that it can be seen not to grow.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab.command import COMMAND
from lab.daemon import Daemon
from lab.disk import Disk
from lab.faults import AT_THE_OTHER, OF_ITS_LIFE, ON_THE_HOST, ON_THE_WAY, Capricious, Fault, Scene
from lab.keys import STEADY
from lab.relay import Relay
from lab.sizes import Recorder, Sizes, medians
from lab.traffic import Traffic
from lab.zabbix_stack import ZabbixStack, free_ports
from sender.items import DISCOVERIES, KEYS, port_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pytest

    from lab.faults import Row, Taken

MINUTES = float(os.environ.get("MINUTES", "60"))
SEED = os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6))
HOST = "a host in trouble"
RESTARTS = 1 / 3  # of the time, with ends of the daemon
LENGTHS_S = (3, 8, 20, 45) if MINUTES >= 20 else (3, 5, 8)
QUIET_S = 8
DRAINED_S = 300  # a minute between two attempts, and whatever a busy machine takes
SAMPLE_S = 0.5  # what a sample may take on a busy machine, until it is safe

# What may be larger late in the daemon's long life than early: 24 minutes, in which a leak of 1 KiB per sample would be
# 1.4 MiB. In the minutes before, memory grows by what Python keeps of the first backlogs, and in a short run that is all.
# The spool may keep a journal of 256 KiB (journal_size_limit).
MAY_GROW = Sizes(
    rss_kib=1024 if MINUTES >= 30 else math.inf, peak_kib=math.inf, descriptors=0, threads=0, files_kib=256
)

Stamp = tuple[int, int]


def say(words: str) -> None:
    """To whoever follows the run (pytest -s)."""
    sys.stdout.write(f"{datetime.now():%H:%M:%S} {words}\n")  # noqa: DTZ005  the reader's own time
    sys.stdout.flush()


class Bag:
    """Draws each of `faults` once, in any order, then each again."""

    def __init__(self, faults: Sequence[Fault], lane: str) -> None:
        self.chance = random.Random(f"{SEED} {lane}")  # noqa: S311  no secret
        self._faults = faults
        self._left: list[Fault] = []

    def draw(self) -> Fault:
        """Return the next one."""
        if not self._left:
            self._left = self.chance.sample(self._faults, len(self._faults))
        return self._left.pop()


class Soak:
    """Rounds of faults in `scene`, and what was noted of them."""

    def __init__(self, scene: Scene, witness: Capricious, recorder: Recorder, pool: ThreadPoolExecutor) -> None:
        self.scene = scene
        self.witness = witness
        self.recorder = recorder
        self.quiet: list[tuple[float, float]] = []
        self.rounds: list[float] = []  # when each began
        self.occurred: Counter[str] = Counter()
        self._pool = pool  # whose threads outlive all that is started in them

    def until(self, end: float, bags: Sequence[Bag]) -> None:
        """Make rounds until time.monotonic() is `end`."""
        while time.monotonic() < end:
            self.rounds.append(time.time())
            list(self._pool.map(self._undergo, bags))
            self.rest()

    def _undergo(self, bag: Bag) -> None:
        fault, daemon = bag.draw(), self.scene.daemon
        time.sleep(bag.chance.uniform(0, 5))
        length_s = bag.chance.choice(LENGTHS_S) * bag.chance.uniform(0.9, 1.3)
        since = len(daemon.log)
        say(f"{fault.name}, for {length_s:.0f} s")
        with fault.occur(self.scene, bag.chance):
            time.sleep(length_s)
            daemon.until(fault.begins, since, DRAINED_S)
        daemon.until(fault.ends, since, DRAINED_S)
        self.occurred[fault.name] += 1
        say(f"{fault.name}: over")

    def rest(self) -> None:
        """Until nothing waits, and some seconds more, in which the daemon is measured."""
        began = time.monotonic()
        waiting = {destination["name"] for destination in self.scene.settings["destinations"]}
        while waiting:
            status = self._status()
            waiting -= {each["name"] for each in status if not each["queued"]}
            assert time.monotonic() < began + DRAINED_S, f"still waits: {status}"
            time.sleep(0.2)
        aside = f"{self.scene.spool}.2*"  # what damaged spools were kept as
        self.scene.disk.run("sh", "-c", f"rm -f -- {aside}")
        start = time.time()
        time.sleep(QUIET_S)
        self.quiet.append((start, time.time()))
        found = self.sizes(self.quiet[-1:])
        say(
            f"nothing waits, after {start - self.rounds[-1] if self.rounds else 0:.0f} s; RSS {found.rss_kib:,.0f} KiB, "
            f"{found.descriptors:.0f} descriptors, {found.threads:.0f} threads, spool {found.files_kib:.0f} KiB"
        )

    def _status(self) -> list[dict[str, Any]]:
        """All wait where the spool cannot be read: SQLite, which has it in memory, may notice damage some samples later."""
        try:
            found = self.scene.disk.run(COMMAND, "status", "--json", "--config", self.scene.config)
        except subprocess.CalledProcessError as error:
            assert self.scene.damaged, error.stderr
            return [{"queued": error.stderr}]
        destinations: list[dict[str, Any]] = json.loads(found)["destinations"]
        return destinations

    def sizes(self, windows: Iterable[tuple[float, float]]) -> Sizes:
        """Return the medians of what was measured in these."""
        among = list(windows)
        return medians(size for at, _, size in self.recorder.noted if any(begin <= at <= end for begin, end in among))


class Books:
    """What one destination was given. `first`: when it got each sample, in the order in which it did."""

    def __init__(self, taken: Iterable[Taken], doubtful: Iterable[tuple[float, float]]) -> None:
        self.rows: Counter[Row] = Counter()
        self.first: dict[Stamp, float] = {}
        self._untold: set[Row] = set()
        self._unsure = [(begin - 2, end + 2) for begin, end in doubtful]
        for request in taken:
            is_unsure = not request.is_told or any(begin <= request.at <= end for begin, end in self._unsure)
            for row in request.rows:
                self.rows[row] += 1
                if row[2] in STEADY:
                    self.first.setdefault(row[:2], request.at)
                if is_unsure:
                    self._untold.add(row)

    @property
    def doubles(self) -> set[Row]:
        """Values that came more than once."""
        return {row for row, count in self.rows.items() if count > 1}

    def check(self) -> None:
        """In clock order; twice only what the sender could not know to have arrived."""
        assert list(self.first) == sorted(self.first)
        assert sorted(self.doubles - self._untold) == []


def test_nothing_is_lost_and_nothing_grows(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every sample of every second of each life reaches all three destinations, and the long life ends as small as it began."""
    say(f"SEED={SEED} MINUTES={MINUTES:g}")
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3))
        soak = scene(stack, tmp_path_factory.mktemp("soak"), pool)
        lanes = (Bag(ON_THE_WAY, "way"), Bag(AT_THE_OTHER, "other"))
        begin, seconds = time.monotonic(), MINUTES * 60
        try:
            soak.rest()
            soak.until(begin + seconds * RESTARTS, (*lanes, Bag((*OF_ITS_LIFE, *ON_THE_HOST), "host")))
            soak.scene.daemon.stop()
            soak.scene.daemon.start()
            soak.rounds.append(time.time())
            soak.rest()
            soak.until(begin + seconds, (*lanes, Bag(ON_THE_HOST, "host")))
            judge(soak)
        except BaseException:
            say(f"it fails; to repeat it: make soak-faults SEED={SEED} MINUTES={MINUTES:g}")
            raise


def scene(stack: ExitStack, directory: Path, pool: ThreadPoolExecutor) -> Soak:
    """Return a running daemon with three destinations and some traffic, in which nothing has happened yet."""
    template = subprocess.run([COMMAND, "template"], check=True, capture_output=True, text=True).stdout
    zabbix = stack.enter_context(ZabbixStack(directory))
    zabbix.import_template(template)
    zabbix.create_host(HOST, ["TCP states by Zabbix trapper"])
    zabbix.wait_for_items(HOST)
    relay = stack.enter_context(Relay(zabbix.trapper_port))
    other, witness = stack.enter_context(Capricious()), stack.enter_context(Capricious())
    disk = stack.enter_context(Disk(directory / "disk", "8M"))
    ports = free_ports(6)
    stack.enter_context(Traffic(ports, f"{SEED} traffic"))
    to = {"zabbix": relay.port, "other": other.port, "witness": witness.port}
    spool, config = disk.at / "place" / "spool.db", directory / "config.yaml"
    settings: dict[str, Any] = {
        "host": HOST,
        "interval": "1s",
        "destinations": [{"name": name, "nodes": [f"127.0.0.1:{port}"]} for name, port in to.items()],
        "ports": {"remote": ports[:1], "exclude": [zabbix.trapper_port, zabbix.web_port, *to.values()]},
        "spool": {"path": str(spool)},
    }
    config.write_text(json.dumps(settings))
    daemon = stack.enter_context(Daemon(config, disk))
    seen = disk.seen / "place"
    recorder = stack.enter_context(Recorder(lambda: daemon.pid, [seen / "spool.db", seen / "spool.db-wal"]))
    what = Scene(
        zabbix=zabbix, relay=relay, other=other, daemon=daemon, disk=disk, spool=spool, config=config, settings=settings
    )
    return Soak(what, witness, recorder, pool)


def judge(soak: Soak) -> None:
    """Whether all is where it should be, in what order, how often, and how large the daemon was."""
    scene = soak.scene
    soak.rest()
    scene.daemon.stop()  # it brings its last sample everywhere, which Zabbix has in memory for a while
    newest = max(row[:2] for row in soak.witness.taken[-1].rows)
    scene.zabbix.wait_until(lambda: stored(scene.zabbix, newest) >= len(STEADY), "it has the newest sample", 120)
    witness, other = Books(soak.witness.taken, scene.doubtful), Books(scene.other.taken, scene.doubtful)
    zabbix = Stored(scene, long_life_began=scene.daemon.lives[-1].began)
    truth = witness.rows.keys() | other.rows.keys()
    report(soak, truth, other, zabbix)
    say("judging")
    witness.check()
    other.check()
    zabbix.check_order()
    lost = [Loss("witness", truth - witness.rows.keys()), Loss("other", truth - other.rows.keys())]
    lost.append(Loss("zabbix", zabbix.missing(truth)))
    check_losses(soak, truth, lost)
    check_seconds(soak, truth)
    check_log(scene.daemon.log)
    assert {row[3] for row in truth if row[2] == "tcp.sender.rejected"} == {"0"}
    check_growth(soak)


def stored(zabbix: ZabbixStack, stamp: Stamp) -> int:
    """How many values of this moment are in the database."""
    both = "(select clock, ns from history union all select clock, ns from history_uint) as both_tables"
    return int(zabbix.query(f"select count(*) from {both} where clock = {stamp[0]} and ns = {stamp[1]};")[0][0])  # noqa: S608


def plain(value: str) -> float | str:
    """Return a number as one, as Zabbix writes it in its own way; a text as it is."""
    try:
        return float(value)
    except ValueError:
        return value


class Stored:
    """What Zabbix has: of the host all along, of ports in the long life, and in what order it came."""

    def __init__(self, scene: Scene, *, long_life_began: float) -> None:
        self.values = [
            (v.clock, v.ns, v.key, v.value)
            for v in scene.zabbix.history(HOST)
            if v.key not in DISCOVERIES and v.key != "tcp.sender.version"
        ]
        self._from = long_life_began
        self._exchanges = scene.relay.answered
        self.skipped = sum(map(int, re.findall(r"skipped (\d+) duplicates", scene.zabbix.server_log)))

    def missing(self, truth: Iterable[Row]) -> set[Row]:
        """Those of `truth` that should be there. Values of a port that was new to Zabbix end with the daemon."""
        found = {(clock, ns, key, plain(value)) for clock, ns, key, value in self.values}
        assert len(found) == len(self.values)
        due = (
            row
            for row in truth
            if row[2] not in DISCOVERIES and row[2] != "tcp.sender.version" and (row[2] in KEYS or row[0] >= self._from)
        )
        return {row for row in due if (*row[:3], plain(row[3])) not in found}

    def check_order(self) -> None:
        """Each sample that came for the first time was newer than all before."""
        seen: dict[Stamp, None] = {}
        for exchange in self._exchanges:
            for value in exchange.values:
                if value["key"] in STEADY:
                    seen.setdefault((value["clock"], value["ns"]))
        assert list(seen) == sorted(seen)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a destination lacks."""

    name: str
    rows: set[Row]


def check_losses(soak: Soak, truth: Iterable[Row], losses: Iterable[Loss]) -> None:
    """Only where the spool was damaged in that round, and no more than the daemon has counted."""
    lives = soak.scene.daemon.lives
    dropped: dict[int, int] = defaultdict(int)
    for clock, _, key, value in truth:
        if key == "tcp.sender.dropped":
            life = sum(each.began < clock for each in lives)
            dropped[life] = max(dropped[life], int(value))
    lost = 0
    for loss in losses:
        first_lives = {row for row in loss.rows if row[2] not in KEYS and row[0] < lives[-1].began}
        rest = loss.rows - first_lives  # of new ports, which were held in memory when a life ended
        say(f"{loss.name} lacks {len(rest)} values, and {len(first_lives)} of ports before the long life")
        unexplained = [row for row in rest if not any(begin <= row[0] <= end for begin, end in damages(soak))]
        assert sorted(unexplained)[:5] == []
        lost += len(rest)
    say(f"the daemon has counted {sum(dropped.values())} values as dropped")
    assert lost <= sum(dropped.values())


def damages(soak: Soak) -> Iterator[tuple[float, float]]:
    """From the begin of each round in which the spool was damaged: what waited then, and may be lost."""
    for began, ended in soak.scene.damaged:
        yield max(start for start in soak.rounds if start <= began) - 1, ended + 2


def check_seconds(soak: Soak, truth: Iterable[Row]) -> None:
    """Every second of each life has its sample, except those of which the log says that there is none."""
    daemon = soak.scene.daemon
    there = {row[0] for row in truth if row[2] == "tcp.status[TOTAL]"}
    due: set[int] = set()
    for life in daemon.lives:
        due |= set(range(math.ceil(life.began), math.floor(life.ended - SAMPLE_S) + 1))
    gaps, said = gaps_in(daemon.log)
    absent = sorted(second for second in due - there if not any(begin <= second <= end for begin, end in damages(soak)))
    unsaid = [second for second in absent if not any(begin - 1 <= second <= end for begin, end in gaps)]
    frozen = [(begin, end) for begin, end in soak.scene.doubtful if end > begin]
    busy = [second for second in absent if not any(begin - 2 <= second <= end + 2 for begin, end in frozen)]
    say(f"{len(due)} seconds, {len(absent)} without a sample, {said} said to be so, {len(busy)} by a busy machine")
    assert unsaid == []
    assert len(absent) <= said
    assert len(busy) <= len(due) / 100


def gaps_in(log: str) -> tuple[list[tuple[float, float]], int]:
    """From when to when the log says that there are no samples, and how many it says are missing."""
    gaps, said = [], 0
    for when, count, seconds in re.findall(
        r"^(\S+ \S+) WARNING (\d+) samples are missing: this process did not run for (\d+) s", log, re.MULTILINE
    ):
        end = datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007  the log's is the local time
        gaps.append((end - int(seconds) - 1, end))
        said += int(count)
    return gaps, said


def check_log(log: str) -> None:
    """No traceback, no trouble with the witness, and whatever began to fail works again."""
    assert "Traceback" not in log
    assert "witness: delivery failed" not in log
    for begins, ends in (
        ("zabbix: delivery failed", "zabbix: delivery works again"),
        ("other: delivery failed", "other: delivery works again"),
        ("cannot write the spool", "writing the spool works again"),
    ):
        assert log.rfind(begins) < log.rfind(ends)


def early_and_late(soak: Soak) -> tuple[Sizes, Sizes]:
    """In the quiet moments of the second and of the last fifth of the long life."""
    began = soak.scene.daemon.lives[-1].began
    quiet = [window for window in soak.quiet if window[0] > began]
    fifth = max(1, len(quiet) // 5)
    return soak.sizes(quiet[fifth : 2 * fifth]), soak.sizes(quiet[-fifth:])


def check_growth(soak: Soak) -> None:
    """Nothing is larger than it was, beyond MAY_GROW."""
    early, late = early_and_late(soak)
    for field in fields(Sizes):
        before, after = getattr(early, field.name), getattr(late, field.name)
        assert after <= before + getattr(MAY_GROW, field.name), f"{field.name} grew from {before} to {after}"


def report(soak: Soak, truth: Iterable[Row], other: Books, zabbix: Stored) -> None:
    """Print what happened, in figures."""
    early, late = early_and_late(soak)
    values = list(truth)
    samples = {row[:2] for row in values if row[2] in STEADY}
    lines = [f"{count:4} {name}" for name, count in sorted(soak.occurred.items())]
    lags_s = sorted(at - stamp[0] for stamp, at in Books(soak.witness.taken, ()).first.items())
    ports = {port_of(row[2]) for row in values} - {""}
    lines += [
        f"lives: {len(soak.scene.daemon.lives)}, the last one for {time.time() - soak.scene.daemon.lives[-1].began:,.0f} s",
        f"samples: {len(samples):,}; values: {len(values):,}, of {len(ports)} ports",
        f"in Zabbix: {len(zabbix.values):,} values; {zabbix.skipped:,} doubles skipped; {len(soak.scene.relay.cuts)} connections cut",
        f"at the other: {len(other.rows):,} values; {len(other.doubles):,} of them more than once",
        f"at the witness: half of the samples within {lags_s[len(lags_s) // 2]:.2f} s, the latest after {lags_s[-1]:.1f} s",
        f"{'':12} {'early':>10} {'late':>10} {'most':>10}",
    ]
    last = [size for _, pid, size in soak.recorder.noted if pid == soak.recorder.noted[-1][1]]
    for field in fields(Sizes):
        before, after = getattr(early, field.name), getattr(late, field.name)
        most = max(getattr(size, field.name) for size in last)
        lines.append(f"{field.name:12} {before:10,.0f} {after:10,.0f} {most:10,.0f}")
    say("\n".join(["in figures:", *lines]))
