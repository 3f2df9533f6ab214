"""An agent's configuration file: read as the agent reads it; ours beside it wins, and what is not supported is named."""

from __future__ import annotations

import os
import socket
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import ConfigError
from sender.settings.agent_conf import AgentConfig
from sender.settings.schema import Settings, Tls, load, sources

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = "ServerActive=zbx\n"


@pytest.fixture
def agent(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes an agent's file, and a configuration that names it; `FILE` stands for the directory."""

    def agent(text: str | bytes, beside: str = "", **files: str) -> Path:
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content.replace("DIR", str(tmp_path)))
        raw = text.encode() if isinstance(text, str) else text
        (tmp_path / "agent.conf").write_bytes(raw.replace(b"DIR", os.fsencode(tmp_path)))
        path = tmp_path / "config.yaml"
        path.write_text(f"agent_config: {tmp_path}/agent.conf\n{beside}")
        return path

    return agent


def problems(path: Path) -> list[str]:
    """Return what is wrong, each line without the directory of the files."""
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [problem.replace(f"{path.parent}/", "") for problem in raised.value.problems]


def warnings(path: Path) -> list[str]:
    """Return what is not supported, each line without the directory of the files."""
    return [warning.replace(f"{path.parent}/", "") for warning in load(path).warnings]


def sent_to(settings: Settings) -> dict[str, list[str]]:
    """Return the nodes of each destination."""
    return {each.name: [str(node) for node in each.nodes] for each in settings.destinations}


def test_an_agents_file(agent: Callable[..., Path]) -> None:
    """Host, destinations, source address, time limit and encryption come from the agent's file; the rest is ours."""
    path = agent("""
# Zabbix agent
PidFile=/run/zabbix/zabbix_agentd.pid
Hostname=web-01
  ServerActive = zbx-a;zbx-b:10052 , [2001:db8::1]:10053,192.0.2.1\t
SourceIP=192.0.2.10
Timeout=7
TLSConnect=psk
TLSPSKIdentity=PSK web-01
TLSPSKFile=/etc/zabbix/psk
TLSAccept=cert
TLSCAFile=/etc/zabbix/ca
UserParameter=tcp.status[*],netstat -an | grep -c $1
""")
    settings = load(path)
    assert settings.host == "web-01"
    assert sent_to(settings) == {
        "zbx-a": ["zbx-a:10051", "zbx-b:10052"],
        "[2001:db8::1]:10053": ["[2001:db8::1]:10053"],
        "192.0.2.1": ["192.0.2.1:10051"],
    }
    for each in settings.destinations:
        assert (each.source_ip, each.timeout, each.compression) == ("192.0.2.10", 7, True)
        assert (each.tls.connect, each.tls.psk_identity, str(each.tls.psk_file)) == (
            "psk",
            "PSK web-01",
            "/etc/zabbix/psk",
        )
        assert each.tls.ca_file is None
    assert settings.interval == Settings().interval
    assert settings.warnings == ()


def test_certificates(agent: Callable[..., Path]) -> None:
    """TLSConnect=cert takes the files, and issuer and subject where they stand; not the key that is for others."""
    tls = "TLSConnect=cert\nTLSCAFile=/ca\nTLSCertFile=/cert\nTLSKeyFile=/key\nTLSServerCertSubject=CN=Zabbix, server\n"
    path = agent(f"{SERVER}{tls}TLSPSKIdentity=x\nTLSPSKFile=/psk\n")
    (destination,) = load(path).destinations
    assert destination.tls == Tls(
        connect="cert",
        ca_file=Path("/ca"),
        cert_file=Path("/cert"),
        key_file=Path("/key"),
        server_cert_subject="CN=Zabbix, server",
    )
    assert destination.name == "main"


