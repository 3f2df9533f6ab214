"""The names of services come from the system's own table, whatever somebody has written into it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from lab.command import COMMAND
from sender.items import LOCAL

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = b'http\t80/tcp\ncaf\xe9\t8093/tcp\n"quo"te\\\t8094/tcp\n'


def test_no_name_of_a_service_stops_a_sample(tmp_path: Path) -> None:
    """One that is not UTF-8 leaves its port without a name; one with quotes arrives as it is."""
    table, config = tmp_path / "services", tmp_path / "config.yaml"
    table.write_bytes(SERVICES)
    config.write_text("ports: {listening: false, local: [80, 8093, 8094]}\n")
    script = 'mount --bind "$1" /etc/services && shift && exec "$@"'
    command = ["unshare", "--mount", "--net", "sh", "-c", script, "sh", str(table), COMMAND]
    command += ["run", "--dry-run", "--once", "--config", str(config)]
    request = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    (discovery,) = [json.loads(sent["value"]) for sent in request["data"] if sent["key"] == LOCAL]
    assert {found["{#PORT}"]: found["{#SERVICE}"] for found in discovery} == {
        "80": "http",
        "8093": "",
        "8094": '"quo"te\\',
    }
