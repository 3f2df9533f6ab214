"""The parameters in a Zabbix agent's file and in those that it includes, as zabbix_agentd or zabbix_agent2 finds them there.

The two differ in the order of included files, in patterns and in what is blank. Knows no parameter's meaning.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from sender.settings import files, go_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_DEPTH = 10  # files within files; MAX_INCLUDE_LEVEL, src/libs/zbxconf/cfg.c, and parseConfig(), pkg/conf/conf.go
_MAX_QUOTE = 1000  # of a path, in a problem
_BYTE_ORDER_MARK = "\ufeff"
_NAME = re.compile("[A-Za-z0-9_.]+")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")  # a whole value; envvar_name_get(), src/libs/zbxcfg/cfg.c
_NO_PATTERN = "a pattern can only stand for file names"
_META = re.compile(r"[*?\[\\]")


class Agent(Enum):
    """Whose file it is."""

    AGENTD = "zabbix_agentd"
    AGENT2 = "zabbix_agent2"


# Neither agent starts with a parameter that it does not know.
_ONLY = {
    Agent.AGENTD: re.compile(
        "AllowRoot|EnableRemoteCommands|ListenBacklog|LoadModule(Path)?|LogRemoteCommands|MaxLinesPerSecond|StartAgents|User"
    ),
    Agent.AGENT2: re.compile(
        "ControlSocket|EnablePersistentBuffer|ForceActiveChecksOnStart|PersistentBuffer(File|Period)|PluginPath|PluginSocket|"
        r"PluginTimeout|Plugins\..*|StatusPort"
    ),
}
_BLANK = {
    Agent.AGENTD: " \t\r\n",  # ZBX_CFG_RTRIM_CHARS
    # unicode.IsSpace() of Go
    Agent.AGENT2: (
        " \t\r\n\v\f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    ),
}
_BLANK_BEFORE_VALUE = {**_BLANK, Agent.AGENTD: " \t"}  # ZBX_CFG_LTRIM_CHARS


class Entry(NamedTuple):
    """What a parameter is set to, and in which file; `unknown` is why the value cannot be told, if it cannot."""

    value: str
    file: Path
    unknown: str = ""


@dataclass(slots=True)
class AgentFile:
    """What stands in a file as `agent` reads it: `entries` by parameter, `problems`, and the `sources` of both.

    `sources` are files and directories. Without one of them the file is not whole, and what it lacks cannot be told.
    """

    path: Path
    agent: Agent
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    sources: dict[Path, None] = field(default_factory=dict)
    is_whole: bool = True
    _is_circle: bool = False

    @classmethod
    def read(cls, path: Path, agent: Agent) -> AgentFile:
        """Return what `path` and the files that it includes hold. Raises nothing."""
        found = cls(path, agent)
        found._take_in(path, depth=1)
        return found

    def value(self, parameter: str) -> str:
        """Return what a parameter is set to, or why that cannot be told; "" where it is absent."""
        entry = self.entries.get(parameter)
        return (entry.value or entry.unknown) if entry else ""

    def _take_in(self, path: Path, depth: int) -> None:
        """Read one file. Of a parameter that stands twice, the last one counts."""
        self.sources[path] = None
        try:
            content = files.content(path)
        except OSError as error:
            self._miss(
                f"{path}: {files.why_unreadable(error)}; expected a Zabbix agent's configuration that this user can read"
            )
            return
        for number, line in enumerate(_lines(content, self.agent), start=1):
            if not line or line.startswith("#"):
                continue
            name, equals, value = line.partition("=")
            name = name.rstrip(_BLANK[self.agent])
            if problem := _problem(line, number, name if equals else None):
                # What the line says may be a key, where this is the file of one.
                self.problems.append(f"{path}: line {number}: {problem}; expected parameter=value")
                continue
            entry = _entry(value.lstrip(_BLANK_BEFORE_VALUE[self.agent]), path, self.agent)
            if name != "Include":
                self.entries[name] = entry
            elif entry.unknown:
                self._miss(f"{path}: Include: {entry.unknown}")
            else:
                self._include(entry.value, depth, f"{path}: Include: is {entry.value[:_MAX_QUOTE]!r}")

    def _include(self, value: str, depth: int, where: str) -> None:
        try:
            included = list(_INCLUDED[self.agent](self.path.parent, value, self.sources))
        except OSError as error:
            self._miss(
                f"{where}, which {files.why_unreadable(error)}; expected a file, a directory, or a directory with a pattern: *.conf"
            )
            return
        for file in included:
            if self._is_circle:
                return
            if depth == _MAX_DEPTH:
                self._is_circle = True
                self._miss(f"{where}; expected at most {_MAX_DEPTH} files within files, and none within itself")
            else:
                self._take_in(file, depth + 1)

    def _miss(self, problem: str) -> None:
        """Note a problem without which the file would be whole."""
        self.is_whole = False
        self.problems.append(problem)


def agents_of(path: Path) -> set[Agent]:
    """Return whose file it is: by the parameters that only one agent knows, else by its name; both where neither tells."""
    try:
        lines = list(_lines(files.content(path), Agent.AGENTD))
    except OSError:  # which reading it says
        lines = []
    names = [line.partition("=")[0].rstrip(" \t") for line in lines if not line.startswith("#")]
    by_parameters = {agent for agent in Agent if any(map(_ONLY[agent].fullmatch, names))}
    by_name = {agent for agent in Agent if agent.value.removeprefix("zabbix_") in path.name.lower()}
    return next((each for each in (by_parameters, by_name) if len(each) == 1), set(Agent))


def _lines(content: bytes, agent: Agent) -> Iterator[str]:
    """Yield each line without blanks around. What is not UTF-8 becomes surrogates."""
    for line in content.split(b"\n"):
        cut = line.partition(b"\0")[0] if agent is Agent.AGENTD else line
        yield cut.decode(errors="surrogateescape").strip(_BLANK[agent])


def _problem(line: str, number: int, name: str | None) -> str:
    """Return why no agent takes a line, "" where one may; `name` is what stands before its =, None where it has none."""
    if number == 1 and line.startswith(_BYTE_ORDER_MARK):
        return "begins with a byte order mark, with which no agent starts: save the file as UTF-8 without one"
    if not _is_text(line):
        return "is not UTF-8"
    if name is None:
        return "has no ="
    if not _NAME.fullmatch(name):
        return "has a character before the = that is in no parameter's name"
    return "has a NUL byte in it" if "\0" in line else ""


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entry(value: str, path: Path, agent: Agent) -> Entry:
    """Return what a value means: agents since 7.2 put what the environment has in the place of one that is `${NAME}`."""
    if not (variable := _VARIABLE.fullmatch(value)):
        return Entry(value, path)
    expected = "expected the variable in the environment of this program (Environment= of the unit), or the value here"
    if (found := os.environ.get(variable[1])) is None:
        return Entry("", path, f"is {value}, which is not set; {expected}")
    if "\n" in found or not _is_text(found):
        return Entry("", path, f"is {value}, which is not one line of text; {expected}")
    return Entry(found.strip(_BLANK[agent]), path)


def _included_by_agentd(base: Path, value: str, sources: dict[Path, None]) -> Iterator[Path]:
    """Yield the file, all files of the directory, or those whose names fit, in the directory's own order. Raises OSError."""
    path = base / value
    if "*" in str(path.parent):
        raise OSError(errno.EINVAL, _NO_PATTERN)
    pattern = path.name if "*" in path.name else None
    if pattern is None and not path.is_dir():
        path.stat()
        yield path
        return
    directory = path.parent if pattern else path
    fits = re.compile(".*".join(map(re.escape, (pattern or "*").split("*"))), re.DOTALL)
    sources[directory] = None
    with os.scandir(directory) as found:
        yield from (directory / entry.name for entry in found if entry.is_file() and fits.fullmatch(entry.name))


