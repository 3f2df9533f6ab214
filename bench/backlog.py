"""The backlog of `python -m bench.drain`: its values, as a spool holds them and as `zabbix_sender -i` reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.items import KEYS
from sender.model import Item
from sender.spool.sample import Limits
from sender.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEP_S = 30  # the default interval: 200,000 values are what a host takes in a day and a half
WEEK_S, MAX_BYTES = 7 * 86_400, 256 * 2**20  # the defaults of spool.max_age and spool.max_size
DESTINATION = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The samples of one host, of which the newest was taken at `newest`, s since 1970."""

    host: str
    samples: int
    newest: int

    def __len__(self) -> int:
        return self.samples * len(KEYS)

    def __iter__(self) -> Iterator[list[Item]]:
        """Sample by sample. No value equals the one before: of the version, Zabbix would store only one a day."""
        for number in range(self.samples):
            clock = self.newest - STEP_S * (self.samples - 1 - number)
            yield [
                Item(host=self.host, key=key, value=_value(key, number), clock=clock, ns=600_000 + number)
                for key in KEYS
            ]

    def write_spool(self, path: Path) -> None:
        """As the daemon would have done."""
        spool = Spool(str(path), [DESTINATION], Limits(max_age_s=WEEK_S, max_bytes=MAX_BYTES))
        for items in self:
            spool.append(items)
        spool.close()

    def write_config(self, path: Path, port: int, spool: Path, *, compression: bool) -> None:
        """For a daemon that takes a sample every second while it drains `spool`."""
        destination = {"name": DESTINATION, "nodes": [f"127.0.0.1:{port}"], "compression": compression}
        settings = {"host": self.host, "interval": "1s", "destinations": [destination], "spool": {"path": str(spool)}}
        path.write_text(json.dumps(settings))

    def write_lines(self, path: Path) -> None:
        """For `zabbix_sender -T -N -i`."""
        with path.open("w") as file:
            for items in self:
                file.writelines(f"{i.host} {i.key} {i.clock} {i.ns} {i.value}\n" for i in items)


def _value(key: str, number: int) -> str:
    match key:
        case "tcp.sender.version":
            return f"0.0.{number}"
        case "tcp.sender.sample.time":
            return f"0.{number % 100_000:06d}"
        case _:
            return str((number + len(key)) * 37 % 5_000)