def test_what_is_ours_wins(agent: Callable[..., Path]) -> None:
    """A key that stands in our own file is not taken from the agent's, be it wrong there or missing; the other one is."""
    path = agent("Hostname=web:01,b\nServerActive=zbx\n", "host: web-02\n")
    settings = load(path)
    assert (settings.host, sent_to(settings)) == ("web-02", {"main": ["zbx:10051"]})
    assert settings.warnings == ()
    path = agent("Hostname=web-01\nTLSConnect=psk\nTLSCRLFile=/x\n", "destinations: [{name: a, nodes: [zbx-a]}]\n")
    settings = load(path)
    assert (settings.host, sent_to(settings)) == ("web-01", {"a": ["zbx-a:10051"]})


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Hostname=a\nHostname=b\n", "b"),
        ("Hostname=a", "a"),
        ("Hostname=a b \t\r\n", "a b"),
        ("\t Hostname \t=  a\n", "a"),
        ("#Hostname=b\n  # Hostname=c\nHostname=a\n", "a"),
        ("Hostname=a\0b\n", "a"),
        ("Hostname=a\nHostnames=c\n", "a"),
        (b"# \xe9\nHostname=a\n", "a"),
        ("HostnameItem=system.uname\nHostname=a\n", "a"),
        ("", socket.gethostname()),
        ("HostnameItem=system.hostname\n", socket.gethostname()),
        ("Hostname=b\nInclude=DIR/one.conf\n", "one"),
        ("Include=DIR/one.conf\nHostname=a\n", "a"),
        ("Include=one.conf\n", "one"),
        ("Include=./one.conf\n", "one"),
        ("Include=DIR/some/*.conf\n", "two"),
        ("Include=DIR/some/t*.c*f\n", "two"),
        ("Hostname=a\nInclude=DIR/some/*.none\n", "a"),
        ("Hostname=a\nInclude=DIR/some/.*\n", "a"),
        ("Include=DIR/dir\n", "three"),
        ("Include=DIR/dir/\n", "three"),
        ("Include=DIR/[odd]/f?.conf\n", "four"),
    ],
)
def test_the_host(agent: Callable[..., Path], text: str | bytes, host: str) -> None:
    """The last Hostname counts, in the file and those that it includes where they stand; without one, the machine's own."""
    files = {"one.conf": "one", "some__two.conf": "two", "some__other.txt": "other", "dir__x": "three"}
    files = {name: f"Hostname={value}\n" for name, value in files.items()}
    files |= {"[odd]__f?.conf": "Hostname=four\n", "[odd]__fx.conf": "Hostname=x\n"}
    before = SERVER.encode() + (text.encode() if isinstance(text, str) else text)
    assert load(agent(before, **files)).host == host


def test_ten_files_within_files(agent: Callable[..., Path]) -> None:
    """As many levels as the agent allows are read; one more is a mistake, and so is a file within itself."""
    files = {f"f{n}": f"Hostname=h{n}\nInclude=DIR/f{n + 1}\n" for n in range(1, 10)}
    path = agent(SERVER + "Include=DIR/f1\n", **{**files, "f9": "Hostname=end\n"})
    assert load(path).host == "end"
    path = agent(SERVER + "Include=DIR/f1\n", **{**files, "f10": "Hostname=end\n"})
    many = "expected at most 10 files within files, and none within itself"
    assert problems(path) == [f"f9: Include: is 'f10'; {many}"]


def test_a_directory_within_itself(agent: Callable[..., Path]) -> None:
    """A directory whose files all include it is reported once, and at once."""
    files = {f"dir__{n}": "Include=DIR/dir\n" for n in range(20)}
    (problem,) = problems(agent(SERVER + "Include=DIR/dir\n", **files))
    assert problem.endswith("; expected at most 10 files within files, and none within itself")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Timeout=0", 1),
        ("Timeout=30", 30),
        ("Timeout=007", 7),
        ("Timeout=600", 60),
    ],
)
def test_the_time_limit(agent: Callable[..., Path], text: str, found: int) -> None:
    """Timeout is brought into the bounds of ours."""
    assert load(agent(SERVER + text)).destinations[0].timeout == found


