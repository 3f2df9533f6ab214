"""Encryption in a process of its own, which is looked at from inside: what it leaves behind, and in which sandbox it works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab.tls_server import cert_server, psk_server
from lab.trapper import Trapper
from lab.uplinks import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Authority, Pair


CROWD = """
import json, sys
from pathlib import Path
from sender.settings import section
from sender.settings.schema import Destination
from lab.uplinks import ISSUER, ITEMS, KEY, SUBJECT, cert, error, psk
from sender.errors import DeliveryError
from sender.model import Item
from sender.zabbix.uplink import Uplink

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

subjects = [Uplink(section.read(Destination, each)) for each in json.loads(sys.argv[1])]
accepted = [0] * len(subjects)
for number in range(1200):
    try:
        accepted[number % len(subjects)] += subjects[number % len(subjects)].send([Item(host="h", key="k", value="1", clock=1, ns=1)]).accepted
    except DeliveryError:
        pass
    if number in (300, 1199):
        print(resident(), len(list(Path("/proc/self/fd").iterdir())))
print(*accepted)
"""


def test_many_connections_leave_nothing(psk_file: Path, authority: Authority, server: Pair, client: Pair) -> None:
    """More than a thousand encrypted sends of every outcome leave no file descriptor and no memory behind."""
    keys = {"connect": "psk", "psk_identity": "web", "psk_file": str(psk_file)}
    certs = {"connect": "cert", "ca_file": str(authority.ca), "cert_file": str(client.cert)}
    certs["key_file"] = str(client.key)
    with (
        Trapper(encrypted=psk_server(web=KEY)) as good,
        Trapper(encrypted=psk_server(web=bytes(32))) as wrong,
        Trapper(encrypted=cert_server(server, authority.ca)) as other,
        Trapper(lambda _: b"", reads=5) as rude,
    ):
        destinations = [
            {"nodes": [good.node], "tls": keys},
            {"nodes": [wrong.node], "tls": keys},
            {"nodes": [rude.node], "tls": keys},
            {"nodes": [good.node], "tls": {**keys, "psk_identity": "who"}},
            {"nodes": [other.node], "tls": certs},
            {"nodes": [other.node], "tls": {**certs, "server_cert_subject": "CN=x"}},
        ]
        early, late, accepted = python(CROWD, json.dumps(destinations)).splitlines()
    assert accepted == "200 0 0 0 200 0"
    assert early.split()[1] == late.split()[1]
    assert int(late.split()[0]) - int(early.split()[0]) < 1_000


SANDBOXED = """
import sys
from sender.settings import section
from sender.settings.schema import Destination
from sender.model import Item
from sender.zabbix.uplink import Uplink
from lab.seccomp import refuse_writable_code
refuse_writable_code()
tls = {"connect": "psk", "psk_identity": "web", "psk_file": sys.argv[2]}
subject = Uplink(section.read(Destination, {"nodes": [sys.argv[1]], "tls": tls}))
print(subject.send([Item(host="h", key="k", value="1", clock=1, ns=1)]))
"""


def test_in_the_sandbox_of_the_unit(psk_file: Path) -> None:
    """Where memory may not be both writable and executable (MemoryDenyWriteExecute=), keys are used all the same."""
    with Trapper(encrypted=psk_server(web=KEY)) as trapper:
        assert "accepted=1" in python(SANDBOXED, trapper.node, str(psk_file))


def python(script: str, *arguments: str) -> str:
    """Return what a process of its own prints."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
