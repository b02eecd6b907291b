"""docs/guides/models.md: the table of recommended models, put between its two marks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local_ai_suite.models.recommended import recommended

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = re.compile(r"(<!-- recommended: begin.*?-->\n).*?(<!-- recommended: end -->)", re.DOTALL)


def page(path: Path) -> str:
    """The page as it is, with the table as it should be."""
    rows = ["| name | for | size | licence | on a GPU of 6 GB |", "|---|---|---|---|---|"]
    for entry in recommended():
        role = f"{entry.kind}, `pull {entry.default_for}`" if entry.default_for else entry.kind
        cells = [f"`{entry.name}`: {entry.title}", role, f"{entry.gigabytes:.2f} GB",
                 entry.licence, entry.fits_6gb]  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    table = "\n".join(rows) + "\n"
    text = path.read_text(encoding="utf-8")
    made, count = _TABLE.subn(lambda found: found[1] + table + found[2], text)
    if count != 1:
        raise LookupError(f"{path} has {count} places for the table of models")
    return made