NODE = "expected a name or an address, with a port from 1 to 65535 or without (then 10051)"
DURATION = "expected a duration in whole seconds, minutes, hours or days, such as 30s, 5m, 1h or 7d"
HOST = "expected a technical host name: letters, digits, spaces, dots, dashes and underscores"


def test_everything_at_once(agent: Callable[..., Path]) -> None:
    """What is wrong in an agent's file, those within it and our own is reported whole, with file and parameter of each."""
    path = agent(
        "Hostname=web:01\nwhat\nServerActive=a:0;b,,c\nTimeout=soon\nTLSConnect=psk,cert\nInclude=DIR/more.conf\n",
        "interval: 2h\n",
        **{"more.conf": "SourceIP=here\nthis too\n"},
    )
    assert sorted(problems(path)) == sorted([
        "agent.conf: line 2: has no =; expected parameter=value",
        "more.conf: line 2: has no =; expected parameter=value",
        f"agent.conf: Hostname: is 'web:01'; {HOST}",
        f"agent.conf: ServerActive: is 'a:0'; {NODE}",
        f"agent.conf: ServerActive: is ''; {NODE}",
        f"agent.conf: Timeout: is 'soon'; {DURATION}",
        "agent.conf: TLSConnect: is 'psk,cert'; expected 'unencrypted', 'psk' or 'cert'",
        "more.conf: SourceIP: is 'here'; expected an IP address of this host, such as 192.0.2.10 or 2001:db8::10",
        "config.yaml: interval: is '2h'; expected a duration from 1s to 1h",
    ])  # fmt: skip