def _included_by_agent2(base: Path, value: str, sources: dict[Path, None]) -> Iterator[Path]:
    """Yield the same as Go finds it, sorted by name: loadInclude(), golang.zabbix.com/sdk/conf. Raises OSError."""
    value = os.path.normpath(value)  # as filepath.Clean()
    before, star, _ = value.partition("*")
    path = base / value
    if (star and "/" not in before) or _META.search(str(path.parent)):
        raise OSError(errno.EINVAL, _NO_PATTERN if "/" in before else "a pattern needs a directory before it")
    pattern = path.name if _META.search(path.name) else None
    if pattern is None and not path.is_dir():
        path.stat()
        yield path
        return
    directory = path.parent if pattern else path
    try:
        fits = go_pattern.compiled(pattern or "*")
    except ValueError as error:
        raise OSError(errno.EINVAL, f"it {error}") from error
    sources[directory] = None
    for file in sorted(directory.iterdir(), key=os.fsencode):
        if not fits.fullmatch(file.name):
            continue
        if not file.exists():  # which zabbix_agentd passes over
            raise OSError(errno.EINVAL, f"{file.name!r} in it leads nowhere")
        if not file.is_dir():
            yield file


_INCLUDED = {Agent.AGENTD: _included_by_agentd, Agent.AGENT2: _included_by_agent2}
