"""An uplink that fails thousands of times leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.trapper import MUTE, RESET, Trapper, packet, redirect
from lab.uplinks import ITEMS, uplink
from sender.errors import DeliveryError
from sender.settings import section
from sender.settings.schema import Destination
from sender.zabbix.uplink import Uplink

OPEN = Path("/proc/self/fd")


@pytest.mark.heavy
def test_ten_thousand_failures_leave_nothing_open(dead_port: int) -> None:
    """Ten thousand failed sends of every kind leave no file descriptor behind."""
    before = len(list(OPEN.iterdir()))
    answers: list[bytes] = [RESET, b"", b"SSH-2.0-OpenSSH_9.2p1\r\n", packet(b"{", announced=9), redirect(reset=True)]
    with Trapper() as trapper, Trapper(lambda _: MUTE) as mute, Trapper() as one, Trapper() as other:
        one.answer = lambda _: redirect(revision=1, address=other.node)
        other.answer = lambda _: redirect(revision=1, address=one.node)
        impatient = replace(section.read(Destination, {"nodes": [mute.node]}), timeout=0.001)
        subjects = [uplink(dead_port), uplink(one.port), uplink(dead_port, trapper.port), Uplink(impatient)]
        for number in range(10_000):
            trapper.answer = lambda _, number=number: answers[number // len(subjects) % len(answers)]  # type: ignore[misc]
            with pytest.raises(DeliveryError):
                subjects[number % len(subjects)].send(ITEMS[:1])
    assert len(list(OPEN.iterdir())) == before
