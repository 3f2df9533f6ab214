"""`provision` before it reaches a Zabbix, and where what it reaches is none, or too old, or breaks down."""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from lab.command import COMMAND, bare_environment
from lab.https import Https
from lab.trapper import Trapper
from sender.commands import template
from sender.commands.provision import credentials
from sender.commands.provision.api import checked_url, is_in_clear
from sender.commands.provision.credentials import Login, Psk
from sender.commands.provision.failures import quoted
from sender.errors import ConfigError
from sender.items import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "0123456789abcdef" * 4
KEY = "fedcba9876543210" * 4
FORM = "expected 32 to 512 digits, such as `openssl rand -hex 32` prints"
NAME = "expected a technical host name: letters, digits, spaces, dots, dashes and underscores"


def run(
    *arguments: str | Path, url: str = "http://127.0.0.1:9/", given: str = "", **environment: str
) -> tuple[int, str]:
    """Return the exit code, and what was said, in which no secret may stand."""
    command = [COMMAND, "provision", "--url", url, *arguments]
    environment = bare_environment(**(environment or {"ZABBIX_API_TOKEN": TOKEN}))
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment, input=given
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert TOKEN not in said
    assert KEY not in said
    return done.returncode, said.rstrip("\n")


@pytest.mark.parametrize(
    "text",
    [
        *("", "zabbix.example.com", "ftp://a/", "https://", "https://a:x/", "http://a b/"),
        *("https://u:p@a/", "https://u:p%40a:x/", "https://a/?p=p", "https://a/#p"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Nothing but http:// or https:// with a host, and no password, which others would see among the arguments."""
    code, said = run("--host", "a", url=text)
    assert code == 2
    quoted = "" if set(text) & set("@%?#") else f"is {text!r}; "
    assert said.startswith(f"--url: {quoted}expected the address of Zabbix's web interface, such as https://")


def test_an_address_is_taken_as_people_have_it() -> None:
    """With a page at its end, as browsers show it, or with none; http is in the clear unless it stays on this machine."""
    for page in ("", "zabbix.php?action=host.list&filter_set=1", "index.php", "api_jsonrpc.php"):
        assert checked_url(f"https://a.example/zabbix/{page}") == "https://a.example/zabbix/"
    assert checked_url("https://a.example/zabbix") == "https://a.example/zabbix"
    assert is_in_clear("http://a.example/")
    assert not is_in_clear("https://a.example/")
    assert not is_in_clear("http://127.0.0.1:8080/")


@pytest.mark.parametrize(
    ("arguments", "given", "expected"),
    [
        (["--host", "ä"], "", f"--host: is 'ä'; {NAME}"),
        (
            ["--host", "a", "--host", " b", "--host", "x" * 129],
            "",
            "--host: ' b' starts or ends with a space; expected none there\n--host: has 129 characters; expected at most 128",
        ),
        (["--hosts", "-"], "web-01\n\n# one more\nweb/02\n", f"--hosts -: line 4: is 'web/02'; {NAME}"),
        (["--hosts", "-"], "\n", "--hosts -: holds no name; expected a host name on each line"),
        (
            ["--hosts", "/nowhere"],
            "",
            "--hosts /nowhere: does not exist; expected a file with a host name on each line",
        ),
        (
            ["--hosts", "/dev/zero"],
            "",
            "--hosts /dev/zero: cannot be read: it has more than 1000000 bytes; expected a file with a",
        ),
        (["--template-only", "--host", "a"], "", "--template-only: expected nothing about hosts beside it"),
        (["--host", "a", "--psk-identity", "b"], "", "--psk-identity, --psk-file: expected both or neither"),
        (["--host", "a", "--psk-file", "b"], "", "--psk-identity, --psk-file: expected both or neither"),
        (
            ["--host", "a", "--psk-identity", "b", "--psk-file", "/nowhere"],
            "",
            "--psk-file /nowhere: does not exist; expected a file that this user can read",
        ),
        (
            ["--host", "a", "--ca-file", "/nowhere"],
            "",
            "--ca-file /nowhere: does not exist; expected certificates of CAs in PEM form",
        ),
        (
            ["--host", "a", "--ca-file", "/etc/hostname"],
            "",
            "--ca-file /etc/hostname: holds no certificates; expected certificates of CAs in PEM form",
        ),
        (
            ["--host", "a", "--token-file", "/nowhere"],
            "",
            "--token-file /nowhere: does not exist; expected a file that this user can read",
        ),
    ],
)
def test_each_mistake_in_the_arguments(arguments: list[str], given: str, expected: str) -> None:
    """Exit code 2 before anything is asked, with the mistake and what is expected."""
    code, said = run(*arguments, given=given)
    assert code == 2
    assert said.startswith(expected)
    assert said.count("\n") == expected.count("\n")


def test_every_mistake_at_once(tmp_path: Path) -> None:
    """One run names whatever is wrong: address, login, CAs, hosts, keys, and options that exclude each other."""
    (tmp_path / "hosts").write_text("web-01\nweb/02\nweb-03\n")
    (tmp_path / "web-03").write_text(KEY)
    missing = tmp_path / "missing"
    arguments: list[str | Path] = ["--token-file", missing, "--ca-file", missing, "--template-only", "--host", "ä"]
    arguments += ["--hosts", tmp_path / "hosts", "--psk-identity", "PSK {host}", "--psk-file", f"{tmp_path}/{{host}}"]
    code, said = run(*arguments, url="ftp://a/")
    assert code == 2
    assert [line.partition(";")[0] for line in said.splitlines()] == [
        "--url: is 'ftp://a/'",
        f"--token-file {missing}: does not exist",
        f"--ca-file {missing}: does not exist",
        "--template-only: expected nothing about hosts beside it",
        "--host: is 'ä'",
        f"--hosts {tmp_path}/hosts: line 2: is 'web/02'",
        f"--psk-file {tmp_path}/web-01: does not exist",
    ]
    assert all("expected" in line for line in said.splitlines())


def test_the_configuration_s_mistakes_are_among_them(config: Callable[..., Path]) -> None:
    """Where the configuration names the host, what is wrong in it stands beside a missing token."""
    path = config(9, log_level="loud")
    code, said = run("--config", path, url="", HOME="/")
    assert code == 2
    places = [line.partition(" expected")[0] for line in said.splitlines()]
    assert places == ["--url: is '';", "no API token;", f"{path}: log_level: is 'loud';"]


def test_without_a_host_it_is_the_configuration_s(config: Callable[..., Path]) -> None:
    """A bad configuration is reported as ever; a good one is passed, and the server is asked."""
    code, said = run("--config", config(9, host="ä"))
    assert code == 2
    assert "host: is 'ä'; expected a technical host name" in said
    assert run("--config", config(9))[0] == 1


def test_without_a_login(tmp_path: Path) -> None:
    """Where to put a token and where to make one; what is none is said, not shown."""
    code, said = run("--host", "a", HOME="/")
    assert code == 2
    assert said.startswith("no API token; expected --token-file FILE, or ZABBIX_API_TOKEN in the environment, or")
    (tmp_path / "token").write_text(TOKEN[:-1])
    with pytest.raises(ConfigError, match="holds no API token; expected its 64 hexadecimal digits") as raised:
        credentials.login(tmp_path / "token", {})
    assert TOKEN[:-1] not in str(raised.value)


def test_the_file_counts_more_than_the_environment(tmp_path: Path) -> None:
    """A token file first, then the token in the environment, then user and password."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    both = {"ZABBIX_API_TOKEN": KEY, "ZABBIX_USER": "u", "ZABBIX_PASSWORD": "p"}
    assert credentials.login(tmp_path / "token", both).token == TOKEN
    assert credentials.login(None, both).token == KEY
    assert credentials.login(None, {**both, "ZABBIX_API_TOKEN": ""}) == Login(user="u", password="p")  # noqa: S106


@pytest.mark.parametrize("key", ["", "ab" * 15, "ab" * 257, "a" * 33, "xy" * 32, f"{KEY}\n{KEY}"])
def test_what_is_no_key(tmp_path: Path, key: str) -> None:
    """Too short, too long, odd, not hexadecimal or more than one line: the file and the form, and nothing of the key."""
    (tmp_path / "key").write_text(key)
    with pytest.raises(ConfigError) as raised:
        credentials.psks(["a", "b"], "PSK", str(tmp_path / "key"))
    (said,) = raised.value.problems
    assert said.startswith((f"--psk-file {tmp_path / 'key'}: has ", f"--psk-file {tmp_path / 'key'}: is empty; "))
    assert said.endswith(FORM)
    assert not key or key not in said


def test_a_key_for_each_host(tmp_path: Path) -> None:
    """{host} stands for the name; every file that is missing is named; one identity cannot have two keys."""
    (tmp_path / "a").write_text(KEY)
    (tmp_path / "b").write_text(KEY[::-1])
    file = f"{tmp_path}/{{host}}"
    assert credentials.psks(["a", "b"], "PSK {host}", file) == {
        "a": Psk(identity="PSK a", key=KEY),
        "b": Psk(identity="PSK b", key=KEY[::-1]),
    }
    with pytest.raises(ConfigError, match=r"names several keys; expected \{host\} in it"):
        credentials.psks(["a", "b"], "PSK", file)
    with pytest.raises(ConfigError) as raised:
        credentials.psks(["a", "c", "d"], "PSK {host}", file)
    assert len(raised.value.problems) == 2
    with pytest.raises(ConfigError, match="expected 1 to 128 printable characters"):
        credentials.psks(["a"], "x" * 129, file)


def test_secrets_that_everybody_can_read_are_warned_about(tmp_path: Path) -> None:
    """The token's file and a key's, each with what to do; a file of one's own is fine."""
    for name, text in (("token", TOKEN), ("key", KEY)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    files = ("--token-file", tmp_path / "token", "--psk-identity", "PSK", "--psk-file", tmp_path / "key")
    _, said = run("--host", "a", *files)
    for name in ("token", "key"):
        assert f"warning: every user of this machine can read {tmp_path / name}; `chmod 600` it" in said
        (tmp_path / name).chmod(0o640)
    assert "warning" not in run("--host", "a", *files)[1]


def test_no_repr_shows_a_secret() -> None:
    """What may end up in a traceback or a debugger's log holds names alone."""
    login = Login(token=TOKEN, user="u", password=KEY)
    assert "u" in repr(login)
    assert not [secret for secret in (TOKEN, KEY) if secret in repr(login) + repr(Psk(identity="i", key=KEY))]


def test_the_template_s_names_are_those_in_the_file() -> None:
    """The names by which provisioning looks for template and group."""
    root = ET.fromstring(template.text("6.0"))  # noqa: S314  our own file
    assert root.findtext("templates/template/template") == TEMPLATE
    assert [group.findtext("name") for group in root.iterfind("groups/group")] == [template.GROUP]


class Web:
    """A web server that answers each method of the API as told: with bytes, or anything as JSON, made of the params or not."""

    def __init__(self) -> None:
        user = {"userid": "1", "type": 3, "roleid": "3"}
        self.answers: dict[str, Any] = {"apiinfo.version": "6.0.14", "user.checkAuthentication": user}
        self.status = 200
        self.location = ""  # where it redirects to, with that status
        self.challenge = ""
        self.asked: list[Any] = []
        web = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                web.asked.append((asked, self.headers["Authorization"]))
                answer = web.answers.get(asked["method"], b"")
                self.answer(answer(asked["params"]) if callable(answer) else answer)

            def answer(self, what: Any) -> None:
                error = what if isinstance(what, dict) and "message" in what else None
                body = {"jsonrpc": "2.0", "id": 1, **({"error": error} if error else {"result": what})}
                self.send_response(web.status)
                if web.location:
                    self.send_header("Location", web.location)
                if web.challenge:
                    self.send_header("WWW-Authenticate", web.challenge)
                self.end_headers()
                self.wfile.write(what if isinstance(what, bytes) else json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@contextmanager
def serving() -> Iterator[Web]:
    """Run a web server that seems to be a Zabbix 6.0 until one asks more than who one is."""
    web = Web()
    threading.Thread(target=web.server.serve_forever, daemon=True).start()
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    """Yield such a web server."""
    with serving() as web:
        yield web


@pytest.fixture
def elsewhere() -> Iterator[Web]:
    """Yield another one."""
    with serving() as web:
        yield web


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            "5.0.8",
            "is Zabbix 5.0.8, but `provision` needs 6.0 or later. Import the template by hand: `tcp-status-sender template ",
        ),
        ("4.4.10", "is Zabbix 4.4.10, but `provision` needs 6.0 or later"),
        ("5.4.0rc1", "is Zabbix 5.4.0rc1, but `provision` needs 6.0 or later"),
        ("nonsense", "does not answer as Zabbix's API does. Is this the address of Zabbix's web interface, such as "),
        (b"<html>Welcome to nginx!</html>", "does not answer as Zabbix's API does. Is this the address of "),
        (b"[]", "does not answer as Zabbix's API does. Is this the address of "),
        (b'{"error": "no"}', "does not answer as Zabbix's API does. Is this the address of "),
        (b"\xff\xfe", "does not answer as Zabbix's API does. Is this the address of "),
        (b"", "does not answer as Zabbix's API does. Is this the address of "),
    ],
)
def test_what_is_no_zabbix_or_too_old_a_one(web: Web, answer: Any, expected: str) -> None:
    """One sentence with the address, exit code 1; and the token was not sent there."""
    web.answers["apiinfo.version"] = answer
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    assert f"tcp-status-sender: {web.url}: {expected}" in said
    assert not [asked for asked in web.asked if TOKEN in str(asked)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, "answers HTTP 403 Forbidden. Is this the address of Zabbix's web interface, such as "),
        (502, "answers HTTP 502 Bad Gateway. See the log of its web server."),
    ],
)
def test_what_the_web_server_says(web: Web, status: int, expected: str) -> None:
    """Its status, and where to look."""
    web.status = status
    assert expected in run("--host", "a", url=web.url)[1]


