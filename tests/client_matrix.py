"""docs/clients/matrix.md, from what the last kept run of the real clients saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import client_corpus

PAGE = Path(__file__).parents[1] / "docs" / "clients" / "matrix.md"

_COLUMNS = {
    "answer": "answer",
    "stream": "streamed",
    "tool loop": "tool loop",
    "launch": "`lais launch`",
    "key": "with a key",
    "wrong key": "wrong key told",
}
_TOLD = {"schema": "a JSON schema", "edit": "edits a file without tools"}

_HEAD = """\
<!-- Made by `python tests/clients/keep.py` from a run of `make test-clients`; don't edit. -->

# What real clients did

Each at the version named, with what `lais connect` wrote or `lais launch` set and nothing else,
against the whole stack. A cell says yes only where a test of `tests/clients` saw it; a dash means
that no test asks for it. The requests that they sent are replayed in the fast tests
(`tests/replay`). "Prompt" is the longest one that was sent, in tokens of the scripted model: the
context to give this client is that, and room for the conversation.
"""


def page() -> str:
    """The whole page."""
    kept = client_corpus.kept()
    titles = ["client", "version", *_COLUMNS.values(), "tools sent", "prompt", "also", "asks"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(_row(name, kept[name])) + " |" for name in sorted(kept)]
    return f"{_HEAD}\n" + "\n".join(lines) + "\n"


def _row(name: str, record: dict[str, Any]) -> list[str]:
    shown = set(record["shown"])
    asked = [one["path"].partition("?")[0] for one in record["exchanges"]]
    if any(one["answer"].get("form") == "stream" for one in record["exchanges"]):
        shown.add("stream")
    bodies = [one["body"] for one in record["exchanges"] if isinstance(one["body"], dict)]
    tools = max((len(body.get("tools") or []) for body in bodies), default=0)
    return [
        f"{name}",
        f"`{record['package']}` {record['version']}",
        *("yes" if what in shown else "-" for what in _COLUMNS),
        str(tools) if tools else "-",
        f"{record['prompt_tokens']:,}" if record["prompt_tokens"] else "-",
        ", ".join(text for what, text in _TOLD.items() if what in shown) or "-",
        ", ".join(f"`{path}`" for path in dict.fromkeys(asked)) or "-",
    ]
