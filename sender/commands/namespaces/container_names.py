"""What containers are called, from the files of their engines. Asks no engine: its socket would be the way to all of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.kernel.container_ids import Container

_MOST_BYTES = 8_000_000  # of a file
_MOST_KEPT = 4096


class ContainerNames:
    """Names by id. A file is read again when it has changed: a container may be given another name."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._kept: dict[tuple[Path, str], tuple[tuple[int, int], str]] = {}

    def name_of(self, container: Container) -> str:
        """Return what it is called; "" where no file says."""
        for store in _STORES:
            if container.engine not in (store.engine, "container"):
                continue
            for path in self._paths(store.files.format(id=container.id)):
                with suppress(OSError, ValueError, RecursionError):  # it is gone, or it is not what it seems
                    if name := self._read(path, container.id, store.name_in):
                        return name
        return ""

    def _paths(self, pattern: str) -> list[Path]:
        try:
            return list(self._root.glob(pattern))
        except OSError:
            return []

    def _read(self, path: Path, container: str, name_in: Callable[[Any, str], str]) -> str:
        """Return the name that a file has. Raises OSError and ValueError."""
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        kept, name = self._kept.get((path, container), (None, ""))
        if kept == stamp:
            return name
        if stat.st_size > _MOST_BYTES:
            raise ValueError(f"{path} is too large")
        name = name_in(json.loads(path.read_bytes()), container)
        if len(self._kept) >= _MOST_KEPT:  # of containers that were
            self._kept.clear()
        self._kept[path, container] = stamp, name
        return name


class _Store(NamedTuple):
    """Where an engine keeps names: a pattern of files, and what finds the name in one of them."""

    engine: str
    files: str
    name_in: Callable[[Any, str], str]


def _docker(content: Any, _: str) -> str:
    return _text(content, "Name").removeprefix("/")


def _podman(content: Any, container: str) -> str:
    for each in content if isinstance(content, list) else ():
        if isinstance(each, dict) and each.get("id") == container and isinstance(names := each.get("names"), list):
            return next((name for name in names if isinstance(name, str)), "")
    return ""


def _containerd(content: Any, _: str) -> str:
    return _pod(content, "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name")


def _crio(content: Any, _: str) -> str:
    return _pod(content, "io.kubernetes.pod.namespace", "io.kubernetes.pod.name")


def _pod(content: Any, namespace_key: str, name_key: str) -> str:
    """Return the pod's name in its Kubernetes namespace, from a container's annotations."""
    annotations = content.get("annotations") if isinstance(content, dict) else None
    namespace, name = _text(annotations, namespace_key), _text(annotations, name_key)
    return f"{namespace}/{name}" if namespace and name else ""


def _text(content: Any, key: str) -> str:
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""


_STORES = (
    _Store("docker", "var/lib/docker/containers/{id}/config.v2.json", _docker),
    _Store("podman", "var/lib/containers/storage/*-containers/*containers.json", _podman),
    _Store("containerd", "run/containerd/io.containerd.runtime.v2.task/*/{id}/config.json", _containerd),
    _Store("containerd", "run/k3s/containerd/io.containerd.runtime.v2.task/*/{id}/config.json", _containerd),
    _Store("crio", "run/containers/storage/*-containers/{id}/userdata/config.json", _crio),
)
