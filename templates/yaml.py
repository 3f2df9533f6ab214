"""An export as YAML, indented as Zabbix does it. Every value is a string: Zabbix's importer accepts nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from templates.xml import Tree

_LETTERS = {"y", "n", "Y", "N"}  # truth values to some readers of YAML, and Zabbix's own files quote them, too


class _Dumper(yaml.SafeDumper):
    """Indents lists; quotes a text that any reader might take for something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  PyYAML's own signature
        """Do as PyYAML does, and never leave it out."""
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if text in _LETTERS or _is_number(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_number(text: str) -> bool:
    """Return whether it is one in any version of YAML, as is 12E34 in the newer ones."""
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _text)


def document(tree: Tree) -> str:
    """Return the whole export."""
    return yaml.dump({"zabbix_export": tree}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
