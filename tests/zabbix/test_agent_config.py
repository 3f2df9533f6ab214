"""The same file, read by Debian's zabbix_agentd and by us: the same hosts, servers and source, or a refusal by both."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from lab.trapper import Trapper, packet
from sender.errors import ConfigError
from sender.settings.schema import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# No passive checks, so that it listens nowhere.
AGENT = "LogType=console\nPidFile=DIR/pid\nAllowRoot=1\nStartAgents=0\n"
NOTHING = packet(b'{"response":"success","data":[]}')
SERVER = "ServerActive=ONE\n"
FILES = {
    "one.conf": "Hostname=one\n",
    "some/two.conf": "Hostname=two\n",
    "some/other.txt": "Hostname=other\n",
    "dir/three": "Hostname=three\n",
    "again": "Include=DIR/again\n",
    **{f"deep/{n}": f"Include=DIR/deep/{n + 1}\n" for n in range(1, 10)},
    "deep/10": "Hostname=deep\n",
}


class Scene:
    """A directory with an agent's file, and two trappers that stand for Zabbix: ONE and TWO in the text."""

    def __init__(self, directory: Path, trappers: list[Trapper]) -> None:
        self._directory = directory
        self._trappers = trappers
        self._file = directory / "zabbix_agentd.conf"

    def write(self, text: str) -> None:
        """Write the agent's file, beside those that it may include."""
        for name, content in {**FILES, self._file.name: AGENT + text}.items():
            path = self._directory / name
            path.parent.mkdir(exist_ok=True)
            filled = content.replace("DIR", str(self._directory))
            filled = filled.replace("ONE", self._trappers[0].node).replace("TWO", self._trappers[1].node)
            path.write_bytes(filled.encode("latin-1"))

    def agent(self, requests: int) -> set[tuple[str, str, str]] | None:
        """Who asks whom and from where, in the agent's first so many requests; None where it does not start."""
        command = ["zabbix_agentd", "--foreground", "--config", str(self._file)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
            deadline = time.monotonic() + 20
            while sum(len(trapper.requests) for trapper in self._trappers) < requests:
                if agent.poll():
                    return None
                assert time.monotonic() < deadline, "it neither asks nor ends"
                time.sleep(0.01)
            agent.terminate()
        return {
            (request["host"], trapper.node, peer)
            for trapper in self._trappers
            for request, peer in zip(trapper.requests, trapper.peers, strict=True)
        }

    def ours(self) -> set[tuple[str, str, str]] | None:
        """Return what we would do, and None where we do not start."""
        config = self._directory / "config.yaml"
        config.write_text(f"agent_config: {self._file}\n")
        try:
            settings = load(config)
        except ConfigError:
            return None
        return {(settings.host, str(each.nodes[0]), each.source_ip or "127.0.0.1") for each in settings.destinations}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Yield a scene whose trappers know every host and want nothing of it."""
    with Trapper(lambda _: NOTHING) as one, Trapper(lambda _: NOTHING) as two:
        yield Scene(tmp_path, [one, two])


@pytest.mark.parametrize(
    "text",
    [
        f"{SERVER}Hostname=a",
        f"{SERVER}Hostname=a\nHostname=b\n",
        f"{SERVER}Hostname=a\r\n",
        f"\t {SERVER}  Hostname \t= a b \t\n",
        f"{SERVER}#Hostname=b\n # Hostname=b\n \t \nHostname=a\n",
        f"{SERVER}Hostname=a\0b\n",
        f"{SERVER}# \xe9\nHostname=a\n",
        SERVER,
        f"{SERVER}HostnameItem=system.hostname\n",
        f"{SERVER}HostnameItem=system.uname\nHostname=a\n",
        f"{SERVER}Hostname=a\nInclude=DIR/one.conf\n",
        f"{SERVER}Include=DIR/one.conf\nHostname=a\n",
        f"{SERVER}Include=DIR/some/*.conf\n",
        f"{SERVER}Include=DIR/some/t*o.c*\n",
        f"{SERVER}Hostname=a\nInclude=DIR/some/*.none\n",
        f"{SERVER}Include=DIR/dir\n",
        f"{SERVER}Include=DIR/dir/\n",
        f"{SERVER}Include= DIR/one.conf \n",
        f"{SERVER}Include=DIR/deep/2\n",
        f"{SERVER}Hostname=a\nSourceIP=127.0.0.9\n",
        "Hostname=a\nServerActive=ONE,TWO\n",
        "Hostname=a\nServerActive= ONE , TWO\n",
        "Hostname=a\nServerActive=TWO;127.0.0.1:1,ONE\n",
    ],
)
def test_the_same_is_read(text: str, scene: Scene) -> None:
    """What the agent asks, as whom and from where, is what we would send to, as the same host, from the same address."""
    scene.write(text)
    ours = scene.ours()
    assert ours
    assert scene.agent(requests=len(ours)) == ours


@pytest.mark.parametrize(
    "text",
    [
        "Hostname=a\n",
        "Hostname=a\nServerActive=\n",
        f"{SERVER}Hostname=\n",
        f"{SERVER}Hostname=a # b\n",
        f"{SERVER}Hostname=,a\n",
        f"{SERVER}Hostname=a:b\n",
        f"{SERVER}Hostname={'a' * 129}\n",
        f"{SERVER}Hostname=\xe9\n",
        f"{SERVER}Hostname=a\nwhat\n",
        f"{SERVER}Hostname=a\nInclude=DIR/none\n",
        f"{SERVER}Hostname=a\nInclude=DIR/none/*.conf\n",
        f"{SERVER}Hostname=a\nInclude=DIR/*/three\n",
        f"{SERVER}Hostname=a\nInclude=DIR/again\n",
        f"{SERVER}Hostname=a\nInclude=DIR/deep/1\n",
        f"{SERVER}Hostname=a\nSourceIP=here\n",
        f"{SERVER}Hostname=a\nSourceIP=\n",
        f"{SERVER}Hostname=a\nTimeout=soon\n",
        f"{SERVER}Hostname=a\nTLSConnect=psk\n",
        f"{SERVER}Hostname=a\nTLSConnect=psk,cert\n",
        f"{SERVER}Hostname=a\nTLSConnect=\n",
        "Hostname=a\nServerActive=ONE,ONE\n",
        "Hostname=a\nServerActive=ONE,\n",
        "Hostname=a\nServerActive=ONE;;TWO\n",
        "Hostname=a\nServerActive=127.0.0.1:99999\n",
        "Hostname=a\nServerActive=127.0.0.1:\n",
        "Hostname=a\nServerActive=::1:10051\n",
    ],
)
def test_the_same_is_refused(text: str, scene: Scene) -> None:
    """A file with which the agent does not start is not taken by us either."""
    scene.write(text)
    assert scene.ours() is None
    assert scene.agent(requests=1) is None