MISSING = "missing; expected the servers or proxies to send to, or `destinations` in our own file"
NAMES = "a pattern can only stand for file names"
ITEM = (
    "expected system.hostname[type,transform] with the type host, shorthost or fqdn and the transform none or lower; or set "
    "Hostname, or `host` in our own file"
)
MARK = "begins with a byte order mark, with which no agent starts: save the file as UTF-8 without one"
CHARACTER = "has a character before the = that is in no parameter's name"
VARIABLE = "expected the variable in the environment of this program (Environment= of the unit), or the value here"
LINE = "expected parameter=value"
PATTERN = "expected a file, a directory, or a directory with a pattern: *.conf"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Server=127.0.0.1\n", [f"agent.conf: ServerActive: {MISSING}"]),
        ("ServerActive=\n", [f"agent.conf: ServerActive: {MISSING}"]),
        (f"{SERVER}Hostname=\n", [f"agent.conf: Hostname: is ''; {HOST}"]),
        (f"{SERVER}Hostname=a # web\n", [f"agent.conf: Hostname: is 'a # web'; {HOST}"]),
        (f"{SERVER}Hostname=,a\n", [f"agent.conf: Hostname: is ''; {HOST}"]),
        ("ServerActive=a,b,a:10051,b\n", ["agent.conf: ServerActive: has a, b twice; expected each server once"]),
        ("ServerActive=a;b c\n", [f"agent.conf: ServerActive: is 'b c'; {NODE}"]),
        (
            f"{SERVER}SourceIP=\n",
            ["agent.conf: SourceIP: is ''; expected an IP address of this host, such as 192.0.2.10 or 2001:db8::10"],
        ),
        (
            f"{SERVER}TLSConnect=psk\nTLSPSKIdentity=\n",
            [
                "agent.conf: TLSPSKIdentity: missing (required with TLSConnect=psk)",
                "agent.conf: TLSPSKFile: missing (required with TLSConnect=psk)",
            ],
        ),
        (
            f"{SERVER}TLSConnect=cert\nTLSCAFile=/x\nTLSCertFile=/y\n",
            ["agent.conf: TLSKeyFile: missing (required with TLSConnect=cert)"],
        ),
        (
            f"{SERVER}TLSConnect=psk\nTLSPSKIdentity=x\nTLSPSKFile=secret\n",
            ["agent.conf: TLSPSKFile: is not an absolute path; expected one"],
        ),
        ("Include=DIR/none\n", [f"agent.conf: Include: is 'none', which does not exist; {PATTERN}"]),
        ("Include=DIR/none/*.conf\n", [f"agent.conf: Include: is 'none/*.conf', which does not exist; {PATTERN}"]),
        ("Include=DIR/*/x.conf\n", [f"agent.conf: Include: is '*/x.conf', which cannot be read: {NAMES}; {PATTERN}"]),
        (
            f"{SERVER}HostnameItem=system.run[hostname -f]\n",
            [f"agent.conf: HostnameItem: is 'system.run[hostname -f]', which only the agent can tell; {ITEM}"],
        ),
        (
            f"{SERVER}HostnameItem=system.hostname[netbios]\n",
            [f"agent.conf: HostnameItem: is 'system.hostname[netbios]', which no agent supports on Linux; {ITEM}"],
        ),
        (
            f"{SERVER}tlsconnect=psk\nhostname=b\n",
            [
                "agent.conf: tlsconnect: unknown parameter; did you mean TLSConnect?",
                "agent.conf: hostname: unknown parameter; did you mean Hostname?",
            ],
        ),
        (f"{SERVER} , Hostname=b\n=\n", [f"agent.conf: line {n}: {CHARACTER}; {LINE}" for n in (2, 3)]),
        (f"{SERVER}Hostname\u200b=b\n", [f"agent.conf: line 2: {CHARACTER}; {LINE}"]),
        (f"\ufeff{SERVER}", [f"agent.conf: line 1: {MARK}; {LINE}", f"agent.conf: ServerActive: {MISSING}"]),
        (f"\ufeff# ours\n{SERVER}", [f"agent.conf: line 1: {MARK}; {LINE}"]),
        (f"\ufeff\n{SERVER}", [f"agent.conf: line 1: {MARK}; {LINE}"]),
        (
            f"{SERVER}HostnameItem=${{NO_SUCH}}\n",
            [f"agent.conf: HostnameItem: is ${{NO_SUCH}}, which is not set; {VARIABLE}"],
        ),
        (b"ServerActive=zbx\nHostname=\xe9\n", ["agent.conf: line 2: is not UTF-8; expected parameter=value"]),
    ],
)
def test_one_mistake(agent: Callable[..., Path], text: str | bytes, found: list[str]) -> None:
    """Each mistake is named by its parameter, and the value of one that might be a key is not repeated."""
    path = agent(text)
    assert problems(path) == [line.replace("DIR", str(path.parent)) for line in found]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """An agent's file that is missing, endless or a directory is a mistake beside the others."""
    path = tmp_path / "config.yaml"
    expected = "expected a Zabbix agent's configuration that this user can read"
    for name, why in {
        f"{tmp_path}/none": "does not exist",
        "/dev/zero": "cannot be read: it has more than 1000000 bytes",
        str(tmp_path): "cannot be read: Is a directory",
    }.items():
        path.write_text(f"agent_config: {name}\nhost: 7\n")
        with pytest.raises(ConfigError) as raised:
            load(path)
        assert raised.value.problems == (
            f"{name}: {why}; {expected}",
            f"{path}: host: is 7; expected text, in quotes where YAML takes it for something else",
        )


def test_a_key_in_place_of_an_agents_file_stays_unsaid(agent: Callable[..., Path]) -> None:
    """Who names the file of a key by mistake does not find the key in the error."""
    assert (
        problems(agent("00112233445566778899aabbccddeeff\n"))[0]
        == "agent.conf: line 1: has no =; expected parameter=value"
    )


