"""A sample of over a hundred thousand destinations, in a network namespace of the test's own. Needs root."""

from __future__ import annotations

import json
import sys

from lab.namespace import Namespace

FEW, MANY = 10_000, 120_000  # the first more than are told apart at any moment
EACH = 100  # of so many visits, one goes to the same destination
MOST_KIB = 1024  # without a bound it would be over 60,000

CODE = f"""
import json, re
from lab.destinations import prepare, visit
from sender.kernel.sock_diag import SockDiag
from sender.model import CountedPorts

def sampled(sampler):
    found = sampler.sample(CountedPorts(listening=True, owners=True, ephemeral=True))
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
    return found.ephemeral.used, found.ephemeral.destination, sum(found.states.values()), peak

sampler = SockDiag()
with prepare() as server:
    said = []
    for numbers in (range(1, {FEW}), range({FEW}, {MANY})):
        visit(server, (number if number % {EACH} else 0 for number in numbers))
        said.append(sampled(sampler))
print(json.dumps(said))
"""


def test_memory_is_bounded_however_many_destinations_there_are() -> None:
    """Twelve times as many do not take more, and the one that has most of the ports is found, with all of them."""
    with Namespace() as namespace:
        few, many = json.loads(namespace.run(sys.executable, "-I", "-c", CODE))
    worst = "10.0.0.1:80 from 10.0.0.1"
    assert few[:2] == [FEW // EACH - 1, worst]
    assert many[:2] == [MANY // EACH - 1, worst]
    assert many[2] == MANY  # with the listener
    assert many[3] - few[3] < MOST_KIB
