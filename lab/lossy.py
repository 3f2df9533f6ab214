"""A path between two network namespaces that loses packets: a TUN device in each, and a thread in between. Needs root."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.every_state import IFF_NO_PI, IFF_TUN, TUN, TUNSETIFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.namespace import Namespace

NEAR, FAR = "192.0.2.1", "192.0.2.2"
_LARGEST = 65536


def _device(address: str) -> int:
    """Return a TUN device of the namespace that this thread is in, which ends with it."""
    tun = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"lossy", IFF_TUN | IFF_NO_PI))
    commands = f"link set lossy up\naddr add {address}/24 dev lossy\n"
    subprocess.run(["ip", "-batch", "-"], check=True, text=True, input=commands)
    return tun


@contextmanager
def lossy(near: Namespace, far: Namespace, is_lost: Callable[[int], bool]) -> Iterator[None]:
    """Join the two, where they are NEAR and FAR. Of the packets from `near`, those are lost whose number `is_lost`."""
    tuns = near.call(lambda: _device(NEAR)), far.call(lambda: _device(FAR))
    ending, end = os.pipe()

    def carry() -> None:
        number = 0
        while True:
            ready, _, _ = select.select([*tuns, ending], [], [])
            if ending in ready:
                return
            for tun in ready:
                packet = os.read(tun, _LARGEST)
                if packet[0] >> 4 != 4:
                    continue
                if tun == tuns[0]:
                    number += 1
                    if is_lost(number):
                        continue
                os.write(tuns[tun == tuns[0]], packet)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(end, b".")
        thread.join()
        for each in (*tuns, ending, end):
            os.close(each)
