"""A real Zabbix proxy that lives exactly as long as a test: active, with SQLite, of the version of its server.

Needs root, and .ci/zabbix-proxy, which unpacks Debian's package: that may not be installed beside the server's.
"""

from __future__ import annotations

import itertools
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from lab.program import Program
from lab.zabbix_stack import accepted, free_ports
from lab.zabbix_versions import monitored_by, new_proxy, proxy_settings

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from lab.zabbix_stack import ZabbixStack

# Few processes, its configuration and its values exchanged with the server every second, and no way to poll anything.
CONFIG = """
AllowRoot=1
LogType=console
Hostname={name}
ListenIP=127.0.0.1
ListenPort={port}
DBName={directory}/proxy.db
SocketDir={directory}
PidFile={directory}/pid
TmpDir={directory}
ExternalScripts={directory}
DataSenderFrequency=1
StartTrappers=3
StartDBSyncers=1
StartPreprocessors=1
StartDiscoverers=0
StartHTTPPollers=0
StartPingers=0
StartPollers=0
StartPollersUnreachable=0
"""


class ZabbixProxy:
    """A context manager: a running proxy of `zabbix`, known to it as `name`, with all its state in `directory`.

    That is a new one below the directory of `zabbix`. `folder` is where its package was unpacked, as the programs of `zabbix` see it. `settings` are API properties of the
    proxy. `hosts` are those of a host that it monitors, for ZabbixStack.create_host.
    """

    def __init__(self, zabbix: ZabbixStack, directory: Path, name: str, folder: str, **settings: Any) -> None:
        self.zabbix = zabbix
        self.name = name
        self.hosts: dict[str, Any] = {}
        (self.trapper_port,) = free_ports(1)
        self._program = f"{folder}/usr/sbin/zabbix_proxy"
        self._directory = directory
        self._settings = settings
        self._proxy: Program | None = None
        self._canaries = itertools.count(1)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._directory.mkdir()
            stack.callback(shutil.rmtree, self._directory)
            proxy = new_proxy(self.zabbix.version, self.name) | self._settings
            proxy_id = self.zabbix.api.proxy.create(**proxy)["proxyids"][0]
            self.hosts = monitored_by(self.zabbix.version, proxy_id)
            stack.callback(self._kill)
            self.start()
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def log(self) -> str:
        """What it has logged, over all its starts."""
        return (self._directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, on the database that it has; return when its trapper answers."""
        config = self._directory / "zabbix_proxy.conf"
        settings = CONFIG.format(name=self.name, port=self.trapper_port, directory=self._directory)
        config.write_text(settings + proxy_settings(self.zabbix.version, self.zabbix.trapper_port))
        command = [self._program, "--foreground", "--config", str(config)]
        self._proxy = Program("zabbix_proxy", command, self._directory / "log", release=self.zabbix.release)
        self._proxy.wait_until(lambda: accepted(self.trapper_port, "-", "-") is not None, "its trapper answers")

    def stop(self) -> None:
        """Stop it in order; what the server has not got yet waits in its database."""
        assert self._proxy, "it does not run"
        self._proxy.stop()
        self._proxy = None

    def wait_for_items(self, host: str) -> None:
        """Return when the running proxy knows all that was configured for `host`, which it monitors, before the call.

        The proof is two canaries, as in ZabbixStack.wait_for_items: the server gives the proxy what it knows itself.
        """
        self.zabbix.wait_for_items(host)
        assert self._proxy, "it does not run"
        for number in itertools.islice(self._canaries, 2):
            name = f"canary {number} of {self.name}"
            with self.zabbix.canary(name, **self.hosts) as key:
                self._proxy.wait_until(
                    lambda name=name, key=key: accepted(self.trapper_port, name, key) == 1,  # type: ignore[misc]
                    "it accepts a canary's value",
                    60,
                )

    def _kill(self) -> None:
        if self._proxy:
            self._proxy.kill()
