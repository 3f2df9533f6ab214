"""Files that people write: the bounded read of one, who may read it, and the form of a key. Knows no key of a configuration.

Raises OSError for what cannot be read, ValueError for what is no key; neither quotes what a file holds.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import BinaryIO

DEFAULT_PATH = Path("/etc/tcp-status-sender/config.yaml")
_MAX_BYTES = 1_000_000  # of a configuration, or of a list of hosts
PSK_DIGITS = range(32, 513)  # Zabbix manual: Encryption, Using pre-shared keys: 128 to 2048 bits
KEY_BYTES = 2 * PSK_DIGITS.stop  # enough to see that a file holds more than a key
_OTHERS_READ = 0o004


def head(path: Path, most: int) -> bytes:
    """Return the first bytes of a file, at most so many: it might be /dev/zero. Raises OSError."""
    with path.open("rb") as file:
        return file.read(most)


def content(path: Path) -> bytes:
    """Return what a file of text holds. Raises OSError, also for one that holds more than a million bytes."""
    with path.open("rb") as file:
        return rest(file)


def rest(file: BinaryIO) -> bytes:
    """Return what is still to be read of an open file, as `content` does."""
    found = file.read(_MAX_BYTES + 1)
    if len(found) > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {_MAX_BYTES} bytes")
    return found


def why_unreadable(error: OSError) -> str:
    """Return in words what `head` or `content` raised."""
    return "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


def is_open_to_all(path: Path) -> bool:
    """Return whether every user can read a file; False for one that cannot be looked at: reading it says why."""
    try:
        return bool(path.stat().st_mode & _OTHERS_READ)
    except OSError:
        return False


def psk_digits(text: str) -> str:
    """Return the hexadecimal digits of a pre-shared key as zabbix_agentd has it in a file: in one line."""
    digits = text.strip()
    if not digits:
        why = "is empty"
    elif not re.fullmatch("[0-9A-Fa-f]+", digits):
        why = "has more in it than one line of hexadecimal digits"
    elif len(digits) % 2:
        why = "has an odd number of hexadecimal digits: one is missing, or one too many"
    elif len(digits) not in PSK_DIGITS:
        why = f"has {'too few' if len(digits) < PSK_DIGITS.start else 'too many'} hexadecimal digits"
    else:
        return digits
    raise ValueError(f"{why}; expected 32 to 512 digits, such as `openssl rand -hex 32` prints")