def test_before_5_2_a_host_needs_an_interface(web: Web) -> None:
    """Who has to create hosts by hand is told so, and nobody else."""
    for version, is_told in (("5.0.8", True), ("5.2.0", False)):
        web.answers["apiinfo.version"] = version
        assert ("Give the host an interface: before 5.2 it needs one." in run("--host", "a", url=web.url)[1]) == is_told


@pytest.mark.parametrize("version", ["7.4.0rc1", "8.0.0alpha1", "7.0.0beta3", "6.0.14"])
def test_a_version_with_letters(web: Web, version: str) -> None:
    """A Zabbix that is not released yet is one: it is logged in and asked."""
    web.answers["apiinfo.version"] = version
    web.answers["configuration.importcompare"] = {"templates": {}}
    web.answers |= {"template.get": [], "hostgroup.get": [{"groupid": "1"}], "templategroup.get": [{"groupid": "1"}]}
    assert run("--template-only", url=web.url) == (0, f"template {TEMPLATE!r}: nothing to do")
    place = web.asked[-1][0].get("auth") if version.startswith("6.0") else web.asked[-1][1]
    assert place in (TOKEN, f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"code": 1, "message": "Error connecting to database.", "data": ""}, "Error connecting to database"),
        (
            {"code": -32500, "message": "Application error.", "data": "Zabbix is under maintenance."},
            "Zabbix is under maintenance",
        ),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_what_the_frontend_says_first(web: Web, error: dict[str, Any], said: str, status: int) -> None:
    """Its own words are quoted: it is Zabbix, and not well. No token goes there."""
    web.answers["apiinfo.version"], web.status = error, status
    how = "says" if status == 200 else "answers HTTP 500"
    code, found = run("--host", "a", url=web.url)
    assert code == 1
    assert found.startswith(f"tcp-status-sender: {web.url}: {how}: {said}")
    assert "Is this the address" not in found
    assert not [asked for asked in web.asked if TOKEN in str(asked)]


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
def test_an_address_that_leads_elsewhere(web: Web, elsewhere: Web, status: int) -> None:
    """The address to give instead is named, where a Zabbix answers there, and no token goes to either."""
    web.status, web.location = status, f"{elsewhere.url}zabbix/api_jsonrpc.php"
    code, said = run("--host", "a", url=web.url)
    assert (code, said) == (1, f"tcp-status-sender: {web.url}: leads to {elsewhere.url}zabbix/. Give that address.")
    assert not [asked for asked in web.asked + elsewhere.asked if TOKEN in str(asked)]


