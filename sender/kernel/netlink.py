"""pyroute2's netlink messages, and nothing else of pyroute2. The only importer of it.

`import pyroute2` loads all of it, routing, firewalls and Wi-Fi in 200 modules, of which a request needs seven. The rest
would take 8 MB and a third of the time to the first sample (docs/cost.md; https://github.com/svinota/pyroute2/issues/1404).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NETLINK_SOCK_DIAG", "NLM_F_DUMP", "NLM_F_REQUEST", "nlmsg"]


@contextmanager
def _without_init(package: str) -> Iterator[None]:
    """Let submodules of `package` be imported without its own `__init__`; a later import gets all of it."""
    spec = find_spec(package)
    if package in sys.modules or spec is None:
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


try:
    with _without_init("pyroute2"):
        from pyroute2.netlink import NETLINK_SOCK_DIAG, NLM_F_DUMP, NLM_F_REQUEST, nlmsg
except (ImportError, AttributeError):  # a release whose parts need the whole
    from pyroute2.netlink import NETLINK_SOCK_DIAG, NLM_F_DUMP, NLM_F_REQUEST, nlmsg
