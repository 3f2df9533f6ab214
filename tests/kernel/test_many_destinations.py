"""A sample of over a hundred thousand destinations, in a network namespace of the test's own. Needs root."""

from __future__ import annotations

import json
import sys

from lab.namespace import Namespace

FEW, MANY = 10_000, 101_000  # the first more than are told apart at any moment
EACH = 50  # of so many visits, one goes to the same destination
MOST_KIB = 1024  # without a bound it would be over 50,000

CODE = rf"""
import json, re, subprocess
from itertools import count, islice
from lab.destinations import prepare, visit
from sender.kernel.sock_diag import SockDiag
from sender.kernel.sockstat import read_sockstat
from sender.model import CountedPorts

def seen():
    found = sampler.sample(CountedPorts(listening=True, owners=True, ephemeral=True))
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
    return [found.ephemeral.destination, found.ephemeral.used, sum(found.states.values())], peak

def shown():
    command = "ss -Htan | awk '$5 == \"10.0.0.1:80\" {{n++}} END {{print n, NR}}'"
    return [int(word) for word in subprocess.check_output(["sh", "-c", command]).split()]

sampler = SockDiag()
numbers = (number if number % {EACH} else 0 for number in count(1))
with prepare() as server:
    visit(server, islice(numbers, {FEW}))
    _, before = seen()
    while read_sockstat().time_wait < {MANY}:
        visit(server, islice(numbers, 1000))
    for _ in range(5):
        most, (found, after), least = shown(), seen(), shown()
        if most == least:  # nothing was on its way
            break
    print(json.dumps([most, found, least, after - before]))
"""


def test_memory_is_bounded_however_many_destinations_there_are() -> None:
    """Ten times as many do not take more; the one that has most of the ports is found, with as many as `ss` has."""
    with Namespace() as namespace:
        most, (destination, used, sockets), least, growth_kib = json.loads(
            namespace.run(sys.executable, "-I", "-c", CODE)
        )
    assert destination == "10.0.0.1:80 from 10.0.0.1"
    # On a slow machine the first of them have begun to end.
    assert least[0] <= used <= most[0]
    assert least[1] <= sockets <= most[1]
    assert most[1] > 100_000
    assert used > MANY / EACH * 0.9
    assert growth_kib < MOST_KIB
