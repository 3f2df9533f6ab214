"""`python -m templates` writes the template's files anew; with --check it only says which are stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from templates import community, format_3_4, format_6_0, format_7_0, format_7_4, page
from templates.content import template

REPOSITORY = Path(__file__).parents[1]
OUTPUTS = {
    "templates/tcp_states_template.xml": format_6_0.write,
    "templates/tcp_states_template_3.4.xml": format_3_4.write,
    "templates/tcp_states_template_7.0.yaml": format_7_0.write,
    "templates/tcp_states_template_7.4.yaml": format_7_4.write,
    "docs/template.md": page.write,
    f"{community.FOLDER}/7.0/README.md": community.write_7_0,
    f"{community.FOLDER}/7.4/README.md": community.write_7_4,
}


def main() -> int:
    """Write the files, or with --check compare them. Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    check = parser.parse_args().check
    content = template()
    stale = []
    for name, write in OUTPUTS.items():
        path, text = REPOSITORY / name, write(content)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale.append(name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale: run `make template`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