@pytest.mark.parametrize("name", ["agent.conf", "7", "[a]", "", '"/a\\n"'])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    """What is no absolute path is a mistake in our own file."""
    path = tmp_path / "config.yaml"
    path.write_text(f"agent_config: {name}\n")
    (problem,) = problems(path)
    assert problem.startswith("config.yaml: agent_config: is ")
    assert problem.endswith("; expected an absolute path, such as /etc/zabbix/zabbix_agentd.conf")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hostname=a, b,c\n", ["agent.conf: Hostname: only 'a' is used, not 'b', 'c'"]),
        (
            "TLSConnect=cert\nTLSCAFile=/x\nTLSCertFile=/y\nTLSKeyFile=/z\nTLSCRLFile=/c\nTLSCipherAll=x\nTLSCipherCert=y\n",
            [
                "agent.conf: TLSCRLFile: is not supported; a server's certificate is accepted even if it was revoked",
                "agent.conf: TLSCipherCert: is not supported; the ciphers are those of this program",
            ],
        ),
        (
            "TLSConnect=psk\nTLSPSKIdentity=x\nTLSPSKFile=/y\nTLSCRLFile=/c\nTLSCipherPSK13=x\n",
            ["agent.conf: TLSCipherPSK13: is not supported; the ciphers are those of this program"],
        ),
        ("TLSConnect=unencrypted\nTLSAccept=psk\nTLSPSKIdentity=x\nTLSPSKFile=/y\nTLSCipherPSK=x\n", []),
    ],
)
def test_what_is_not_supported_is_named(agent: Callable[..., Path], text: str, found: list[str]) -> None:
    """A parameter that would change what is sent, to whom or how, and that is not supported, is named; no other one is."""
    assert warnings(agent(SERVER + text)) == found


def test_what_ours_overrides_is_named(agent: Callable[..., Path]) -> None:
    """Nobody is to believe that the agent's servers and encryption are in force where `destinations` stands beside it."""
    text = SERVER + "Timeout=3\nTLSConnect=psk\nTLSPSKIdentity=x\nTLSPSKFile=/y\n"
    assert warnings(agent(text, beside="destinations: [{nodes: [a]}]\n")) == [
        (
            "agent.conf: ServerActive, Timeout, TLSConnect, TLSPSKIdentity, TLSPSKFile: not used, because `destinations` stands "
            "in our own file"
        )
    ]
    assert warnings(agent("Hostname=a\n", beside="destinations: [{nodes: [a]}]\n")) == []


def test_a_destination_has_a_short_name(agent: Callable[..., Path]) -> None:
    """A first node that is too long for a name gives way to a number."""
    long = "x" * 60 + ".example.com"
    assert sent_to(load(agent(f"ServerActive=a,{long}\n"))) == {"a": ["a:10051"], "server 2": [f"{long}:10051"]}


@pytest.mark.parametrize(
    "text", ["autoregistration: {}", "autoregistration: {metadata: ''}", "autoregistration: true", "autoregistration:"]
)
def test_autoregistration_needs_metadata(tmp_path: Path, text: str) -> None:
    """Who wants autoregistration says with which metadata."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    (problem,) = problems(path)
    assert problem.startswith("config.yaml: autoregistration")
    path.write_text("autoregistration: {metadata: Linux tcp-status-sender}")
    settings = load(path)
    assert settings.autoregistration
    assert settings.autoregistration.metadata == "Linux tcp-status-sender"


PARAMETERS = ("Hostname", "HostnameItem", "ServerActive", "SourceIP", "Timeout", "Include", "TLSConnect", "TLSPSKFile")
lines = st.builds(
    "{}{}{}{}".format,
    *(st.sampled_from(["", " ", "\t", "#"]), st.sampled_from(PARAMETERS), st.sampled_from(["", "=", " = "])),
    st.text(alphabet=string.printable + "\x85\u2028\xe9") | st.sampled_from(["a,b;c", "psk", "5", "/dev/null", "."]),
)


@given(content=st.lists(lines).map("\n".join).map(str.encode) | st.binary(max_size=200))
def test_nothing_but_problems(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever an agent's file holds, the outcome is settings or a ConfigError with one-line problems about files."""
    directory = tmp_path_factory.mktemp("any")
    (directory / "agent.conf").write_bytes(content)
    path = directory / "config.yaml"
    path.write_text(f"agent_config: {directory}/agent.conf\n")
    try:
        load(path)
    except ConfigError as error:
        assert error.problems
        assert all(problem.startswith(f"{directory}/agent.conf: ") for problem in error.problems)


