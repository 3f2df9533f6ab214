"""A real kernel's refusal on demand: seccomp filters as systemd's RestrictAddressFamilies= and MemoryDenyWriteExecute= set."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

import pytest

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
# Numbers of socket(2), mmap(2), mprotect(2).
SOCKET_CALL, MMAP_CALL, MPROTECT_CALL = {"x86_64": (41, 9, 10), "aarch64": (198, 222, 226)}[platform.machine()]
CAN_REFUSE = pytest.mark.skipif(sys.maxsize < 2**32, reason="socketcall(2) hides from a filter what is asked for")
# BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K, BPF_ALU|BPF_AND|BPF_K
LOAD, IF_EQUAL, RETURN, AND = 0x20, 0x15, 0x06, 0x54
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
NUMBER, FIRST_ARGUMENT, THIRD_ARGUMENT = 0, 16, 32  # offsets in struct seccomp_data
WRITE, EXECUTE = 2, 4  # PROT_WRITE, PROT_EXEC, asm-generic/mman-common.h


def refuse_family(family: int, code: int) -> None:
    """From now on, socket(family, ...) of this process fails with errno `code`."""
    _obey(
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 0, 3, SOCKET_CALL),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (IF_EQUAL, 0, 1, family),
        (RETURN, 0, 0, REFUSE | code),
        (RETURN, 0, 0, ALLOW),
    )


def refuse_writable_code() -> None:
    """From now on, this process gets no memory that is writable and executable, and none becomes executable."""
    _obey(
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 0, 3, MMAP_CALL),
        (LOAD, 0, 0, THIRD_ARGUMENT),
        (AND, 0, 0, WRITE | EXECUTE),
        (IF_EQUAL, 4, 5, WRITE | EXECUTE),
        (IF_EQUAL, 0, 4, MPROTECT_CALL),
        (LOAD, 0, 0, THIRD_ARGUMENT),
        (AND, 0, 0, EXECUTE),
        (IF_EQUAL, 0, 1, EXECUTE),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    )


def _obey(*program: tuple[int, int, int, int]) -> None:
    code_bytes = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    filter_program = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code_bytes)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_program, 0, 0)):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
