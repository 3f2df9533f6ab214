"""Programs that live exactly as long as a test, and the cage in which they run. Needs root.

A caged program has PID and IPC namespaces of its own. Three promises rest on them: whoever kills it kills whatever it
has forked; nothing of it outlives the thread that started it, kill -9 included; and no System V shared memory or
semaphore stays behind. Its files are this machine's, or those of another Debian release (see release.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lab.release import HERE, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

POLL_S = 0.02
LOG_TAIL_LINES = 30
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}  # nothing of the caller's: PGHOST, TZ, ...


class StackError(RuntimeError):
    """A program did not do what was asked of it; the text carries the end of what it had to say."""


def caged(command: Sequence[str], user: str = "root", release: Release = HERE) -> list[str]:
    """Return the command line that runs `command` as `user`, as the first process of new PID and IPC namespaces.

    The first `setpriv` ends `unshare` with the thread that started it, the second ends the program with `unshare`
    (`--kill-child` alone would not: a change of user undoes it). `dac_override` lets a user other than root reach its
    files below directories that only root may enter, as pytest's are.
    """
    die_with_parent = ["setpriv", "--pdeathsig", "KILL"]
    namespaces = ["unshare", "--pid", "--ipc", "--fork", "--kill-child"]
    as_user = [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    may_enter = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*die_with_parent, *namespaces, *release.within([*die_with_parent, *as_user, *may_enter, *command])]


def finish(command: Sequence[str], stdin: str = "") -> str:
    """Return what `command`, which ends by itself, prints; raise StackError with its complaint if it fails."""
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, check=False, env=ENVIRONMENT)
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise StackError(f"{' '.join(command)}: exit code {done.returncode}\n{output}")
    return done.stdout.decode()


class Program:
    """A caged program that runs until `stop`, or at the latest until `kill`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        user: str = "root",
        release: Release = HERE,
        environment: Mapping[str, str] = {},
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._cage = subprocess.Popen(
                caged(command, user, release),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the test alone, which then ends the stack in order
                env={**ENVIRONMENT, **environment},
            )

    def kill(self) -> None:
        """End it and all its children at once; return when the last of them is gone."""
        while self._cage.poll() is None:  # more than one turn only where it has not been forked yet
            self._signal(signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._cage.wait(POLL_S)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 30) -> None:
        """Ask it to end, wait until it has."""
        self._signal(how)
        try:
            self._cage.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"does not stop within {timeout_s} s") from None

    def freeze(self) -> None:
        """Let it and all its children stand still, as a machine that hangs would; return when the last of them does."""
        for pid in self._family():  # parents first: what stands still has no more children
            _signal(pid, signal.SIGSTOP)
            self.wait_until(partial(_stands_still, pid), f"process {pid} stands still")

    def thaw(self) -> None:
        """Let all that `freeze` stopped go on."""
        for pid in self._family():
            _signal(pid, signal.SIGCONT)

    def beside(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` where the program runs: it sees the same processes and files."""
        return ["nsenter", f"--target={self.pid}", "--pid", "--mount", "--root", "--", *command]

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
        """Return as soon as `condition` holds; raise StackError if the program ends, or the time runs out, before."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.must_run(f", waiting until {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"waited {timeout_s} s in vain until {what}")
            time.sleep(POLL_S)

    def must_run(self, meanwhile: str = "") -> None:
        """Raise StackError if it has ended."""
        if self._cage.poll() is not None:
            raise self.failure(f"ended ({self._cage.returncode}){meanwhile}")

    def failure(self, what: str) -> StackError:
        """Return the error that says so, with the end of the program's log."""
        tail = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return StackError("\n".join([f"{self.name}: {what}; its log ends so:", *tail]))

    @property
    def pid(self) -> int | None:
        """The program itself, the only child of `unshare`, which lives on until the whole cage is empty."""
        return next(iter(children(self._cage.pid)), None)  # not forked yet, or already gone

    @property
    def cpu_s(self) -> float:
        """User and system time so far, of all its children too, those that have ended and were waited for among them."""
        return sum(map(_cpu_s, self._family()))

    def _signal(self, number: signal.Signals) -> None:
        if pid := self.pid:
            _signal(pid, number)

    def _family(self) -> Iterator[int]:
        """Yield the program, its children, theirs and so on, each looked for when its parent has been dealt with."""
        family = deque(children(self._cage.pid))
        while family:
            pid = family.popleft()
            yield pid
            family.extend(children(pid))


def children(pid: int) -> list[int]:
    """Those of a process's main thread; none of a process that is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def standing_still(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let a process see nothing of what is done meanwhile but how it ends."""
    process.send_signal(signal.SIGSTOP)
    while not _stands_still(process.pid):
        time.sleep(POLL_S)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    """Whether it is stopped, dead or gone (proc(5): the state follows the name, which is in parentheses)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "TZ"


def _cpu_s(pid: int) -> float:
    """Of a process and of its children that it has waited for (proc_pid_stat(5)); 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