values = st.text(alphabet=string.ascii_letters + string.digits + " -_.=#;,", min_size=1).map(str.strip).filter(bool)


@given(written=st.dictionaries(st.sampled_from(["Hostname", "ServerActive", "SourceIP"]), values), blank=st.booleans())
def test_a_value_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    written: dict[str, Any],
    blank: bool,  # noqa: FBT001
) -> None:
    """A value, with = and # in it too, is what stands between the first = and the end of the line, without blanks around."""
    path = tmp_path_factory.mktemp("any") / "agent.conf"
    around = " \t" if blank else ""
    path.write_text("".join(f"{around}{key}{around}={around}{value}{around}\n" for key, value in written.items()))
    found = AgentConfig.read(path)
    if "Hostname" in written:
        assert found.settings["host"] == written["Hostname"].split(",")[0].strip()
    if "ServerActive" in written and "destinations" in found.settings:
        nodes = [[node.strip() for node in entry.split(";")] for entry in written["ServerActive"].split(",")]
        assert [each["nodes"] for each in found.settings["destinations"]] == nodes
        assert {each.get("source_ip") for each in found.settings["destinations"]} == {written.get("SourceIP")}


AGENT2 = "ControlSocket=/run/zabbix/agent.sock\n"  # which zabbix_agentd does not know
OTHER = "TLSConnect=psk\nTLSPSKIdentity=x\nTLSPSKFile=/psk\n"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Include=DIR/some\n", "two"),
        ("Include=DIR/some/*.conf\n", "ten"),
        ("Include=DIR/some/[0-9]*.conf\n", "ten"),
        ("Include=DIR/some/?0*\n", "ten"),
        ("Include=DIR/some/[^0-9]*\n", "two"),
        ("Include=some/../some/t\\wo\n", "two"),
        ("Hostname=a\nInclude=DIR/some/[2-9].conf\n", "a"),
        ("Hostname=a\nInclude=DIR/some/T*\n", "a"),
        ("Hostname=\n", socket.gethostname()),
        ("Hostname=a\nHostname=\n", socket.gethostname()),
        ("HostnameItem=\n", socket.gethostname()),
        ("Hostname=a\u00a0\n", "a"),
    ],
)
def test_the_host_of_agent_2(agent: Callable[..., Path], text: str, host: str) -> None:
    """Included files count sorted by name, patterns are Go's, and an empty parameter is an absent one."""
    files = {"some__two": "two", "some__10.conf": "ten", "some__01.conf": "one", "some__1.conf": "single"}
    files = {name: f"Hostname={value}\n" for name, value in files.items()}
    assert load(agent(AGENT2 + SERVER + text, **files)).host == host


def test_a_later_file_of_agent_2_that_encrypts(agent: Callable[..., Path]) -> None:
    """The last file by name wins, in whatever order the directory has them: the values are not sent in clear."""
    files = {"some__20.conf": OTHER, "some__10.conf": "TLSConnect=unencrypted\n", "some__15.conf": "TLSConnect=\n"}
    (destination,) = load(agent(f"{AGENT2}{SERVER}Include=DIR/some/[0-9]*.conf\n", **files)).destinations
    assert destination.tls.connect == "psk"


