"""A real Zabbix for one test run: database, server and web frontend, from Debian's packages, without systemd.

Knows Zabbix and what to ask of it; knows nothing of `sender`, and leaves it to zabbix_versions.py what differs between
versions. Needs root, and a machine whose users one trusts: everybody on it can log in as Admin, with the password that
everybody knows.
"""

from __future__ import annotations

import gzip
import itertools
import random
import shutil
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zabbix_utils import ModuleBaseException, ProcessingError, Sender, ZabbixAPI

from lab.postgres import DATABASE, Postgres
from lab.program import Program, StackError, finish
from lab.release import Release
from lab.zabbix_versions import adjustments, import_rules, installed, new_host, server_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

SQL = "/usr/share/zabbix-server-pgsql"
FRONTEND = "/usr/share/zabbix"
FRONTEND_CONFIG = "/etc/zabbix/zabbix.conf.php"  # a constant of include/classes/core/CConfigFile.php

# Below net.ipv4.ip_local_port_range: no outgoing connection may sit on the port of a server that is stopped, least of
# all the one that knocks there: the kernel would connect it to itself.
PORTS = range(20_000, 30_000)

HOST_GROUP = "Hosts under test"
TRAPPER, UNSIGNED = 2, 3  # `type` and `value_type` of an item in the API

# Few processes, new items within a second, nothing forgotten, and no way to poll, ping or discover anything.
SERVER_CONFIG = """
AllowRoot=1
LogType=console
ListenIP=127.0.0.1
ListenPort={port}
DBHost={postgres}
DBName={database}
DBUser={database}
SocketDir={directory}
PidFile={directory}/pid
TmpDir={directory}
AlertScriptsPath={directory}
ExternalScripts={directory}
CacheUpdateFrequency=1
HousekeepingFrequency=0
StartTrappers=3
StartAlerters=1
StartDBSyncers=1
StartEscalators=1
StartLLDProcessors=1
StartPreprocessors=1
StartTimers=1
StatsAllowedIP=127.0.0.1
StartDiscoverers=0
StartHTTPPollers=0
StartPingers=0
StartPollers=0
StartPollersUnreachable=0
StartProxyPollers=0
"""

WEB_CONFIG = """<?php
$DB['TYPE'] = 'POSTGRESQL';
$DB['SERVER'] = '{postgres}';
$DB['PORT'] = '0';
$DB['DATABASE'] = '{database}';
$DB['USER'] = '{database}';
$DB['PASSWORD'] = '';
$DB['SCHEMA'] = '';
$DB['DOUBLE_IEEE754'] = true;
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""

HISTORY = """
select item.key_, stored.value, stored.clock, stored.ns
from (select itemid, value::text, clock, ns from history
      union all select itemid, value::text, clock, ns from history_uint
      union all select itemid, value, clock, ns from history_str
      union all select itemid, value, clock, ns from history_text
      union all select itemid, value, clock, ns from history_log) as stored
