"""Configuration: what is right is taken, what is wrong is all listed at once."""

from __future__ import annotations

import socket
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import ConfigError
from sender.model import Node
from sender.settings import schema as config
from sender.settings import section
from sender.settings.schema import Destination, PortSettings, Settings, SpoolSettings, load

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"

NODE = "expected a name or an address, with a port from 1 to 65535 or without (then 10051)"
DURATION = "expected a duration in whole seconds, minutes, hours or days, such as 30s, 5m, 1h or 7d"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Return what writes a configuration file and returns its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def problems(path: Path) -> list[str]:
    """Return what is wrong with the file, without the file's name, which every line begins with."""
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert all(problem.startswith(f"{path}: ") for problem in raised.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in raised.value.problems]


def test_without_a_file_there_are_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file at all: this host's name, 30 s, one destination 127.0.0.1:10051."""
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none.yaml")
    settings = load()
    assert settings.host == socket.gethostname()
    assert settings.interval == 30
    assert [str(each) for each in settings.destinations] == ["main (127.0.0.1:10051)"]
    assert settings.log_level == "info"


def test_the_default_file_is_read_where_it_exists(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[str | bytes], Path]
) -> None:
    """Without --config, the file in /etc counts."""
    monkeypatch.setattr(config, "DEFAULT_PATH", write("host: from-etc"))
    assert load().host == "from-etc"


def test_the_example_holds_the_defaults() -> None:
    """The example file is valid as it is, and what stands in it is what holds without it."""
    assert load(EXAMPLE) == Settings()


def test_the_example_explains_every_key() -> None:
    """Each key of each section stands in the example, at least commented out."""
    text = EXAMPLE.read_text()
    for key in [
        *section.keys(Settings),
        *section.keys(Destination),
        *section.keys(PortSettings),
        *section.keys(SpoolSettings),
    ]:
        assert f"{key}:" in text, key


def test_the_examples_beyond_the_defaults_are_valid(write: Callable[[str | bytes], Path]) -> None:
    """The commented-out examples are valid too, each in its place."""
    text = EXAMPLE.read_text()
    for key in ("host", "autoregistration", "source_ip", "path", "remote", "exclude"):
        assert f"#{key}:" in text
        text = text.replace(f"#{key}:", f"{key}:")
    settings = load(write(text))
    assert settings.host == "web-01"
    assert settings.autoregistration
    assert settings.spool.path == "/var/lib/tcp-status-sender/spool.db"
    assert settings.destinations[0].source_ip == "192.0.2.10"
    assert (settings.ports.remote, settings.ports.exclude) == ((5432,), ((22, 22), (32768, 60999)))