def test_what_is_empty_for_agent_2(agent: Callable[..., Path]) -> None:
    """It is as if the parameters did not stand there; an empty number is an error, as it is for the agent."""
    (destination,) = load(agent(f"{AGENT2}{SERVER}{OTHER}SourceIP=\nTLSConnect=\n")).destinations
    assert (destination.source_ip, destination.tls.connect) == (None, "unencrypted")
    assert problems(agent(f"{AGENT2}ServerActive=\n")) == [f"agent.conf: ServerActive: {MISSING}"]
    assert problems(agent(f"{AGENT2}{SERVER}Timeout=\n")) == [f"agent.conf: Timeout: is ''; {DURATION}"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("DIR/some/[", "is no pattern"),
        ("DIR/some/[]", "is no pattern"),
        ("DIR/some/[a-", "is no pattern"),
        ("DIR/some/[-a]", "is no pattern"),
        ("DIR/some/[a\\", "is no pattern"),
        ("DIR/some/a\\", "is no pattern"),
    ],
)
def test_a_broken_pattern_of_agent_2(agent: Callable[..., Path], value: str, why: str) -> None:
    """It is a mistake, as it is for the agent, and not a pattern that fits nothing."""
    (problem,) = problems(agent(f"{AGENT2}{SERVER}Include={value}\n", some__a=""))
    assert problem.endswith(f", which cannot be read: it {why}; {PATTERN}")


def test_what_agent_2_cannot_include(agent: Callable[..., Path]) -> None:
    """A link to nothing, a pattern without a directory or for directories, and its own directory: no agent starts with one."""
    path = agent(f"{AGENT2}{SERVER}Include=DIR/some\nInclude=*.conf\nInclude=DIR/s?me/x\nInclude=\n", some__x="")
    (path.parent / "some" / "link").symlink_to("nowhere")
    link, relative, pattern, circle = problems(path)
    assert "which cannot be read: 'link' in it leads nowhere; " in link
    assert "which cannot be read: a pattern needs a directory before it; " in relative
    assert f"which cannot be read: {NAMES}; " in pattern
    assert circle.endswith("; expected at most 10 files within files, and none within itself")


@pytest.mark.parametrize(
    ("name", "text", "host"),
    [
        ("zabbix_agent2.conf", "", "b"),
        ("zabbix_agent2.d.conf", "", "b"),
        ("ours.conf", AGENT2, "b"),
        ("ours.conf", "Plugins.Uptime.Capacity=1\n", "b"),
        ("zabbix_agentd.conf", AGENT2, "b"),
        ("zabbix_agentd.conf", "", "a"),
        ("ours.conf", "AllowRoot=1\n", "a"),
        ("zabbix_agent2.conf", "StartAgents=0\n", "a"),
    ],
)
def test_whose_file_it_is(tmp_path: Path, name: str, text: str, host: str) -> None:
    """The parameters that one agent alone knows say it; where there are none, the name of the file does."""
    (tmp_path / name).write_text(f"{text}{SERVER}Hostname=a\nInclude=./[b].conf\n")
    (tmp_path / "b.conf").write_text("Hostname=b\n")
    if host == "a":
        (tmp_path / "[b].conf").write_text("")
    path = tmp_path / "config.yaml"
    path.write_text(f"agent_config: {tmp_path / name}\n")
    assert load(path).host == host


def test_a_file_that_may_be_either_agents(agent: Callable[..., Path]) -> None:
    """Where the two would find different values in it, it is refused; where they find the same, it is read."""
    files = {"some__1.conf": "Hostname=a\nTLSConnect=psk\n"}
    assert problems(agent(f"{SERVER}Include=DIR/some/[0-9]*.conf\n", **files)) == [
        (
            "agent.conf: zabbix_agentd and zabbix_agent2 find different values in it for Hostname, TLSConnect; expected a file "
            "name with agentd or agent2 in it, which says whose ways count"
        )
    ]
    assert load(agent(f"{SERVER}Include=DIR/some/*.conf\n", **{"some__1.conf": "Hostname=a\n"})).host == "a"


