"""A sample as the spool keeps it: what goes in comes out."""

from __future__ import annotations

import json
import zlib

from sender.model import Item
from sender.spool.sample import Sample

NOW, BEFORE = (1_700_000_030, 7), (1_700_000_000, 999_999_999)


def item(key: str, value: str, moment: tuple[int, int] = NOW, port: str = "") -> Item:
    """Return one value of this host."""
    clock, ns = moment
    return Item(host="web-01", key=key, value=value, clock=clock, ns=ns, port=port)


ITEMS = (
    item("tcp.listen.drops[443]", "0", BEFORE, port="443"),
    item("tcp.counter[ListenDrops]", "4", BEFORE),
    item("tcp.status[TOTAL]", "5"),
    item("tcp.status[ESTABLISHED,443]", "5", port="443"),
    item("tcp.listen.drops[443]", "60", port="443"),
)


def test_values_of_another_moment_keep_it() -> None:
    """The value before a change has the moment of the sample before; all else has that of the sample, and each its port."""
    sample = Sample.of(ITEMS, last=5)
    assert (sample.clock, sample.ns) == NOW
    assert tuple(sample.items()) == ITEMS


def test_the_same_second_is_another_moment_by_its_ns() -> None:
    """Two samples a second may begin within one."""
    items = (item("tcp.counter[ListenDrops]", "4", (NOW[0], 6)), item("tcp.status[TOTAL]", "5"))
    assert tuple(Sample.of(items, last=2).items()) == items


def test_a_moment_costs_only_where_it_is_another() -> None:
    """Most values have two fields, as in a spool that an older release has written, which is read like that."""
    rows = json.loads(zlib.decompress(Sample.of(ITEMS, last=5).body))
    assert [len(row) for row in rows] == [4, 4, 2, 2, 2]
    old = Sample(1, "web-01", *NOW, zlib.compress(b'[["tcp.status[TOTAL]","5"]]'))
    assert tuple(old.items()) == (item("tcp.status[TOTAL]", "5"),)
