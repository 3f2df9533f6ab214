"""Real network namespaces, as `check` sees them. Needs root."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from lab.command import COMMAND
from lab.namespace import LOOPBACK, Namespace
from sender.kernel.namespaces import is_elsewhere, is_first, mounted


def test_a_new_namespace_is_not_the_first() -> None:
    """Nothing but the kernel's own files tells: there is no container around it."""
    with Namespace(LOOPBACK) as namespace:
        assert namespace.call(is_first) is False


def test_processes_are_told_apart_by_namespace() -> None:
    """One in a namespace of its own is elsewhere, and this one, or one that is gone, is not seen to be."""
    with Namespace(LOOPBACK) as namespace:
        assert is_elsewhere(namespace.report["pid"])
    assert not is_elsewhere(os.getpid())
    assert not is_elsewhere(2**22 + 1)


def test_a_mounted_namespace_is_counted() -> None:
    """As `ip netns` and container engines mount theirs."""
    program = "from sender.kernel.namespaces import mounted; print(mounted())"
    script = f'ip netns add tcp-status-sender-test && exec {sys.executable} -I -c "$1"'
    # In a mount namespace of its own, over a /run of its own: nothing stays behind.
    script = f"mount -t tmpfs tmpfs /run && {script}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", program], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) == mounted() + 1


def test_check_in_an_empty_namespace() -> None:
    """0 sockets is true there, and not what anybody wants to know: it is a warning, with what to do."""
    with Namespace(LOOPBACK) as namespace:
        done = subprocess.run(
            namespace.inside(COMMAND, "check", "--json", "--config", "/dev/null"),
            capture_output=True,
            text=True,
            check=False,
        )
    findings = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    assert findings["kernel"]["found"].startswith("0 sockets")
    assert findings["namespace"]["result"] == "warn"
    assert "--network host" in findings["namespace"]["advice"]
