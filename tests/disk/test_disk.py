"""The daemon on a disk that is full, read-only, damaged or gone: it samples on, delivers, loses nothing and says so."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lab.disk import EXT4, Disk
from lab.keys import STEADY
from lab.program import standing_still
from lab.trapper import Trapper, accept
from lab.watched_daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NO_SAMPLES = "cannot write the spool"
AGAIN = "writing the spool works again"


def clocks(trapper: Trapper) -> list[int]:
    """Return the moments of the samples that a trapper has accepted, in their order of arrival; each must be whole."""
    found = [value["clock"] for value in trapper.host_values]
    assert found == [clock for clock in found[:: len(STEADY)] for _ in STEADY]
    return found[:: len(STEADY)]


def assert_no_hole(found: list[int]) -> None:
    """Every second has its sample, once, in order."""
    assert found == list(range(found[0], found[0] + len(found)))


def nothing(_: object) -> bytes:
    """Return a destination that is away."""
    return b""


def returns(away: Trapper) -> None:
    """From now on, everything is accepted; `requests` are those that are."""
    away.requests.clear()
    away.answer = accept


def test_a_disk_that_somebody_fills(start: Callable[..., Any], config: Callable[..., Path], disk: Disk) -> None:
    """One destination goes on live; the other, away until there is room again, gets every sample; two lines of log."""
    with Trapper(nothing) as away, Trapper() as live:
        daemon = start("run", "--config", config(disk.at / "spool.db", away.port, live.port), within=disk)
        live.wait_for(2)
        disk.fill()
        daemon.until(NO_SAMPLES)
        live.wait_for(len(live.requests) + 3)
        disk.free()
        daemon.until(AGAIN)
        returns(away)
        daemon.until("d0: delivery works again")
        live.wait_for(len(live.requests) + 2)
        assert daemon.stop() == 0
    assert_no_hole(clocks(live))
    assert clocks(away) == clocks(live)
    assert (daemon.said(NO_SAMPLES), daemon.said(AGAIN), daemon.said("lost if the daemon stops")) == (1, 1, 1)
    assert "database or disk is full" in "".join(daemon.log)


FILL = """
import sys, time
from sender.model import Item
from sender.spool.spool import Spool
from sender.spool.sample import Limits
from lab.keys import STEADY
from lab.program import standing_still
spool, count = Spool(sys.argv[1], ["d0"], Limits(max_age_s=1e6, max_bytes=2**28)), 0
begin = int(time.time()) - 5000
while not spool.in_memory:
    count += 1
    spool.append([Item(host="web-01", key=key, value="1", clock=begin + count, ns=1) for key in STEADY])