def test_variables(agent: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is ${NAME} as a whole comes from the environment, as with agents since 7.2; included files, too."""
    for name, value in {"OUR_HOST": " web-01 ", "OUR_PLACE": "some", "OUR_EMPTY": "", "OUR_9": "9"}.items():
        monkeypatch.setenv(name, value)
    path = agent(
        f"{SERVER}Hostname=${{OUR_HOST}}\nInclude=${{OUR_PLACE}}\nTimeout=${{OUR_9}}\nPidFile=${{NO_SUCH}}\n",
        some__x=OTHER,
    )
    settings = load(path)
    assert (settings.host, settings.destinations[0].timeout, settings.destinations[0].tls.connect) == (
        "web-01",
        9,
        "psk",
    )
    assert load(agent(f"{AGENT2}{SERVER}Hostname=${{OUR_EMPTY}}\n")).host == socket.gethostname()
    tls = "TLSConnect=psk\nTLSPSKFile=/psk\nTLSPSKIdentity="
    for identity in ("PSK ${OUR_HOST}", "$OUR_HOST", "${}", "${9}", "${OUR_HOST}x"):
        assert load(agent(f"{SERVER}{tls}{identity}\n")).destinations[0].tls.psk_identity == identity


@pytest.mark.parametrize("first", ["", AGENT2])
def test_variables_that_are_not_set(agent: Callable[..., Path], first: str) -> None:
    """Each is a problem where its parameter counts, be there an earlier value or a default: the agent may have another one."""
    lines = "TLSConnect=psk\nTLSPSKIdentity=${NO_ID}\nTLSPSKFile=/x\nTLSPSKFile=${NO_FILE}\nUser_1=${NO_SUCH}\n"
    path = agent(
        f"{first}Hostname=a\nHostname=${{NO_HOST}}\nServerActive=${{NO_SERVER}}\nTimeout=${{NO_TIME}}\n{lines}"
    )
    assert sorted(problems(path)) == sorted(
        f"agent.conf: {parameter}: is ${{{name}}}, which is not set; {VARIABLE}"
        for parameter, name in {
            "Hostname": "NO_HOST",
            "ServerActive": "NO_SERVER",
            "Timeout": "NO_TIME",
            "TLSPSKIdentity": "NO_ID",
            "TLSPSKFile": "NO_FILE",
        }.items()
    )
    path = agent(f"{first}{SERVER}TLSConnect=${{NO_TLS}}\nInclude=${{NO_PLACE}}\n")
    assert problems(path) == [f"agent.conf: Include: is ${{NO_PLACE}}, which is not set; {VARIABLE}"]
    path = agent(f"{first}{SERVER}TLSConnect=${{NO_TLS}}\n")
    assert problems(path) == [f"agent.conf: TLSConnect: is ${{NO_TLS}}, which is not set; {VARIABLE}"]
    path = agent(f"{first}{SERVER}TLSConnect=${{NO_TLS}}\n", beside="destinations: [{nodes: [a]}]\n")
    assert warnings(path) == [
        "agent.conf: ServerActive, TLSConnect: not used, because `destinations` stands in our own file"
    ]


@pytest.mark.parametrize("value", ["a\nb", "a\udce9"])
def test_a_variable_that_is_no_line(agent: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """No agent starts with one."""
    monkeypatch.setenv("OUR_HOST", value)
    assert problems(agent(f"{SERVER}Hostname=${{OUR_HOST}}\n")) == [
        f"agent.conf: Hostname: is ${{OUR_HOST}}, which is not one line of text; {VARIABLE}"
    ]


def test_our_own_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """What an editor puts before UTF-8 is no part of the first key."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfhost: web-01\ninterval: 5s\n")
    assert (load(path).host, load(path).interval) == ("web-01", 5)
    path.write_bytes(b"\xef\xbb\xbf# ours\n\nhost: web-01\n")
    assert load(path).host == "web-01"
    path.write_bytes("host: web-01\n".encode("utf-16"))
    assert problems(path) == ["config.yaml: is not text: byte 0 is not UTF-8; expected a YAML file"]


def test_the_sources(agent: Callable[..., Path]) -> None:
    """Each file and directory that the settings are read from can be named."""
    path = agent(f"{AGENT2}{SERVER}Include=DIR/some/*.conf\nInclude=DIR/one\n", some__x="", one="")
    (path.parent / "some" / "a.conf").write_text("")
    names = ["config.yaml", "agent.conf", "some", "some/a.conf", "one"]
    assert [str(each.relative_to(path.parent)) for each in sources(path)] == names