@pytest.mark.parametrize("status", [302, 308])  # which urllib follows, and which it does not
def test_where_an_address_leads_fails(web: Web, elsewhere: Web, status: int) -> None:
    """Who fails is named: not the address that was given, but the one to which it leads."""
    web.status, web.location = status, "http://127.0.0.1:9/api_jsonrpc.php"
    begin = f"tcp-status-sender: {web.url}: leads to"
    assert run("--host", "a", url=web.url) == (
        1,
        f"{begin} http://127.0.0.1:9/, which cannot be reached: Connection refused",
    )
    web.location = elsewhere.url.replace("http:", "https:")
    assert f"{begin} {web.location}, which does not speak TLS with us" in run("--host", "a", url=web.url)[1]
    web.location, elsewhere.answers["apiinfo.version"] = f"{elsewhere.url}login?next=1", b"<html>"
    said = run("--host", "a", url=web.url)[1]
    assert f"{begin} {web.location}, which does not answer as Zabbix's API does. Is this the address" in said
    elsewhere.answers["apiinfo.version"] = {"code": 1, "message": "Error connecting to database.", "data": ""}
    assert f"{begin} {web.location}, which says: Error connecting to database. " in run("--host", "a", url=web.url)[1]


def test_an_address_that_leads_nowhere(web: Web) -> None:
    """Round in a circle, or to what is no web address."""
    web.status, web.location = 302, "/api_jsonrpc.php"
    said = run("--host", "a", url=web.url)[1]
    assert f"leads from one address to another without end, in the end to {web.url}. Is this the address" in said
    assert len(web.asked) < 10
    web.location = "ftp://a/"
    assert f"{web.url}: leads to ftp://a/. Is this the address" in run("--host", "a", url=web.url)[1]