def test_a_mere_name_is_a_credential(write: Callable[[str | bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file without a path is what LoadCredential= made of it; outside of the unit, where that would be."""
    path = write("destinations: [{nodes: [a], tls: {connect: psk, psk_identity: x, psk_file: psk}}]")
    for directory in ("/run/credentials/tcp-status-sender.service", "/elsewhere"):
        assert load(path).destinations[0].tls.psk_file == Path(directory, "psk")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/elsewhere")


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ("{connect: tls}", ".connect: is 'tls'; expected 'unencrypted', 'psk' or 'cert'"),
        ("{connect: psk}", ": psk_identity, psk_file are missing (required with connect: psk)"),
        ("{connect: psk, psk_identity: a}", ": psk_file is missing (required with connect: psk)"),
        ("{connect: cert, ca_file: /a}", ": cert_file, key_file are missing (required with connect: cert)"),
        (
            "{psk_identity: a}",
            ": psk_identity has no effect with connect: unencrypted; expected another `connect`, or no such key",
        ),
        ("{psk_fil: a}", ".psk_fil: unknown key; did you mean 'psk_file'?"),
        (
            f"{{psk_file: {'5a' * 32}}}",
            ".psk_file: is a key itself; expected the path of the file that holds it",
        ),
        (
            "{psk_file: 0a/0b}",
            ".psk_file: is not a path; expected an absolute path, or the name of a LoadCredential= of the",
        ),
        (
            "{key_file: 5}",
            ".key_file: is not a path; expected an absolute path, or the name of a LoadCredential= of the",
        ),
    ],
)
def test_what_is_wrong_with_tls(write: Callable[[str | bytes], Path], tls: str, problem: str) -> None:
    """One line each, which never shows what may be a key."""
    (found,) = problems(write(f"destinations: [{{nodes: [a], tls: {tls}}}]"))
    assert found.startswith(f"destinations[0].tls{problem}")


def test_everything_at_once(write: Callable[[str | bytes], Path]) -> None:
    """A file with every kind of mistake is reported whole, a line each, with the path of each key."""
    path = write("""
host: web-01
host: 7
intervall: 10
interval: 2h
destinations:
  - name: a
    nodes: [zbx, "x:99999", 5]
    compresion: true
    compression: maybe
    timeout: soon
    source_ip: here
  - nodes: []
  - 7
log_level: loud
spool: {path: spool.db, max_age: 1s, max_size: 3, max_sise: 1}
2: 3
""")
    assert sorted(problems(path)) == sorted([
        "host: stands a second time in line 3; expected once",
        "host: is 7; expected text, in quotes where YAML takes it for something else",
        "intervall: unknown key; did you mean 'interval'?",
        "interval: is '2h'; expected a duration from 1s to 1h",
        f"destinations[0].nodes[1]: is 'x:99999'; {NODE}",
        f"destinations[0].nodes[2]: is 5; {NODE}",
        "destinations[0].compresion: unknown key; did you mean 'compression'?",
        "destinations[0].compression: is 'maybe'; expected true or false",
        f"destinations[0].timeout: is 'soon'; {DURATION}",
        "destinations[0].source_ip: is 'here'; expected an IP address of this host, such as 192.0.2.10 or 2001:db8::10",
        "destinations[1].nodes: is empty; expected at least one entry",
        "destinations[2]: is 7; expected keys with values, such as `name: main`",
        "log_level: is 'loud'; expected 'debug', 'info', 'warning' or 'error'",
        "spool.path: is 'spool.db'; expected an absolute path of a file, or \":memory:\"",
        "spool.max_age: is '1s'; expected a duration from 1m to 365d",
        "spool.max_size: is 3; expected a size from 1MiB to 1024GiB, such as 256MiB",
        "spool.max_sise: unknown key; did you mean 'max_size'?",
        "[2]: unknown key; expected one of host, interval, destinations, agent_config, autoregistration, ports, services, counters, name_destinations, namespaces, spool, log_level",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty; expected at least one key, such as `host: web-01`"),
        ("# nothing\n", "is empty; expected at least one key, such as `host: web-01`"),
        (b"\x7fELF\x02\xff\x00", "is not text: byte 5 is not UTF-8; expected a YAML file"),
        (b"\x00\x01", "is not YAML: unacceptable character #x0000"),
        ("host: [", "line 1, column 8: is not YAML: expected the node content"),
        ("host: a\n  interval: 3\n", "line 2, column 11: is not YAML: mapping values are not allowed here"),
        ("- a\n", "the file: is a list; expected keys with values"),
        ("web-01\n", "the file: is a text; expected keys with values"),
        ("5a" * 32 + "\n", "the file: is a text; expected keys with values"),  # a key in place of the configuration
        ("host: 2026-13-45\n", "is not YAML: month must be in 1..12"),
        ("host: a\n---\nhost: b\n", "line 2, column 1: is not YAML"),
        ("host: !!bool x\n", "is not YAML: 'x'"),
        ("host: !!timestamp x\n", "is not YAML: "),
        ("interval: !!int ''\n", "is not YAML: "),
        ("spool: {path: /dev/null}\n", "spool.path: is '/dev/null'; expected the path of a file, not of a device"),
        ("interval: 1:30\n", "interval: is '1:30'; expected a duration"),
        ("interval: 0x1e\n", "interval: is '0x1e'; expected a duration"),
        ("interval: 1_0\n", "interval: is '1_0'; expected a duration"),
        ("interval: \u0663s\n", "interval: is '\u0663s'; expected a duration"),
        ("host: !!python/object:os.system {}\n", "line 1, column 7: is not YAML: could not determine a constructor"),
        ("host: " + "[" * 1000, "is not YAML: maximum recursion depth exceeded"),
        ("? [a]\n: b\n", "line 1, column 3: is not YAML: found unhashable key"),
        ("host:\n", "host: is empty; expected text"),
        ("host: ' a'\n", "host: ' a' starts or ends with a space; expected none there"),
        ("host: 'web 01 '\n", "host: 'web 01 ' starts or ends with a space; expected none there"),
        (f"host: {'x' * 129}\n", "host: has 129 characters; expected at most 128"),
        ("host: ''\n", "host: is ''; expected a technical host name"),
        ("host: a:b\n", "host: is 'a:b'; expected a technical host name"),
        ("interval: 0\n", "interval: is 0; expected a duration from 1s to 1h"),
        ("interval: " + "9" * 60, "interval: is a huge number; expected a duration in whole seconds"),
        ("host: " + "9" * 60, "host: is a huge number; expected text"),
        ("interval: " + "9" * 5000, "is not YAML: Exceeds the limit"),
        ("interval: 1.5\n", "interval: is 1.5; expected a duration in whole seconds"),
        ("interval: true\n", "interval: is true; expected a duration in whole seconds"),
        ("interval: 61m\n", "interval: is '61m'; expected a duration from 1s to 1h"),
        ("destinations:\n", "destinations: is empty; expected a list"),
        ("destinations: []\n", "destinations: is empty; expected at least one entry"),
        ("destinations: {nodes: [a]}\n", "destinations: is a mapping; expected a list"),
        ("destinations: [{nodes: zbx}]\n", "destinations[0].nodes: is 'zbx'; expected a list"),
        (
            "destinations: [{nodes: [a]}, {nodes: [b]}]\n",
            "destinations: two are named 'main'; expected a `name` of its own for each",
        ),
        ('destinations: [{"no\\nname": a, nodes: [b]}]\n', r"destinations[0].no\nname: unknown key"),
        ('destinations: [{name: "\\e[2J", nodes: [b]}]\n', "destinations[0].name: is '\\x1b[2J'; expected printable"),
        ("ports: [443]\n", "ports: is a list; expected keys with values"),
        ("ports: {local: 443}\n", "ports.local: is 443; expected a list, such as [a, b]"),
        ("ports: {local: [0]}\n", "ports.local[0]: is 0; expected a port from 1 to 65535"),
        ("ports: {local: [22, '443']}\n", "ports.local[1]: is '443'; expected a port from 1 to 65535"),
        ("ports: {remote: [true]}\n", "ports.remote[0]: is true; expected a port from 1 to 65535"),
        ("ports: {remote: [65536]}\n", "ports.remote[0]: is 65536; expected a port from 1 to 65535"),
        (
            "ports: {exclude: ['9-5']}\n",
            "ports.exclude[0]: is '9-5'; expected a port from 1 to 65535, or a range of them",
        ),
        (
            "ports: {exclude: [ssh]}\n",
            "ports.exclude[0]: is 'ssh'; expected a port from 1 to 65535, or a range of them",
        ),
        ("ports: {states: [ESTAB]}\n", "ports.states[0]: is 'ESTAB'; expected one of ESTABLISHED, SYN_SENT, SYN_RECV"),
        ("ports: {states: []}\n", "ports.states: is empty; expected at least one entry"),
        ("ports: {states: [1]}\n", "ports.states[0]: is 1; expected one of ESTABLISHED"),
        ("ports: {limit: 0}\n", "ports.limit: is 0; expected a number from 1 to 1000"),
        ("ports: {limit: 50.0}\n", "ports.limit: is 50.0; expected a number from 1 to 1000"),
        ("ports: {listening: 1}\n", "ports.listening: is 1; expected true or false"),
        ("ports: {listen: true}\n", "ports.listen: unknown key; did you mean 'listening'?"),
        ("destinations: [{name: '', nodes: [a]}]\n", "destinations[0].name: is ''; expected at least 1 character"),
        (
            f"destinations: [{{name: {'x' * 65}, nodes: [a]}}]\n",
            f"destinations[0].name: is '{'x' * 65}'; expected at most 64 characters",
        ),
        ("autoregistration: {}\n", "autoregistration.metadata: missing; expected what a registration action looks for"),
        ("destinations: [{name: a}]\n", "destinations[0].nodes: missing; every destination needs at least one node"),
        (
            "destinations: [{nodes: [a], timeout: 61s}]\n",
            "destinations[0].timeout: is '61s'; expected a duration from 1s to 1m",
        ),
    ],
)
def test_one_mistake(write: Callable[[str | bytes], Path], text: str | bytes, problem: str) -> None:
    """Each mistake gives one line that says what is there and what is expected."""
    (found,) = problems(write(text))
    assert found.startswith(problem)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that was asked for by name must exist."""
    assert problems(tmp_path / "none.yaml") == ["does not exist; expected a YAML file that this user can read"]


def test_a_default_file_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the file in /etc cannot be looked at, its being there is not taken for its absence."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "file" / "config.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        load()


def test_a_default_file_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A link in /etc that leads nowhere is a mistake, not the wish to run with the defaults."""
    (tmp_path / "config.yaml").symlink_to("nowhere")
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"config\.yaml: does not exist"):
        load()


def test_an_endless_file_is_an_error() -> None:
    """A file without an end, such as a device, is given up after a million bytes."""
    assert problems(Path("/dev/zero")) == [
        "cannot be read: it has more than 1000000 bytes; expected a YAML file that this user can read"
    ]


def test_aliases_do_not_multiply(write: Callable[[str | bytes], Path]) -> None:
    """A file whose aliases stand for a billion entries is reported in one line, at once."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 10)]
    found = problems(write("\n".join([*lines, "host: *a9", ""])))
    assert "host: is a list; expected text, in quotes where YAML takes it for something else" in found
    assert len(found) == 11


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    """A directory in place of the file is said to be one."""
    assert problems(tmp_path) == ["cannot be read: Is a directory; expected a YAML file that this user can read"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1), ("1s", 1), ("30s", 30), ("5m", 300), ("60m", 3600), ("1h", 3600), ("'30'", 30), ("010", 10)],
)
def test_durations(write: Callable[[str | bytes], Path], text: str, seconds: int) -> None:
    """Durations are written as Zabbix writes them."""
    assert load(write(f"interval: {text}")).interval == seconds


@pytest.mark.parametrize(
    ("text", "address", "port", "shown"),
    [
        ("zbx", "zbx", 10051, "zbx:10051"),
        ("zbx.example.com:10052", "zbx.example.com", 10052, "zbx.example.com:10052"),
        ("192.0.2.1:1", "192.0.2.1", 1, "192.0.2.1:1"),
        ("[2001:db8::1]:10053", "2001:db8::1", 10053, "[2001:db8::1]:10053"),
        ("[::1]", "::1", 10051, "[::1]:10051"),
        ("2001:db8::1", "2001:db8::1", 10051, "[2001:db8::1]:10051"),
        ("fe80::1%eth0", "fe80::1%eth0", 10051, "[fe80::1%eth0]:10051"),
        ("[::1::2]", None, None, None),
        ("1:2:3", None, None, None),
        ("[abc]:1", None, None, None),
        ("zbx:\u0663", None, None, None),
        ("zbx\0", None, None, None),
        ("[fe80::1%br-lan]:10051", "fe80::1%br-lan", 10051, "[fe80::1%br-lan]:10051"),
        ("[fe80::1%eth0]:10051", "fe80::1%eth0", 10051, "[fe80::1%eth0]:10051"),
        ("zbx:", None, None, None),
        ("zbx:0", None, None, None),
        ("zbx:65536", None, None, None),
        ("[::1]:x", None, None, None),
        ("a b", None, None, None),
        ("a;b", None, None, None),
        ("http://zbx", None, None, None),
        ("", None, None, None),
    ],
)
def test_nodes(text: str, address: str | None, port: int | None, shown: str | None) -> None:
    """Names, IPv4 and IPv6, with and without a port; anything else is refused."""
    if address is None:
        with pytest.raises(ValueError, match="expected a name or an address"):
            Node.parse(text)
    else:
        assert Node.parse(text) == Node(address=address, port=port or 0)
        assert str(Node.parse(text)) == shown


# Not all of Unicode, whose table takes seconds to build: one of each kind that parsers stumble over.
texts = st.text(alphabet=string.printable + "\x00\x85\xe9\u2028\ufeff\U0001d11e", max_size=8)
yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["host", "interval", "destinations", "log_level", "nodes", "name", "timeout"])


