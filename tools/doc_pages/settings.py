"""docs/reference/settings.md, from .env.example and the settings' own table."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from local_ai_suite.settings import KEYS, Settings

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / ".env.example"
_SETTING = re.compile(r"(#?)([A-Z][A-Z0-9_]*)=(.*)")

HEAD = """# Settings

`.env` in the project folder. The first `make up-p1` makes it from `.env.example` with a random key
of its own and file mode 600, and never changes it again. Made by `make docs`
from `.env.example`; a test keeps both and the code together.

What counts, from weak to strong: the default, `.env`, the environment, a flag on the command line.
A wrong value stops a command with the key, the value, what is allowed and where it was set. A key
that looks like a misspelt setting is reported; other keys are left alone. The file is read exactly
as Docker Compose reads it: quotes, `$NAME`, `${NAME:-default}`, comments, CRLF, several lines in
quotes.
"""


@dataclass(frozen=True)
class Documented:
    """One block of the example: its settings share the words above them."""

    section: str
    words: str
    settings: tuple[tuple[str, str, bool], ...]  # key, text, whether it is switched on


def read_example(text: str) -> list[Documented]:
    """The blocks of ``.env.example``, in order; the introduction is left out."""
    blocks: list[Documented] = []
    section = ""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.splitlines()
        if title := re.fullmatch(r"# --- (.+) ---", lines[0]):
            section = title[1]
            lines = lines[1:]
        found = [match for line in lines if (match := _SETTING.fullmatch(line))]
        if section and found:
            words = " ".join(line[1:].strip() for line in lines if line.startswith("# "))
            settings = tuple((match[2], match[3], not match[1]) for match in found)
            blocks.append(Documented(section, words, settings))
    return blocks


def page() -> str:
    """The whole page."""
    allowed = {item.name: item.metadata["reader"].allowed for item in fields(Settings)
               if "reader" in item.metadata}  # fmt: skip
    out, section = [HEAD], ""
    for block in read_example(EXAMPLE.read_text(encoding="utf-8")):
        if block.section != section:
            section = block.section
            out.append(f"## {section}\n")
        keys = dict.fromkeys(key for key, _, _ in block.settings)
        out.append("### " + ", ".join(f"`{key}`" for key in keys) + "\n")
        out.append(block.words + "\n")
        rows = [f"- Allowed: {allowed[KEYS[next(iter(keys))]]}"]
        for key, value, on in block.settings:
            what = "Default" if on else "Not set by default; example"
            rows.append(f"- {what}: `{key}={value}`")
        out.append("\n".join(rows) + "\n")
    return "\n".join(out)