@pytest.mark.parametrize(
    ("challenge", "named"), [('Basic realm="x"', " (Basic)"), ("Negotiate", " (Negotiate)"), ("", "")]
)
def test_a_web_server_with_a_login_of_its_own(web: Web, challenge: str, named: str) -> None:
    """It is told from Zabbix's, and what to do about it; the token is not sent."""
    web.status, web.challenge = 401, challenge
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    assert (
        f"answers HTTP 401 Unauthorized: its web server asks for a login of its own{named}. `provision` has no login but"
        in said
    )
    assert not [asked for asked in web.asked if TOKEN in str(asked)]


def test_a_certificate_of_another_name(web: Web, tmp_path: Path) -> None:
    """A CA that is trusted does not help: it is said for which name it is not, and --ca-file is not offered."""
    for name, mismatch in (("IP:127.0.0.2", "IP address mismatch"), ("DNS:other.example", "IP address mismatch")):
        with Https(tmp_path, web.server.server_port, name) as https:
            code, said = run("--host", "a", "--ca-file", https.certificate, url=https.url)
            named = https.url.replace("127.0.0.1", "localhost")
            other = run("--host", "a", "--ca-file", https.certificate, url=named)[1]
        assert code == 1
        assert f"its certificate is of another name: {mismatch}" in said
        assert "its certificate is of another name: Hostname mismatch" in other
        for each in (said, other):
            assert "Give the address with a name that the certificate has" in each
            assert "--ca-file" not in each