spool.close()
print(begin + 1, count - 1)
"""


def test_a_disk_that_the_spool_itself_fills(start: Callable[..., Any], config: Callable[..., Path], disk: Disk) -> None:
    """With max_size larger than the disk, all that was on it and in memory arrives, and the room is given back unasked."""
    first, count = map(int, disk.run(sys.executable, "-c", FILL, disk.at / "spool.db").split())
    assert count > 1000
    with Trapper(nothing) as away:
        daemon = start("run", "--config", config(disk.at / "spool.db", away.port), within=disk)
        daemon.until("d0: delivery failed")
        returns(away)
        daemon.until("d0: delivery works again")
        wait_until(
            lambda: len(away.host_values) >= (count + 3) * len(STEADY), "what was there and three samples more arrive"
        )
        assert daemon.stop() == 0
    found = clocks(away)
    assert found[:count] == list(range(first, first + count)), "".join(daemon.log)
    assert_no_hole(found[count:])
    assert (disk.seen / "spool.db").stat().st_size < 50_000
    assert not (disk.seen / "spool.db-wal").exists()


def test_a_disk_that_becomes_read_only(start: Callable[..., Any], config: Callable[..., Path], tmp_path: Path) -> None:
    """Files that cannot be written any more, then can again: samples are held, delivered and written meanwhile and later."""
    with Disk(tmp_path / "disk", "4M", EXT4) as disk, Trapper(nothing) as away, Trapper() as live:
        daemon = start("run", "--config", config(disk.at / "spool.db", away.port, live.port), within=disk)
        live.wait_for(2)
        files = [disk.at / "spool.db", disk.at / "spool.db-wal"]
        disk.run("chattr", "+i", disk.at, *files)
        daemon.until(NO_SAMPLES)
        live.wait_for(len(live.requests) + 3)
        disk.run("chattr", "-i", disk.at, *files)
        daemon.until(AGAIN)
        returns(away)
        daemon.until("d0: delivery works again")
        assert daemon.stop() == 0
    assert_no_hole(clocks(live))
    assert clocks(away) == clocks(live)
    assert daemon.said(NO_SAMPLES) in (1, 2)  # SQLite first fails to write, then does not find it writable
    assert daemon.said(AGAIN) == 1


def read_only(disk: Disk) -> Callable[[], object]:
    """Make the disk so; what makes it better."""
    disk.run("mount", "-o", "remount,ro", disk.at)
    return lambda: disk.run("mount", "-o", "remount,rw", disk.at)


def full(disk: Disk) -> Callable[[], object]:
    """Make the disk so; what makes it better."""
    disk.fill()
    return disk.free


def missing(disk: Disk) -> Callable[[], object]:
    """Let something else stand where the directory should be; what makes it better."""
    (disk.seen / "place").touch()
    return (disk.seen / "place").unlink


@pytest.mark.parametrize("trouble", [read_only, full, missing])
def test_a_daemon_that_starts_without_a_disk(
    start: Callable[..., Any], config: Callable[..., Path], disk: Disk, trouble: Callable[[Disk], Callable[[], object]]
) -> None:
    """It starts, says what is wrong, delivers from memory, and keeps on the disk what waits as soon as it can."""
    better = trouble(disk)
    with Trapper(nothing) as away, Trapper() as live:
        path = config(disk.at / "place" / "spool.db", away.port, live.port)
        daemon = start("run", "--config", path, within=disk)
        daemon.until(NO_SAMPLES)
        live.wait_for(3)
        better()
        daemon.until(AGAIN)
        taken = len(clocks(live))
        daemon.kill()
        returns(away)
        again = start("run", "--config", path, within=disk)
        away.wait_for(2)
        assert again.stop() == 0
    assert clocks(away)[:taken] == clocks(live)[:taken]
    assert_no_hole(clocks(live)[:taken])
    assert (daemon.said(NO_SAMPLES), daemon.said(AGAIN), again.said("empty file")) == (1, 1, 0)


def emptied(path: Path) -> None:
    """Cut to nothing."""
    os.truncate(path, 0)


def halved(path: Path) -> None:
    """Cut in half."""
    os.truncate(path, path.stat().st_size // 2)


def noise(path: Path) -> None:
    """Overwritten."""
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize("damage", [emptied, halved, noise])
def test_a_damaged_spool(
    start: Callable[..., Any],
    config: Callable[..., Path],
    tmp_path: Path,
    damage: Callable[[Path], None],
    end: str,
    *,
    stopped: bool,
) -> None:
    """Whichever file is cut or overwritten, under the running daemon or the killed one: samples and deliveries go on."""
    with Trapper(nothing) as away, Trapper() as live:
        path = config(tmp_path / "spool.db", away.port, live.port)
        daemon = start("run", "--config", path)
        live.wait_for(2)
        if stopped:
            daemon.kill()
        before = len(clocks(live))
        damage(tmp_path / f"spool.db{end}")
        if stopped:
            daemon = start("run", "--config", path)
        live.wait_for(before + 3)
        returns(away)
        live.wait_for(len(live.requests) + 2)
        wait_until(lambda: away.requests and clocks(away)[-1] >= clocks(live)[before + 2], "the other has them too")
        assert daemon.stop() == 0
    found, lived = clocks(away), clocks(live)
    assert found == sorted(set(found))
    assert set(found) <= set(lived)
    assert_no_hole([*lived[before + 1 :]])
    if not stopped:
        assert_no_hole(lived)
    if set(lived) - set(found):
        words = ("is damaged (", "lost its newest values")
        assert sum(map(daemon.said, words)) == 1, "".join(daemon.log)


def test_a_directory_that_is_removed_and_cannot_be_written(
    start: Callable[..., Any], config: Callable[..., Path], tmp_path: Path
) -> None:
    """Removed with rm -rf, and an immutable directory in its place: what waited is saved to memory, and to the disk when it can be."""
    with Disk(tmp_path / "disk", "4M", EXT4) as disk, Trapper(nothing) as away, Trapper() as live:
        path = config(disk.at / "place" / "spool.db", away.port, live.port)
        daemon = start("run", "--config", path, within=disk)
        live.wait_for(2)
        place = disk.at / "place"
        with standing_still(daemon.process):  # in between it would find another reason, and say that, too
            disk.run("sh", "-ec", f"rm -rf {place}; mkdir {place}; chattr +i {place}")
        daemon.until(NO_SAMPLES)
        live.wait_for(len(live.requests) + 2)
        disk.run("chattr", "-i", place)
        daemon.until(AGAIN)
        returns(away)
        daemon.until("d0: delivery works again")
        assert daemon.stop() == 0
    assert_no_hole(clocks(live))
    assert clocks(away) == clocks(live)
    assert (daemon.said("is damaged (removed or replaced)"), daemon.said(NO_SAMPLES), daemon.said(AGAIN)) == (1, 1, 1)