join items as item using (itemid) join hosts as host using (hostid)
where host.host = '{host}' and item.type = 2;  -- trapper: what was sent, not what the server makes of it
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of an item as the database holds it."""

    key: str
    value: str
    clock: int
    ns: int


class ZabbixStack:
    """A context manager: a running Zabbix, with all its state below `directory` and nothing left there at the end.

    Its programs are this machine's, or those of the Debian release in `root`.
    """

    api: ZabbixAPI  # logged in as Admin, while the stack is up

    def __init__(
        self,
        directory: Path,
        settings: str = "",
        root: Path = Path("/"),
        web_port: int | None = None,
        database: str = "",
    ) -> None:
        """With more `settings` of zabbix_server.conf; with its frontend on `web_port`, or on one that is free.

        `database` is what `dump()` of an older one has returned: the server upgrades that.
        """
        self._database = database
        self.directory = directory
        self.release = Release(root=root, shared=directory)
        self.version = installed(self.release)
        self.trapper_port, free = free_ports(2)
        self.web_port = web_port or free
        self.web_url = f"http://127.0.0.1:{self.web_port}/"
        self._postgres = Postgres(directory / "postgres", self.release)
        self._server_directory = directory / "server"
        self.settings = settings
        self._config = self._server_directory / "zabbix_server.conf"
        self._web_directory = directory / "web"
        self._server: Program | None = None
        self._canaries = itertools.count(1)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._postgres)
            self._fill_database()
            for directory in (self._server_directory, self._web_directory):
                directory.mkdir()
                stack.callback(shutil.rmtree, directory)
            stack.callback(self._kill_server)
            self.start_server()
            web = self._start_web()
            stack.callback(web.kill)
            self.api = self._logged_in(web)
            self._call("user.update", {"userid": "1", "rows_per_page": 500})  # a page shows all items of a host
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def server_log(self) -> str:
        """What zabbix_server has logged, over all its starts."""
        return (self._server_directory / "log").read_text(errors="replace")

    @property
    def web_log(self) -> str:
        """What the frontend's web server has logged, and PHP with it."""
        return (self._web_directory / "log").read_text(errors="replace")

    def dump(self) -> str:
        """Return the database as SQL."""
        return self._postgres.dump()

    def start_server(self) -> None:
        """Start zabbix_server; return when its trapper answers: it has read its configuration by then."""
        if self._server:
            raise StackError("zabbix_server was started already")
        self._config.write_text(self._filled_in(SERVER_CONFIG + server_settings(self.version)) + self.settings)
        command = ["zabbix_server", "--foreground", "--config", str(self._config)]
        self._server = Program("zabbix_server", command, self._server_directory / "log", release=self.release)
        self._server.wait_until(lambda: accepted(self.trapper_port, "-", "-") is not None, "its trapper answers")

    def stop_server(self) -> None:
        """Stop zabbix_server in order: it writes what it holds in memory to the database, which stays up."""
        self._running_server().stop()
        self._server = None

    @contextmanager
    def without_server(self) -> Iterator[None]:
        """zabbix_server is stopped, in order, while the context lasts."""
        self.stop_server()
        try:
            yield
        finally:
            self.start_server()

    @contextmanager
    def frozen_server(self) -> Iterator[None]:
        """All processes of zabbix_server stand still while the context lasts; the kernel still takes connections."""
        server = self._running_server()
        try:
            server.freeze()
            yield
        finally:
            server.thaw()

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Stop the database while the context lasts; the server, which runs on, takes 10 s to find it again."""
        self._postgres.stop()
        try:
            yield
        finally:
            self._postgres.start()

    @property
    def server_is_running(self) -> bool:
        """Whether zabbix_server was started and not stopped since."""
        return self._server is not None

    @property
    def cpu_s(self) -> dict[str, float]:
        """User and system time of the server, since its start, and of the database, each with all its processes."""
        return {"zabbix_server": self._running_server().cpu_s, "PostgreSQL": self._postgres.cpu_s}

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Return when `condition` holds; raise StackError, with the end of the server's log, when it does not in time."""
        self._running_server().wait_until(condition, what, timeout_s)

    def query(self, sql: str) -> list[tuple[str, ...]]:
        """Return the rows of one SQL statement, each value as PostgreSQL prints it, NULL as an empty string."""
        return self._postgres.query(sql)

    def import_template(self, source: str) -> None:
        """Import all that an export, XML or YAML, holds: what is missing is created, what exists is updated, nothing is deleted."""
        form = "xml" if source.startswith("<") else "yaml"
        self._call("configuration.import", {"format": form, "source": source, "rules": import_rules(self.version)})

    def create_host(self, name: str, templates: Sequence[str], **settings: Any) -> str:
        """Create a host with these templates, given by their technical names, and API properties; return its id."""
        found = self._call("template.get", {"output": ["host"], "filter": {"host": list(templates)}})
        missing = set(templates) - {template["host"] for template in found}
        if missing:
            raise StackError(f"host {name}: no such templates: {', '.join(sorted(missing))}")
        links = [{"templateid": template["templateid"]} for template in found] if templates else []
        groups = [{"groupid": self._group_id()}]
        host = {**new_host(self.version), "host": name, "groups": groups, "templates": links, **settings}
        return str(self._call("host.create", host)["hostids"][0])

    def wait_for_items(self, host: str) -> None:
        """Return when the running server knows all that was configured for `host` before the call.

        The proof is two canaries, hosts of their own with a trapper item that stores nothing, so that nothing is sent
        to the items under test. The server reads its configuration table by table, hosts before items before triggers.
        Once it accepts a value of a canary it has read the table of hosts after the canary was made, and so after
        `host` was, and every later table after that. It may still be busy with the rest of that round, triggers among
        them. Once it accepts a value of a second canary, made only now, the next round has come, and that one is over.
        """
        if not self._call("host.get", {"output": [], "filter": {"host": host}}):
            raise StackError(f"no such host: {host}")
        for number in itertools.islice(self._canaries, 2):
            self._wait_for_canary(f"canary {number}")

    @contextmanager
    def canary(self, name: str, **settings: Any) -> Iterator[str]:
        """Keep a host of this name, with these API properties, while the context lasts. Yield the key of its item."""
        host_id = self.create_host(name, [], **settings)
        item = {"hostid": host_id, "name": name, "key_": "canary", "type": TRAPPER, "value_type": UNSIGNED}
        self._call("item.create", {**item, "history": "0", "trends": "0"})
        yield str(item["key_"])
        self._call("host.delete", [host_id])

    def history(self, host: str) -> list[Value]:
        """Return every stored value of every item of `host`, by clock, ns and key."""
        rows = self.query(HISTORY.format(host=host.replace("'", "''")))
        values = [Value(key=key, value=value, clock=int(clock), ns=int(ns)) for key, value, clock, ns in rows]
        return sorted(values, key=attrgetter("clock", "ns", "key"))

    def wait_for_history(self, host: str, count: int, timeout_s: float = 30) -> list[Value]:
        """Return the history of `host` as soon as it holds at least `count` values."""
        values: list[Value] = []

        def are_there() -> bool:
            values[:] = self.history(host)
            return len(values) >= count

        try:
            self._running_server().wait_until(are_there, f"{host} has {count} values", timeout_s)
        except StackError as error:
            raise StackError(f"{host} has {len(values)} values instead of {count}; {error}") from None
        return values

    def _fill_database(self) -> None:
        if self._database:
            self._postgres.execute(self._database)
            return
        for part in ("schema", "images"):
            self._postgres.execute(self._packaged_sql(part))
        data = self._packaged_sql("data")
        self._postgres.execute(data if self.version >= (7, 0) else "".join(_merged(data)))
        self._postgres.execute(adjustments(self.version))

    def _packaged_sql(self, part: str) -> str:
        with gzip.open(self.release.path(f"{SQL}/{part}.sql.gz"), "rt", encoding="utf-8") as file:
            return file.read()

    def _filled_in(self, config: str) -> str:
        return config.format(
            port=self.trapper_port,
            directory=self._server_directory,
            postgres=self._postgres.directory,
            database=DATABASE,
        )

    def _kill_server(self) -> None:
        if self._server:
            self._server.kill()

    def _running_server(self) -> Program:
        if not self._server:
            raise StackError("zabbix_server is stopped")
        return self._server

    def _start_web(self) -> Program:
        """Start PHP's own web server on a copy of the frontend that reads a configuration of ours."""
        directory = self._web_directory
        config = directory / "zabbix.conf.php"
        config.write_text(self._filled_in(WEB_CONFIG))
        packaged = self.release.path(FRONTEND)
        frontend = Path(shutil.copytree(packaged, directory / "frontend", ignore=_dangling))
        reader = frontend / "include/classes/core/CConfigFile.php"
        reader.write_text(reader.read_text().replace(FRONTEND_CONFIG, str(config)))
        settings = {
            "sys_temp_dir": str(directory),
            "session.save_path": str(directory),
            "post_max_size": "16M",
            "max_execution_time": "300",
            "date.timezone": "UTC",
        }
        command = ["php", "-S", f"127.0.0.1:{self.web_port}", "-t", str(frontend)]
        for name, value in settings.items():
            command += ["-d", f"{name}={value}"]
        workers = {"PHP_CLI_SERVER_WORKERS": "4"}
        return Program("frontend", command, directory / "log", release=self.release, environment=workers)

    def _logged_in(self, web: Program) -> ZabbixAPI:
        web.wait_until(lambda: somebody_listens(self.web_port), "it listens")
        try:
            # Before 6.0 zabbix_utils refuses unless it is told to go on; all that is asked of it here works with 5.0.
            return ZabbixAPI(url=self.web_url, user="Admin", password="zabbix", skip_version_check=True)  # noqa: S106
        except ModuleBaseException as error:
            raise web.failure(f"Admin cannot log in: {error}") from None

    def _call(self, method: str, params: Any) -> Any:
        return self.api.send_api_request(method, params)["result"]

    def _group_id(self) -> str:
        found = self._call("hostgroup.get", {"output": ["groupid"], "filter": {"name": HOST_GROUP}})
        if found:
            return str(found[0]["groupid"])
        return str(self._call("hostgroup.create", {"name": HOST_GROUP})["groupids"][0])

    def _wait_for_canary(self, name: str) -> None:
        with self.canary(name) as key:
            reload = ["zabbix_server", "--config", str(self._config), "--runtime-control", "config_cache_reload"]
            server = self._running_server()
            finish(server.beside(reload))  # before 6.0 it is a signal to the process in the PID file
            server.wait_until(lambda: accepted(self.trapper_port, name, key) == 1, "it accepts a canary's value")


