"""What README and docs/ hold, as tests look at it: sections, fenced blocks, links. Knows Markdown as GitHub reads it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = (
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
)

_FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def text(document: str) -> str:
    """All of a document, which is given by its path in the repository."""
    return (REPOSITORY / document).read_text(encoding="utf-8")


def sections(document: str) -> dict[str, str]:
    """Return what stands under each heading, up to the next one of whatever level."""
    whole = text(document)
    code = [fence.span() for fence in _FENCE.finditer(whole)]
    heads = [head for head in _HEADING.finditer(whole) if not any(begin <= head.start() < end for begin, end in code)]
    ends = [*(head.start() for head in heads[1:]), len(whole)]
    return {head[1]: whole[head.end() : end] for head, end in zip(heads, ends, strict=True)}


def blocks(document: str, heading: str, language: str) -> list[str]:
    """Return the fenced blocks of one language under a heading."""
    found = _FENCE.findall(sections(document)[heading])
    return [textwrap.dedent(body) for _, kind, body in found if kind == language]


def shell(document: str, heading: str) -> list[str]:
    """Return the commands under a heading, block by block. Whichever tests take them, between them they run every one.

    Document and heading are literals wherever this is called: by that, a test tells which commands nobody runs.
    """
    return blocks(document, heading, "sh")


def code(document: str) -> str:
    """Whatever stands in fenced blocks."""
    return "".join(fence[3] for fence in _FENCE.finditer(text(document)))


def anchors(document: str) -> set[str]:
    """Return what a link can lead to within a document."""
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in sections(document)}


def links(document: str) -> list[str]:
    """Where the document's links and pictures lead, those in code left out."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text(document)))
    return re.findall(r"\]\(([^)\s]+)\)", prose)