@given(data=st.dictionaries(keys, yaml_values | st.lists(st.dictionaries(keys, yaml_values), max_size=3)))
def test_nothing_but_config_errors(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    """Whatever a file holds, the outcome is settings or a ConfigError with one-line problems."""
    path = tmp_path_factory.mktemp("any") / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    try:
        load(path)
    except ConfigError as error:
        assert error.problems
        assert not any("\n" in problem for problem in error.problems)


@given(noise=st.binary(max_size=200))
def test_noise_is_a_config_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """Arbitrary bytes never end in a traceback."""
    path = tmp_path_factory.mktemp("noise") / "config.yaml"
    path.write_bytes(noise)
    with pytest.raises(ConfigError):
        load(path)


def test_the_spool_is_where_systemd_says(write: Callable[[str | bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the spool lies in the StateDirectory= of the unit, or in /var/lib; sizes are powers of 1024."""
    assert load(write("host: a")).spool.path == "/var/lib/tcp-status-sender/spool.db"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/private/one:/var/lib/two")
    settings = load(write("spool: {max_size: 3GiB, max_age: 2h}"))
    assert settings.spool.path == "/var/lib/private/one/spool.db"
    assert (settings.spool.max_size, settings.spool.max_age) == (3 * 2**30, 7200)


@pytest.mark.parametrize("path", ["/", "/var/", "/var", "a", "", "/a\\n"])
def test_a_spool_that_is_no_file(write: Callable[[str | bytes], Path], path: str) -> None:
    """A path that cannot be that of a file is a mistake in the configuration."""
    assert problems(write(f'spool: {{path: "{path}"}}'))[0].startswith("spool.path: is ")


@pytest.mark.parametrize(("interval", "is_long"), [("5m", False), ("301s", True), ("1h", True)])
def test_an_interval_at_which_triggers_never_fire(
    write: Callable[[str], Path], interval: str, *, is_long: bool
) -> None:
    """Longer than the window in which the template's triggers see a counter grow, it is allowed, with a warning."""
    path = write(f"interval: {interval}\n")
    warnings = load(path).warnings
    assert [warning.partition(" is more than 5m. ")[0] for warning in warnings] == [f"{path}: interval:"] * is_long
