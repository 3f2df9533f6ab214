"""One YAML file as it stands, or a ConfigError. The only importer of yaml; knows no key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from sender.errors import ConfigError
from sender.settings import files

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> tuple[Any, list[str]]:
    """Return what the file holds, and a line for each key that stands twice. Raises ConfigError for what is no such file."""
    try:
        text = files.content(path).decode()
    except OSError as error:
        why = files.why_unreadable(error)
        raise ConfigError([f"{path}: {why}; expected a YAML file that this user can read"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not text: byte {error.start} is not UTF-8; expected a YAML file"]) from error
    try:
        loader = _Loader(text)
        data = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ConfigError([f"{path}: {where}: is not YAML: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise ConfigError([f"{path}: is not YAML: {' '.join(str(error).split())}"]) from error
    if data is None:
        raise ConfigError([f"{path}: is empty; expected at least one key, such as `host: web-01`"])
    return data, loader.duplicates


def parsed(text: str) -> Any:
    """Return what a text of our own holds. It is large: PyYAML's parser in C, which most builds of it have, is ten times as fast."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  either is a safe one


class _Loader(yaml.SafeLoader):
    """YAML as it stands, and the keys that stand twice, of which PyYAML would silently drop the first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  PyYAML's own signature
        """Do as PyYAML does, and note what stands twice."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                line = key.start_mark.line + 1
                self.duplicates.append(f"{key.value}: stands a second time in line {line}; expected once")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 takes 010 for 8, 1:30 for 90 and 1_000 for 1000. Here a number is what everybody takes for one.
_INT = "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != _INT]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile("[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
