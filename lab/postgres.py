"""A real PostgreSQL that lives exactly as long as a test. Needs root. Knows nothing of Zabbix."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lab.program import ENVIRONMENT, Program, caged, finish
from lab.release import HERE, Release

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

USER = "postgres"  # PostgreSQL refuses to run as root
DATABASE = "zabbix"  # the name of the database and of its superuser
# A crash may lose everything, and nobody minds. Its unix socket is the only way in, so there is no port to collide on.
# What its processes share lies in files below the data directory, not in /dev/shm.
SETTINGS = (
    "listen_addresses=",
    "autovacuum=off",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "dynamic_shared_memory_type=mmap",
)


class Postgres:
    """A context manager: a running PostgreSQL with one empty database, all of it below `directory`, which it makes."""

    def __init__(self, directory: Path, release: Release = HERE) -> None:
        self.directory = directory  # of the unix socket too
        self._release = release
        version = max((path.name for path in release.path("/usr/lib/postgresql").iterdir()), key=int)
        self._bin = f"/usr/lib/postgresql/{version}/bin"
        self._program: Program | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory.mkdir(mode=0o700)  # whoever reaches the socket is superuser
            stack.callback(shutil.rmtree, self.directory)
            os.chown(self.directory, *self._release.ids(USER))
            data = str(self.directory / "data")
            initdb = [f"{self._bin}/initdb", "--no-sync", "--auth=trust", f"--username={DATABASE}"]
            finish(caged([*initdb, "--encoding=UTF8", "--locale=C", "-D", data], USER, self._release))
            stack.callback(self._kill)
            self.start()
            self._psql("--dbname=postgres", f"--command=create database {DATABASE}")
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def start(self) -> None:
        """Start it, on the data that it has; return when it accepts connections."""
        settings = [f"--{setting}" for setting in (*SETTINGS, f"unix_socket_directories={self.directory}")]
        command = [f"{self._bin}/postgres", "-D", str(self.directory / "data"), *settings]
        self._program = Program("PostgreSQL", command, self.directory / "log", user=USER, release=self._release)
        self._program.wait_until(self._is_ready, "it accepts connections")

    def stop(self) -> None:
        """Stop it: whoever is connected is thrown out, and what was committed is kept."""
        if self._program:
            self._program.stop(signal.SIGINT)  # PostgreSQL's fast shutdown; SIGTERM would wait for its clients
            self._program = None

    @property
    def cpu_s(self) -> float:
        """User and system time so far."""
        return self._program.cpu_s if self._program else 0

    def execute(self, sql: str) -> None:
        """Run `sql`, any number of statements, to the first error."""
        self._psql(stdin=sql)

    def query(self, sql: str) -> list[tuple[str, ...]]:
        """Return the rows of one statement, each value as PostgreSQL prints it, NULL as an empty string."""
        output = self._psql("--csv", "--tuples-only", stdin=sql)
        return [tuple(row) or ("",) for row in csv.reader(io.StringIO(output, newline=""))]

    def dump(self) -> str:
        """Return the database as SQL that a newer PostgreSQL takes, too."""
        dump = [f"{self._bin}/pg_dump", "--no-owner", f"--host={self.directory}", f"--username={DATABASE}", DATABASE]
        return finish(self._release.within(dump))

    def _kill(self) -> None:
        if self._program:
            self._program.kill()

    def _is_ready(self) -> bool:
        ready = [f"{self._bin}/pg_isready", "--quiet", f"--host={self.directory}"]
        return subprocess.run(self._release.within(ready), check=False, env=ENVIRONMENT).returncode == 0

    def _psql(self, *options: str, stdin: str = "") -> str:
        psql = [f"{self._bin}/psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--host={self.directory}"]
        return finish(self._release.within([*psql, f"--username={DATABASE}", *options]), stdin)
