"""Ollama's routes that change which models there are.

Here models are files that a person puts there, so a pull of one that is there succeeds at once, and
whatever would bring, change or remove one is refused with the command that does it. The shapes are
those of Ollama's docs/api.md ("Pull a Model").
"""

from __future__ import annotations

import orjson

CHANGES = {
    ("POST", "/api/pull"): "Download it with `lais models pull NAME`, on the machine that serves.",
    ("POST", "/api/create"): "Put a .gguf file into MODELS_DIR; models.toml sets how it is loaded.",
    ("POST", "/api/copy"): "Give the model an alias in models.toml.",
    ("POST", "/api/push"): "Nothing is uploaded from here.",
    ("DELETE", "/api/delete"): "Remove the file from MODELS_DIR, on the machine that serves.",
}
"""Method and path of each, with what to do instead."""


def pulled(*, stream: bool) -> bytes:
    """The answer to a pull of a model that is there already."""
    steps = ("pulling manifest", "success") if stream else ("success",)
    return b"".join(orjson.dumps({"status": step}) + b"\n" for step in steps)


def why_not(path: str, name: str) -> str:
    """What to tell who asks for another change of ``name``, by the path that was called."""
    method = "DELETE" if path == "/api/delete" else "POST"
    what = path.rpartition("/")[2]
    return f"{what} {name!r}: models are not changed over HTTP. {CHANGES[method, path]}"
