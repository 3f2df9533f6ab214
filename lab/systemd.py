"""A real systemd, the first process of a machine of its own, with this Python and `sender` in it. Needs root.

The machine's files are an overlay above this machine's: all of them can be seen, and whatever is changed is gone with
the machine. Its PIDs, IPC, network, host name, mounts and cgroups are its own. It runs a journal, and of the units only
those that it is given. Nothing of it is left over, whatever way the test ends, kill -9 included.
"""

from __future__ import annotations

import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cgroups import Cgroup
from lab.program import Program, StackError, finish

if TYPE_CHECKING:
    from typing_extensions import Self

UNITS = Path("/etc/systemd/system")
PACKAGED = Path("/lib/systemd/system")
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"

INTO_THE_CGROUP = 'echo 0 >"$1"/cgroup.procs; exec unshare --mount --cgroup --uts --net sh -euc "$2"'

BOOT = f"""
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH"/upper "$SCRATCH"/work "$SCRATCH"/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH"/root
cd "$SCRATCH"/root

# /dev as systemd.io/CONTAINER_INTERFACE asks for it; /proc/sys and /sys are the whole machine's, and not to be written.
for directory in run tmp var/tmp dev .{UNITS}; do mount -t tmpfs tmpfs "$directory"; done
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm  # on the latter, credentials are made ready
ln -s pts/ptmx dev/ptmx
mount -t proc proc proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

# Installed as the README says, in a virtual environment in /opt: of this Python, with the packages that it has here.
rm -rf opt/tcp-status-sender etc/tcp-status-sender var/lib/tcp-status-sender var/lib/private/tcp-status-sender
mkdir -p opt/python usr/local/bin etc/tcp-status-sender
mount -o bind,ro "$BASE" opt/python
LD_LIBRARY_PATH=/opt/python/lib chroot . /opt/python/bin/{PYTHON} -m venv --without-pip /opt/tcp-status-sender
mount -o bind,ro "$SITE" opt/tcp-status-sender/lib/{PYTHON}/site-packages
{{ echo '#!/opt/tcp-status-sender/bin/python'; tail -n +2 "$COMMAND"; }} >opt/tcp-status-sender/bin/tcp-status-sender
chmod 755 opt/tcp-status-sender/bin/tcp-status-sender
ln -sf /opt/tcp-status-sender/bin/tcp-status-sender usr/local/bin/

cp /lib/systemd/system/systemd-journald.service /lib/systemd/system/systemd-journald.socket .{UNITS}
mount -t tmpfs tmpfs .{PACKAGED}  # for what a test installs; this machine's own units are none of this one's
for target in sysinit basic multi-user shutdown umount network-online nss-lookup time-sync; do
    printf '[Unit]\\nDefaultDependencies=no\\n' >.{UNITS}/$target.target
done

pivot_root . mnt
umount -l /mnt
mount --make-rshared /  # as systemd does itself outside of a container; without that, credentials do not get anywhere
exec setpriv --inh-caps=-all --ambient-caps=-all env container=test SYSTEMD_UNIT_PATH={UNITS}:{PACKAGED} \\
    /lib/systemd/systemd --system --unit=basic.target
"""


class System:
    """A booted systemd while the context lasts. `pid` is its first process, seen from outside; `cgroup` holds them all."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._own = Cgroup()
        self.cgroup = self._own.path

    def __enter__(self) -> Self:
        self._own.__enter__()
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if machine := getattr(self, "_machine", None):
            machine.kill()
        self._own.__exit__()

    def _boot(self) -> None:
        mountpoint = self._scratch / "machine"
        mountpoint.mkdir()
        environment = {
            "SCRATCH": str(mountpoint),
            "BASE": sys.base_prefix,
            "SITE": sysconfig.get_path("purelib"),
            "COMMAND": f"{sysconfig.get_path('scripts')}/tcp-status-sender",
        }
        command = ["sh", "-euc", INTO_THE_CGROUP, "sh", str(self.cgroup), BOOT]
        self._machine = Program("systemd", command, self._scratch / "boot.log", environment=environment)
        self._machine.wait_until(self._is_running, "systemd has booted")
        self.run("systemctl", "start", "systemd-journald")

    def _is_running(self) -> bool:
        self.pid = self._machine.pid or 0
        with suppress(StackError):
            return self.run("systemctl", "is-system-running") == "running\n"
        return False

    def run(self, *command: str) -> str:
        """Return what `command`, run in this machine, prints; raises StackError when it fails."""
        inside = ["nsenter", f"--target={self.pid}", "--all", "env", f"SYSTEMD_UNIT_PATH={UNITS}:{PACKAGED}"]
        return finish([*inside, *command])

    def path(self, inside: str | Path) -> Path:
        """Where a file of this machine is found from outside."""
        return Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit, as in `systemctl show`."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()