def test_what_cannot_be_reached() -> None:
    """Nobody listens, or there is no such name."""
    assert run("--host", "a") == (1, "tcp-status-sender: http://127.0.0.1:9/: cannot be reached: Connection refused")
    code, said = run("--host", "a", url="http://nowhere.invalid/")
    assert code == 1
    assert "http://nowhere.invalid/: cannot be reached: " in said


def test_a_trapper_is_no_web_interface() -> None:
    """Who gives the address of the server itself, port 10051, is told which one is meant."""
    with Trapper(lambda _: b"", reads=5) as trapper:
        code, said = run("--host", "a", url=f"http://127.0.0.1:{trapper.port}/")
    assert code == 1
    assert "closes the connection without an answer, as Zabbix's trapper does. Is this the address of " in said


def test_http_is_warned_about() -> None:
    """Whoever is in between reads the token."""
    assert run("--host", "a", url="http://nowhere.invalid/")[1].startswith(
        "warning: http://nowhere.invalid/: anybody on the way there can read the token and the keys; https:// hides them\n"
    )


def test_what_a_server_quotes_is_no_secret(web: Web) -> None:
    """A frontend that quotes its statement, with a token or a key in it, is quoted without them."""
    web.answers["template.get"] = {"code": -32500, "message": "Application error.", "data": f"Error in query [{KEY}]."}
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    assert said == ("tcp-status-sender: template.get was rejected: Error in query [(hidden)]")


