"""docs/decisions/README.md: the records, in their rooms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The first two digits of a record's number name the part of the suite that it is about.
ROOMS = {
    "00": "The project",
    "01": "The engine",
    "02": "What fits",
    "03": "The gateway",
    "04": "Settings and models",
    "05": "Approvals and plans",
    "06": "The assistant",
    "07": "Conformance and measurements",
    "08": "Containers",
    "09": "Editors and agents",
    "10": "The door: documentation, and the words on the screen",
}
HEADING = re.compile(r"# (\d{4})\. (\S.*)")

HEAD = """<!-- Made by `make docs` from the records; don't edit. -->

# Decisions

What was chosen, against what, and what it was measured by. A record says how things were when it
was written. A new one takes the next number of its part, and begins with `# NUMBER. What was
decided`.
"""


def page(folder: Path) -> str:
    """The whole page. Raises :class:`ValueError` for a record without a number and a title."""
    parts, room = [HEAD], ""
    for path in sorted(folder.glob("[0-9]*.md")):
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        found = HEADING.fullmatch(first)
        if not found or found[1] != path.name[:4]:
            raise ValueError(f"{path.name} begins with {first!r}, not '# {path.name[:4]}. TITLE'")
        if ROOMS[found[1][:2]] != room:
            room = ROOMS[found[1][:2]]
            parts.append(f"\n## {room}\n\n")
        parts.append(f"- {found[1]} [{found[2]}]({path.name})\n")
    return "".join(parts)
