"""The command line as a user types it: output, errors and exit codes of the installed script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.command import COMMAND, tcp_status_sender
from sender import __version__
from sender.commands.template import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]


def test_a_bad_config_is_listed_whole(tmp_path: Path) -> None:
    """Exit code 2, nothing on standard output, and every problem as `FILE: path.to.key: what is wrong`."""
    path = tmp_path / "config.yaml"
    path.write_text("intervall: 3\nlog_level: loud\nhost: a\nhost: b\n")
    done = tcp_status_sender("run", "--dry-run", "--once", "--config", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{path}: host: stands a second time in line 4; expected once",
        f"{path}: log_level: is 'loud'; expected 'debug', 'info', 'warning' or 'error'",
        f"{path}: intervall: unknown key; did you mean 'interval'?",
    ]


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF\x00\xff", b"host: [", b"- 1"])
def test_an_unusable_config_is_exit_code_2(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, binary, broken or of another shape: exit code 2 and one line."""
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    done = tcp_status_sender("run", "--config", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["rum"], ["run", "--onec"], ["run", "--log-level", "loud"], ["template", "x"]]
)
def test_bad_usage_is_exit_code_2(arguments: list[str]) -> None:
    """What the command does not know is said, with its usage."""
    done = tcp_status_sender(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: tcp-status-sender")


def test_help_and_version() -> None:
    """--help lists every command and the exit codes; --version is the distribution's."""
    done = tcp_status_sender("--help")
    assert done.returncode == 0
    for word in ("run", "template", "exit codes"):
        assert word in done.stdout
    assert tcp_status_sender("--version").stdout == f"tcp-status-sender {__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_template_is_the_one_in_the_repository() -> None:
    """The installed wheel prints the very file that the repository offers for import."""
    files = {form: (REPOSITORY / "templates" / name).read_text(encoding="utf-8") for form, name in FORMATS.items()}
    for arguments in ([], *(["--format", form] for form in FORMATS)):
        done = tcp_status_sender("template", *arguments)
        assert (done.returncode, done.stdout) == (0, files[arguments[-1] if arguments else "6.0"])


@pytest.mark.parametrize("arguments", [["run", "--dry-run", "--once"], ["template"]])
def test_a_full_disk_under_the_output(arguments: list[str]) -> None:
    """Output that cannot be written is an error in one line, exit code 1."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "tcp-status-sender: cannot write the output: No space left on device\n"


BELOW_A_FILE = "/etc/hostname/x"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("run --once --config FILE", 2),
        ("run --config FILE", 2),
        ("check --config FILE", 1),
        ("show --config FILE", 2),
        ("status --config FILE", 2),
        ("provision --url http://127.0.0.1:9/ --config FILE", 2),
        ("provision --url http://127.0.0.1:9/ --host a --token-file FILE", 2),
        ("provision --url http://127.0.0.1:9/ --host a --hosts FILE", 2),
        ("provision --url http://127.0.0.1:9/ --host a --ca-file FILE", 2),
        ("provision --url http://127.0.0.1:9/ --host a --psk-identity a --psk-file FILE", 2),
    ],
)
def test_a_path_below_a_file(arguments: str, code: int) -> None:
    """Whatever path is wrong is named with the reason and what is expected; the output is not to blame."""
    done = tcp_status_sender(*arguments.replace("FILE", BELOW_A_FILE).split())
    assert done.returncode == code
    said = done.stdout + done.stderr
    assert f"{BELOW_A_FILE}: cannot be read: Not a directory; expected " in " ".join(said.split())
    assert "output" not in done.stderr


@pytest.mark.parametrize("verb", ["check", "status"])
def test_a_spool_below_a_file(config: Callable[..., Path], verb: str) -> None:
    """The spool's path is named where it cannot be one; the output is not to blame."""
    done = tcp_status_sender(verb, "--config", config(9, spool={"path": BELOW_A_FILE}))
    assert done.returncode == 1
    assert BELOW_A_FILE in done.stdout + done.stderr
    assert "output" not in done.stderr


@pytest.mark.parametrize("verb", ["check", "run --once"])
def test_a_key_below_a_file(config: Callable[..., Path], verb: str) -> None:
    """So is a key's path."""
    tls = {"connect": "psk", "psk_identity": "a", "psk_file": BELOW_A_FILE}
    path = config(destinations=[{"nodes": ["127.0.0.1:9"], "tls": tls}])
    done = tcp_status_sender(*verb.split(), "--config", path)
    assert done.returncode == 1
    assert f"psk_file {BELOW_A_FILE} cannot be read: Not a directory" in " ".join((done.stdout + done.stderr).split())


def test_a_path_that_nobody_expects_to_fail() -> None:
    """An installation that lacks a file is an error of that file, not of the output."""
    code = "from sender import cli; from sender.commands import template; template.FORMATS['6.0'] = 'none.xml'; "
    code += "raise SystemExit(cli.main(['template']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"tcp-status-sender: (/.*/none\.xml): No such file or directory\. Check that \1 is there .*\.\n", done.stderr
    )


def test_a_reader_that_has_seen_enough() -> None:
    """`template | head -1` is no error."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([COMMAND, "template"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", ["run --dry-run --once", "template", "--help"])
def test_a_closed_output_is_no_traceback(arguments: str) -> None:
    """Started without a standard output, as some supervisors do, the command runs as ever."""
    shell = ["sh", "-c", f"exec {COMMAND} {arguments} >&-"]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_as_a_module(tmp_path: Path) -> None:
    """`python -m sender` is the same command."""
    command = [sys.executable, "-m", "sender", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"tcp-status-sender {__version__}\n"