def test_a_password_is_not_quoted() -> None:
    """A frontend may say again what it was told."""
    assert quoted({"data": 'bad param {"password": "s3cret"}'}, "s3cret") == 'bad param {"password": "(hidden)"}'


@pytest.mark.parametrize("answer", [None, 5, "a", ["a"], [None]])
def test_an_answer_of_another_shape(web: Web, answer: Any) -> None:
    """What is no list of objects is said as any other answer that is none of Zabbix's."""
    web.answers["template.get"] = answer
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    assert said.startswith(f"tcp-status-sender: {web.url}: template.get: does not answer as Zabbix's API does. Is this")


def test_a_login_that_breaks_down(web: Web) -> None:
    """A Zabbix that tells its version, and then answers as none does, is said as any other."""
    web.answers["user.checkAuthentication"] = b"<html>"
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    assert said.startswith(f"tcp-status-sender: {web.url}: does not answer as Zabbix's API does. Is this the address ")


def test_https_where_there_is_none(web: Web) -> None:
    """The web server has no TLS on that port."""
    url = web.url.replace("http:", "https:")
    code, said = run("--host", "a", url=url)
    assert code == 1
    assert said.startswith(f"tcp-status-sender: {url}: does not speak TLS with us: ")
    assert said.endswith(". Is it https there?")


def test_what_is_there_but_not_for_this_user(web: Web) -> None:
    """A group that this user cannot read looks missing, and cannot be made; who can help is said."""
    reason = 'Host group "Linux servers" already exists.'
    web.answers |= {
        "user.checkAuthentication": {"userid": "1", "type": 2, "roleid": "2"},
        "template.get": lambda params: [] if "parentTemplateids" in params else [{"templateid": "1"}],
        "host.get": [],
        "hostgroup.get": [],
        "hostgroup.create": {"code": -32602, "message": "Invalid params.", "data": reason},
    }
    code, said = run("--host", "a", "--keep-template", url=web.url)
    assert code == 1
    assert said.startswith(
        f"tcp-status-sender: hostgroup.create was rejected: {reason[:-1]}. The user's role is of type Admin. Only a role of"
    )


def test_a_web_server_that_swallows_the_header(web: Web) -> None:
    """From 6.4 on the token goes in a header, which many a web server does not pass on: Zabbix shows it by what it answers."""
    web.answers["apiinfo.version"] = "7.0.22"
    web.answers["template.get"] = {
        "code": -32602,
        "message": "Invalid params.",
        "data": "Session terminated, re-login, please.",
    }
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    assert said.endswith("please. Let the web server pass the header Authorization on to PHP: it does not arrive.")
    assert web.asked[-1][1] == f"Bearer {TOKEN}"


def test_the_library_s_own_environment_is_left_out(web: Web) -> None:
    """ZABBIX_TOKEN and ZABBIX_URL, which zabbix_utils reads by itself, neither help nor harm."""
    surplus = {"ZABBIX_TOKEN": KEY, "ZABBIX_URL": "http://127.0.0.1:9/", "ZABBIX_USER": "u", "ZABBIX_PASSWORD": "p"}
    code, said = run("--host", "a", url=web.url, ZABBIX_API_TOKEN=TOKEN, **surplus)
    assert code == 1
    assert "template.get: does not answer as Zabbix's API does" in said
    assert web.asked[1][0]["params"] == {"token": TOKEN}


def test_an_api_that_breaks_down_ends_it(web: Web) -> None:
    """What was said before stays said; there is no point in going on."""
    web.answers["hostgroup.get"] = [{"groupid": "1"}]
    answers = iter([[], b""])
    web.answers["template.get"] = lambda _: next(answers)
    web.answers["configuration.importcompare"] = []
    code, said = run("--host", "a", url=web.url)
    assert code == 1
    first, second = said.splitlines()
    assert first == f"template {TEMPLATE!r}: nothing to do"
    assert second.startswith(
        f"tcp-status-sender: {web.url}: template.get: does not answer as Zabbix's API does. Is this"
    )