def accepted(port: int, host: str, key: str) -> int | None:
    """Send one value to a trapper; return how many it accepted, or None where it does not answer."""
    if not somebody_listens(port):  # said in silence: a Sender would log it as an error
        return None
    try:
        return int(Sender(server="127.0.0.1", port=port).send_value(host, key, "1").processed)
    except (OSError, ProcessingError):
        return None


def somebody_listens(port: int) -> bool:
    """Whether a program on this machine takes connections to a port on loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens, and none of which the kernel gives to an outgoing connection."""
    free = (port for port in random.sample(PORTS, len(PORTS)) if not somebody_listens(port))
    return list(itertools.islice(free, count))


def _dangling(directory: str, names: Sequence[str]) -> set[str]:
    """Those of `names` that lead nowhere. What copytree itself takes for such are all relative links, the font too."""
    return {name for name in names if not Path(directory, name).exists()}


def _merged(sql: str) -> Iterator[str]:
    """Yield `sql` with one INSERT for each run of rows of a table, as 7.0 brings it: it loads four times as fast."""
    between = ";\nINSERT INTO "
    first, *inserts = sql.split(between)
    yield first
    for head, rows in itertools.groupby(inserts, lambda insert: insert.partition(" values ")[0]):
        yield f"{between}{head} values "
        yield ",\n".join(row.partition(" values ")[2] for row in rows)
