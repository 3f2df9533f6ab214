"""`python packaging/manual.py` writes the manual page anew, from the parser behind --help; --check says if it is stale."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sender.commands import arguments as usage

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("tcp-status-sender.1")
# What --help does not say; roff, man(7).
SUMMARY = r"count TCP sockets by state and push the counts to Zabbix"
DEFAULTS = r"""
All settings are in one file, which explains each of them.
Without it, the defaults suit a host with its own Zabbix.
.B \-\-help
of each command says the same as this page.
"""
REST = r"""
.SH FILES
.TP
.I /etc/tcp\-status\-sender/config.yaml
The configuration.
.TP
.I /var/lib/tcp\-status\-sender/spool.db
The spool: the queued samples, in systemd's
.BR StateDirectory= .
.TP
.I tcp\-status\-sender.service
The unit.
.B systemctl reload tcp\-status\-sender
applies a changed configuration,
.B systemctl edit tcp\-status\-sender
changes the unit itself,
.B journalctl \-u tcp\-status\-sender
shows the log.
.SH ENVIRONMENT
.TP
.B ZABBIX_API_TOKEN
The API token for
.BR provision ,
if
.B \-\-token\-file
is not given.
.TP
.BR ZABBIX_USER ", " ZABBIX_PASSWORD
User and password for
.BR provision ,
if there is no token.
.TP
.B STATE_DIRECTORY
The directory of the spool; systemd sets it.
Default:
.IR /var/lib/tcp\-status\-sender .
.TP
.B CREDENTIALS_DIRECTORY
The directory of keys that the configuration gives by name only; systemd sets it
.RB ( LoadCredential= ).
.SH EXAMPLES
Print the request that Zabbix would get, without sending it. Needs no configuration:
.PP
.in +4n
.EX
tcp\-status\-sender run \-\-dry\-run \-\-once
.EE
.in
.PP
Find out why no values arrive:
.PP
.in +4n
.EX
tcp\-status\-sender check
.EE
.in
.PP
Prepare Zabbix for all hosts named in a file:
.PP
.in +4n
.EX
tcp\-status\-sender provision \-\-url https://zabbix.example.com/zabbix \e
    \-\-token\-file token \-\-hosts hosts.txt
.EE
.in
.SH SEE ALSO
.BR ss (8),
.BR sock_diag (7),
.BR tcp (7),
.BR systemctl (1),
.BR zabbix_sender (1)
"""


def page() -> str:
    """Return the manual page, for man(1)."""
    whole = usage.parser()
    (commands,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    parts = {action.dest: (action.help or "", commands.choices[action.dest]) for action in commands._choices_actions}
    own = [action for action in whole._actions if action is not commands]
    lines = [
        '.\\" Written by packaging/manual.py.',
        f'.TH TCP\\-STATUS\\-SENDER 1 "" "{_version(whole)}"',
        ".SH NAME",
        rf"tcp\-status\-sender \- {SUMMARY}",
        ".SH SYNOPSIS",
        *(line for _, part in parts.values() for line in _synopsis(part)),
        ".SH DESCRIPTION",
        _prose(whole.description),
        *DEFAULTS.strip().splitlines(),
        ".SH OPTIONS",
        *_options(whole, own),
        ".SH COMMANDS",
    ]
    for name, (summary, part) in parts.items():
        lines += [f".SS {name}: {_prose(summary)}", _prose(part.description), *_options(part, part._actions[1:])]
    lines.append(".SH EXIT STATUS")
    for code, meaning in re.findall(r"(\d+) ([^;]+)", whole.epilog or ""):
        lines += [".TP", f".B {code}", f"{_prose(meaning)[0].upper()}{_prose(meaning)[1:]}."]
    return "\n".join(lines) + REST


def _version(parser: argparse.ArgumentParser) -> str:
    (action,) = (action for action in parser._actions if isinstance(action, argparse._VersionAction))
    return action.version or ""


def _synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One command with its options, with a break wherever one begins."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=10_000)  # one line
    shown = parser.format_usage().removeprefix(f"usage: {parser.prog} [-h]")
    yield f'.SY "{_literal(parser.prog)}"'
    for option in re.findall(r"\[(?:[^][]|\[[^]]*\])+\]|[^ []+ [^ []+", shown):
        yield _marked(_literal(option)).replace(" ", "\\~")
    yield ".YS"


def _options(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in actions:
        yield ".TP"
        yield _marked(_literal(formatter._format_action_invocation(action)))
        yield _sentence(_prose(formatter._expand_help(action)))


def _literal(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def _marked(literal: str) -> str:
    """Options in bold, what stands for a value in italics."""
    literal = re.sub(r"(?<![\w-])(\\-(?:\\-)?[a-z][\w\\-]*)", r"\\fB\1\\fR", literal)
    return re.sub(r"(?<![\w_/{\\])[A-Z]{3,}(?![\w_])", r"\\fI\g<0>\\fR", literal)


def _prose(text: str | None) -> str:
    """Text of --help: names of options in it are marked, quotes and hyphens stay what they are."""
    escaped = (text or "").replace("\\", "\\e").replace("'", "\\(aq")
    return re.sub(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", lambda found: f"\\fB{_literal(found[0])}\\fR", escaped)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def main() -> int:
    """Write the page, or with --check compare it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is stale")
    if parser.parse_args().check:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"packaging/{PAGE.name} is stale: run `make manual`", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
