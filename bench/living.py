"""The whole daemon, as it lives in the namespace of a crowd: what it has in memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from bench.contenders import SENDER, peak_mb
from lab.command import unit_environment
from lab.trapper import Trapper

REQUESTS = 6  # after which it has done everything that it does with every sample


def daemon_mb() -> float:
    """Return the peak memory of a daemon that has taken and delivered some samples here, with what the unit sets."""
    with tempfile.TemporaryDirectory() as directory, Trapper() as trapper:
        config, destination = Path(directory, "config.yaml"), {"name": "main", "nodes": [trapper.node]}
        settings = {"interval": "1s", "destinations": [destination], "spool": {"path": f"{directory}/spool.db"}}
        config.write_text(json.dumps(settings))
        command = ["setpriv", "--pdeathsig", "KILL", str(SENDER), "run", "--config", str(config)]
        environment = {**os.environ, **unit_environment()}
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
            try:
                trapper.wait_for(REQUESTS)
                return peak_mb(process.pid)
            finally:
                process.terminate()
