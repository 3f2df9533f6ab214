"""The same file, read by Debian's zabbix_agentd or zabbix_agent2 and by us: the same hosts, servers and source, or no start."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lab.trapper import Trapper, packet
from sender.errors import ConfigError
from sender.settings.schema import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# No passive checks, so that it listens nowhere.
AGENTD = "LogType=console\nPidFile=DIR/pid\nAllowRoot=1\nStartAgents=0\n"
AGENT2 = "LogType=console\nPidFile=DIR/pid\nPluginSocket=DIR/plugin.sock\n"
NOTHING = packet(b'{"response":"success","data":[]}')
SERVER = "ServerActive=ONE\n"
FILES = {
    "one.conf": "Hostname=one\n",
    "some/two.conf": "Hostname=two\n",
    "some/other.txt": "Hostname=other\n",
    "dir/three": "Hostname=three\n",
    # Neither the order in which they are made nor that of their names as numbers is that of their names.
    "many/20.conf": "Hostname=20\n",
    "many/b.conf": "Hostname=b\n",
    "many/5.conf": "Hostname=5\n",
    "many/.hidden": "Hostname=hidden\n",
    "many/10.conf": "Hostname=10\n",
    "many/Z[.txt": "Hostname=Z\n",
    "again": "Include=DIR/again\n",
    **{f"deep/{n}": f"Include=DIR/deep/{n + 1}\n" for n in range(1, 10)},
    "deep/10": "Hostname=deep\n",
}
COMMANDS = {
    "zabbix_agentd": (AGENTD, ["zabbix_agentd", "--foreground", "--config"]),
    "zabbix_agent2": (AGENT2, ["zabbix_agent2", "--config"]),
}
# What makes another machine of this one, as far as its name goes.
NAMED = ["unshare", "--uts", "sh", "-euc", 'hostname Web-01.Example.COM; exec "$@"', "sh"]


# The same with a name that is looked up in a file alone, which stands at $HOSTS.
LOOKED_UP = """
hostname web-01
mount --bind "$HOSTS" /etc/hosts
mount -t tmpfs etc /mnt
echo 'hosts: files' > /mnt/nsswitch.conf
mount --bind /mnt/nsswitch.conf /etc/nsswitch.conf
exec "$@"
"""


class Scene:
    """A directory with an agent's file, and two trappers that stand for Zabbix: ONE and TWO in the text."""

    def __init__(self, directory: Path, trappers: list[Trapper], agent: str) -> None:
        self._directory = directory
        self._trappers = trappers
        self._file = directory / f"{agent}.conf"
        self._first, self._command = COMMANDS[agent]

    def write(self, text: str, first: bytes = b"") -> None:
        """Write the agent's file, beside those that it may include."""
        for name, content in {**FILES, self._file.name: self._first + text}.items():
            path = self._directory / name
            path.parent.mkdir(exist_ok=True)
            filled = content.replace("DIR", str(self._directory))
            filled = filled.replace("ONE", self._trappers[0].node).replace("TWO", self._trappers[1].node)
            path.write_bytes((first if path == self._file else b"") + filled.encode("latin-1"))

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link in a directory of its own."""
        path = self._directory / name
        path.parent.mkdir()
        path.symlink_to(target)

    def agent(self, requests: int, prefix: list[str] | None = None) -> set[tuple[str, str, str]] | None:
        """Who asks whom and from where, in the agent's first so many requests; None where it does not start."""
        command = [*(prefix or []), *self._command, str(self._file)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
            deadline = time.monotonic() + 20
            while sum(len(trapper.requests) for trapper in self._trappers) < requests:
                if agent.poll():
                    return None
                if time.monotonic() >= deadline:
                    agent.kill()
                    pytest.fail("it neither asks nor ends")
                time.sleep(0.01)
            agent.terminate()
        return {
            (request["host"], trapper.node, peer)
            for trapper in self._trappers
            for request, peer in zip(trapper.requests, trapper.peers, strict=True)
        }

    def ours(self) -> set[tuple[str, str, str]] | None:
        """Return what we would do, and None where we do not start."""
        try:
            settings = load(self._config())
        except ConfigError:
            return None
        return {(settings.host, str(each.nodes[0]), each.source_ip or "127.0.0.1") for each in settings.destinations}

    def our_host(self, prefix: list[str]) -> str | None:
        """Return the host that we would send for, where `prefix` leads; None where we do not start."""
        program = (
            "import sys, pathlib; from sender.settings.schema import load; print(load(pathlib.Path(sys.argv[1])).host)"
        )
        command = [*prefix, sys.executable, "-c", program, str(self._config())]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert not done.returncode or "ConfigError" in done.stderr
        return done.stdout.strip() or None

    def _config(self) -> Path:
        config = self._directory / "config.yaml"
        config.write_text(f"agent_config: {self._file}\n")
        return config


@pytest.fixture
def scene_of(tmp_path: Path) -> Iterator[Callable[[str], Scene]]:
    """Yield what makes the scene of an agent, whose trappers know every host and want nothing of it."""
    with Trapper(lambda _: NOTHING) as one, Trapper(lambda _: NOTHING) as two:
        yield lambda agent: Scene(tmp_path, [one, two], agent)


@pytest.fixture
def scene(scene_of: Callable[[str], Scene]) -> Scene:
    """Return that of zabbix_agentd."""
    return scene_of("zabbix_agentd")


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
        f"{SERVER}HostnameItem=\n",
        f"{SERVER}Hostname=a\nwhat\n",
        f"{SERVER}Hostname=a\n=b\n",
        f"{SERVER}Hostname=a\nhostname=b\n",
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


@pytest.mark.parametrize(
    "text",
    [
        f"{SERVER}Hostname=a",
        f"\t {SERVER}  Hostname \t= a b \t\r\n",
        f"{SERVER}Hostname=a\xc2\xa0\n",
        f"{SERVER}\xc2\xa0# \xc2\xa0\n# \xe9\nHostname=a\n",
        f"{SERVER}Hostname=a\nHostname=\n",
        f"{SERVER}HostnameItem=\n",
        f"{SERVER}Hostname=a\nSourceIP=\n",
        f"{SERVER}Hostname=a\nTLSConnect=\nTLSPSKFile=\n",
        f"{SERVER}Include=DIR/many\n",
        f"{SERVER}Include=DIR/many/\n",
        f"{SERVER}Include=DIR/many/*\n",
        f"{SERVER}Include=DIR/many/*.conf\n",
        f"{SERVER}Include=DIR/many/[0-9]*.conf\n",
        f"{SERVER}Include=DIR/many/?.conf\n",
        f"{SERVER}Include=DIR/many/[^a-z]*\n",
        f"{SERVER}Include=DIR/many/[0-35].conf\n",
        f"{SERVER}Include=DIR/many/Z\\[.*\n",
        f"{SERVER}Include=DIR/many/Z[[].txt\n",
        f"{SERVER}Include=DIR/many/[\\Z]*\n",
        f"{SERVER}Hostname=a\nInclude=DIR/many/[!5].conf\n",
        f"{SERVER}Hostname=a\nInclude=DIR/many/[9-0]*\n",
        f"{SERVER}Hostname=a\nInclude=DIR/some/*.none\n",
        f"{SERVER}Include=many/[1-2]*\n",
        f"{SERVER}Include=DIR/dir/../one.conf\n",
        f"{SERVER}Include=DIR/one.conf\nHostname=a\n",
        f"{SERVER}Include=DIR/deep/2\n",
        f"{SERVER}Hostname=a\nSourceIP=127.0.0.9\n",
        "Hostname=a\nServerActive= ONE , TWO\n",
        "Hostname=a\nServerActive=TWO;127.0.0.1:1,ONE\n",
    ],
)
def test_agent_2_reads_the_same(text: str, scene_of: Callable[[str], Scene]) -> None:
    """What agent 2 asks, as whom and from where, is what we would send to, as the same host, from the same address."""
    scene = scene_of("zabbix_agent2")
    scene.write(text)
    ours = scene.ours()
    assert ours
    assert scene.agent(requests=len(ours)) == ours


@pytest.mark.parametrize(
    "text",
    [
        f"{SERVER}Hostname=a # b\n",
        f"{SERVER}Hostname=,a\n",
        f"{SERVER}Hostname=a\0b\n",
        f"{SERVER}Hostname=\xe9\n",
        f"{SERVER}Hostname=a\nwhat\n",
        f"{SERVER}Hostname=a\n=b\n",
        f"{SERVER}Hostname=a\nHost-name=b\n",
        f"{SERVER}Hostname=a\nhostname=b\n",
        f"{SERVER}Hostname=a\nInclude=\n",
        f"{SERVER}Hostname=a\nInclude=*.conf\n",
        f"{SERVER}Hostname=a\nInclude=DIR/none\n",
        f"{SERVER}Hostname=a\nInclude=DIR/none/*.conf\n",
        f"{SERVER}Hostname=a\nInclude=DIR/*/three\n",
        f"{SERVER}Hostname=a\nInclude=DIR/d?r/three\n",
        f"{SERVER}Hostname=a\nInclude=DIR/many/[\n",
        f"{SERVER}Hostname=a\nInclude=DIR/many/[]\n",
        f"{SERVER}Hostname=a\nInclude=DIR/many/[-a]\n",
        f"{SERVER}Hostname=a\nInclude=DIR/many/x\\\n",
        f"{SERVER}Hostname=a\nInclude=DIR/again\n",
        f"{SERVER}Hostname=a\nInclude=DIR/deep/1\n",
        f"{SERVER}Hostname=a\nInclude=DIR/links\n",
        f"{SERVER}Hostname=a\nTimeout=\n",
        f"{SERVER}Hostname=a\nTimeout=soon\n",
        f"{SERVER}Hostname=a\nTLSConnect=psk\n",
        f"{SERVER}Hostname=a\nTLSConnect=psk\nTLSPSKIdentity=\nTLSPSKFile=\n",
        f"{SERVER}Hostname=a\nTLSConnect=psk,cert\n",
        "Hostname=a\nServerActive=ONE,ONE\n",
        "Hostname=a\nServerActive=ONE,\n",
        "Hostname=a\nServerActive=ONE;;TWO\n",
    ],
)
def test_agent_2_refuses_the_same(text: str, scene_of: Callable[[str], Scene]) -> None:
    """A file with which agent 2 does not start is not taken by us either."""
    scene = scene_of("zabbix_agent2")
    scene.write(text)
    if "links" in text:
        scene.link("links/x.conf", "nowhere")
    assert scene.ours() is None
    assert scene.agent(requests=1) is None


@pytest.mark.parametrize("agent", COMMANDS)
@pytest.mark.parametrize("text", ["", "# ours\n", "\n", "ListenPort=10050\n"])
def test_a_byte_order_mark_is_refused(agent: str, text: str, scene_of: Callable[[str], Scene]) -> None:
    """Neither agent starts with one, whatever stands behind it, and neither do we."""
    scene = scene_of(agent)
    scene.write(f"{SERVER}Hostname=a\n", first=b"\xef\xbb\xbf" + text.encode())
    assert scene.ours() is None
    assert scene.agent(requests=1) is None


@pytest.mark.parametrize("agent", COMMANDS)
@pytest.mark.parametrize(
    ("item", "host"),
    [
        ("", "Web-01.Example.COM"),
        ("[]", "Web-01.Example.COM"),
        ("[host]", "Web-01.Example.COM"),
        ("[,none]", "Web-01.Example.COM"),
        ("[host,lower]", "web-01.example.com"),
        ("[shorthost]", "Web-01"),
        ("[ shorthost, lower]", "web-01"),
        ('["shorthost" , "lower" ]', "web-01"),
        ("[,lower]", "web-01.example.com"),
        ("[netbios]", None),
        ("[HOST]", None),
        ("[host ]", None),
        ("[host,upper]", None),
        ("[host,none,]", None),
        ("[host", None),
        ("[host] x", None),
        (" [host]", None),
    ],
)
def test_the_item_for_the_host_name(agent: str, item: str, host: str | None, scene_of: Callable[[str], Scene]) -> None:
    """system.hostname gives what it gives the agent, in each of its forms, and is refused where the agent does not start."""
    scene = scene_of(agent)
    scene.write(f"{SERVER}HostnameItem=system.hostname{item}\n")
    assert scene.our_host(NAMED) == host
    asked = scene.agent(1, NAMED) or set()
    assert {name for name, *_ in asked} == ({host} if host else set())


@pytest.mark.parametrize("agent", COMMANDS)
def test_another_item_for_the_host_name(agent: str, scene_of: Callable[[str], Scene]) -> None:
    """What only the agent can tell is refused: another name would be another host."""
    scene = scene_of(agent)
    scene.write(f"{SERVER}HostnameItem=system.run[echo ours]\n")
    assert scene.ours() is None
    asked = scene.agent(1) or set()
    assert {name for name, *_ in asked} == {"ours"}


def test_the_full_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene_of: Callable[[str], Scene]) -> None:
    """It is the canonical one, as `hostname --fqdn` has it; where it cannot be looked up, the short one is not taken for it."""
    (hosts := tmp_path / "hosts").write_text("127.0.1.1 Web-01.Example.COM web-01\n")
    monkeypatch.setenv("HOSTS", str(hosts))
    prefix = ["unshare", "--uts", "--mount", "sh", "-euc", LOOKED_UP, "sh"]
    scene = scene_of("zabbix_agent2")
    scene.write(f"{SERVER}HostnameItem=system.hostname[fqdn]\n")
    full = subprocess.run([*prefix, "hostname", "--fqdn"], capture_output=True, text=True, check=True).stdout.strip()
    assert scene.our_host(prefix) == full == "Web-01.Example.COM"
    scene.write(f"{SERVER}HostnameItem=system.hostname[fqdn,lower]\n")
    assert scene.our_host(prefix) == "web-01.example.com"
    hosts.write_text("")
    assert scene.our_host(prefix) is None
