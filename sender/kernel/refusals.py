"""What an errno means where the kernel is asked for its sockets, and what to do: two tables, for they mean two things."""

from __future__ import annotations

import errno
import os

from sender.errors import KernelError, RefusedError, TornError

_NO_DIAG = (
    "Load the kernel's TCP diagnostics: `modprobe tcp_diag` as root (in a container: on its host). A kernel without modules "
    "needs them built in: CONFIG_INET_DIAG=y and CONFIG_INET_TCP_DIAG=y."
)
_POLICY = "A security policy forbids it: check the SELinux, AppArmor or seccomp profile."
_FILTER = "A security policy forbids it: check SystemCallFilter= and the SELinux, AppArmor or seccomp profile."
_MEMORY = "The kernel ran out of memory: check free memory and the cgroup's limit."

_OF_REQUEST = {
    errno.ENOENT: _NO_DIAG,
    errno.EOPNOTSUPP: _NO_DIAG,
    errno.EPERM: _FILTER,
    errno.EACCES: _POLICY,
    errno.EINVAL: "The kernel does not know this request: it must be Linux 3.3 or later.",
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
}
_OF_SOCKET = {
    errno.EAFNOSUPPORT: "AF_NETLINK is forbidden here: add it to RestrictAddressFamilies= of the unit.",
    errno.EPROTONOSUPPORT: "This kernel is built without CONFIG_INET_DIAG, or it is not Linux's own: gVisor, or WSL 1, in "
    "whose place WSL 2 has one.",
    errno.EPERM: _FILTER,
    errno.EACCES: _POLICY,
    errno.EMFILE: "Too many files are open: raise LimitNOFILE= of the unit.",
    errno.ENFILE: "Too many files are open on the whole host: raise fs.file-max.",
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
}


def refusal(code: int) -> KernelError:
    """Return the error for an errno with which the kernel answered. ENOBUFS is a TornError: worth asking again."""
    kind = TornError if code == errno.ENOBUFS else RefusedError
    found = f"the kernel refused to list its TCP sockets (sock_diag): {_name(code)}"
    return kind(found, advice=_OF_REQUEST.get(code, ""))


def socket_failure(step: str, error: OSError) -> KernelError:
    """Return the error for a netlink socket that cannot be had: the kernel was not asked yet. `step` says what failed."""
    code = error.errno or 0
    return KernelError(f"{step} failed before the kernel was asked: {_name(code)}", advice=_OF_SOCKET.get(code, ""))


def _name(code: int) -> str:
    return f"{errno.errorcode.get(code, code)} ({os.strerror(code)})"
