"""The sampler in a process of its own, from which it takes what it needs."""

from __future__ import annotations

import subprocess
import sys


def test_out_of_file_descriptors() -> None:
    """Without a file descriptor to spare, the error names EMFILE and the limit to raise."""
    code = (
        "import resource, os\n"
        "from sender.errors import KernelError\n"
        "from sender.kernel.sock_diag import SockDiag\n"
        "before = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) - 1, before[1]))\n"
        "try:\n"
        "    SockDiag().sample()\n"
        "except KernelError as error:\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "    print(error)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "EMFILE (Too many open files). Too many files are open: raise LimitNOFILE= of the unit." in done.stdout
