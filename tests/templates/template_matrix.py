# ruff: noqa: E402, E501 (the folders of the tests come onto the path first; a page's lines)
"""The matrix of real templates, asked and written down: ``template_matrix.py --write``.

Every template of the locked sources is loaded, every history asked in every protocol, streamed and
whole (an hour); ``--some`` asks each in one of the two, ``--only NAME`` takes fewer templates. What
was found goes into abilities.toml and docs/reference/models-matrix.md, and is what the tests expect.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from cells import ask, suite
from histories import HISTORIES
from spoken import PROTOCOLS

import real_templates

TABLE = FOLDER / "abilities.toml"
PAGE = FOLDER.parents[1] / "docs" / "reference" / "models-matrix.md"

COLUMNS = {
    "late_system": "late system",
    "repeated_turns": "turns in a row",
    "assistant_first": "assistant first",
    "tools": "tools",
    "calls_shown": "earlier calls",
    "parallel_calls": "parallel calls",
    "tool_ids": "ids",
    "user_after_result": "text after result",
    "reasoning": "reasoning kept",
    "thinking_switch": "thinking switch",
    "reasoning_effort": "effort",
}


def known() -> dict[str, Any]:
    """The table: ``templates`` (name to abilities) and ``cells`` (how the requests ended)."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def render() -> str:
    """docs/reference/models-matrix.md, out of the table."""
    table = known()
    templates, cells = table["templates"], table["cells"]
    both = sum(cells.values()) > len(templates) * len(HISTORIES) * len(PROTOCOLS)
    lines = [
        "# Models by their chat templates",
        "",
        "What the chat templates of real models take by themselves, as the engine service finds it",
        "out (`meta.template` in `/v1/models`), and what the gateway makes of it. The templates are",
        f"those in llama.cpp's sources ({len(templates)} of them), each in a small scripted model:",
        "the engine, its template language and its grammars are real, and the answers are not.",
        "",
        f"{len(HISTORIES)} conversations (system messages in every place, turns in every order, tool",
        "calls whole and broken, odd schemas, an image for a text model), asked on "
        + ", ".join(f"`{path}`" for path in PROTOCOLS),
        f"({'streamed and whole' if both else 'each once, streamed or whole in turn'}):",
        f"{cells['answered']:,} requests were answered, {cells['refused']:,} refused with a 400 that",
        f"says why (an image; reasoning for a translator), {cells['failed']:,} failed.",
        f"{cells['untried']:,} were not tried: the scripted model cannot play them, and after a tool's",
        "result llama.cpp reads no answer of DeepSeek V3.2's form at all.",
        "",
        "    python tests/templates/template_matrix.py --write    # asks it all, writes this page",
        "",
        "*no* is not a fault that you meet: such a conversation is rewritten for the template, as",
        "[the gateway's page](gateway.md) says, except for *tools*, *earlier calls* and the last",
        "three columns: there the template's authors leave it out. *ids*: which tool call ids are",
        "taken.",
        "",
        "| template | " + " | ".join(COLUMNS.values()) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]  # fmt: skip
    for name, able in sorted(templates.items(), key=lambda item: item[0].lower()):
        lines.append(f"| {name} | " + " | ".join(_shown(able[key]) for key in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return {True: "yes", False: "no", "nine": "9 characters"}.get(value, str(value))


def write(templates: dict[str, dict[str, Any]], cells: dict[str, int]) -> None:
    """Keep what was found, and write the page."""
    lines = ["# Written by template_matrix.py: what each template of the locked sources takes."]
    lines += ["", "[cells]"]
    lines += [f"{key} = {count}" for key, count in cells.items()]
    for name in sorted(templates):
        lines += ["", f'[templates."{name}"]']
        lines += [
            f"{key} = " + (f'"{value}"' if isinstance(value, str) else str(value).lower())
            for key, value in templates[name].items()
        ]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    PAGE.write_text(render(), encoding="utf-8")


def run(names: list[str], *, some: bool) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Ask everything; each template's abilities, and how many requests ended how."""
    templates: dict[str, dict[str, Any]] = {}
    cells: Counter[str] = Counter(answered=0, refused=0, failed=0, untried=0)
    with tempfile.TemporaryDirectory() as folder, suite(Path(folder), names) as client:
        for name in names:
            for row, history in enumerate(HISTORIES):
                for column, path in enumerate(PROTOCOLS):
                    for stream in (False, True):
                        if some and stream != bool((row + column) % 2):
                            continue
                        cell = ask(client, name, history, path, stream=stream)
                        if cell.problem:
                            print(cell)
                        ended = {0: "untried", 200: "answered", 400: "refused"}.get(
                            cell.status, "failed"
                        )
                        cells["failed" if cell.problem else ended] += 1
            listed = client.get("/v1/models").json()["data"]
            meta = next(row["meta"] for row in listed if row["id"] == name)
            templates[name] = meta["template"]
            print(name, dict(cells), flush=True)
    return templates, cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--some", action="store_true")
    parser.add_argument("--only", action="append")
    words = parser.parse_args()
    templates, cells = run(words.only or real_templates.names(), some=words.some)
    if words.write:
        write(templates, dict(cells))


if __name__ == "__main__":
    main()
