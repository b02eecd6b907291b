"""Ollama's catalogue: /api/version, /api/tags, /api/ps and /api/show, out of the model list.

For tools that speak nothing else. The shapes are those of Ollama's docs/api.md and api/types.go;
the entries are those of the gateway's own /v1/models (``names.Names.listed``). What the
engine has not said is left out or zero, as Ollama's own types have it; nothing is invented.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Entry = Mapping[str, Any]

VERSION = "0.12.6"
"""The version of Ollama's API that this speaks; clients refuse servers below 0.6.4 or so."""

_LATEST = ":latest"
_CAPABILITIES = {"completion": "completion", "chat": "completion", "tools": "tools",
                 "fim": "insert", "embeddings": "embedding"}  # fmt: skip
_EMBEDDING_MODE = "embedding"


def public_name(name: str) -> str:
    """``local-chat:latest`` is ``local-chat``: Ollama adds the tag to a name without one."""
    return name.removesuffix(_LATEST)


def version() -> dict[str, str]:
    """The answer of GET /api/version."""
    return {"version": VERSION}


def tags(listed: Iterable[Entry]) -> dict[str, Any]:
    """The answer of GET /api/tags: every model that can be asked for."""
    return {"models": [_model(entry) for entry in listed]}


def running(listed: Iterable[Entry]) -> dict[str, Any]:
    """The answer of GET /api/ps: the models that are loaded."""
    ready = [entry for entry in listed if _meta(entry).get("status") == "ready"]
    return {
        "models": [
            {**_model(entry), "context_length": entry.get("context_length") or 0, "size_vram": 0}
            for entry in ready
        ]
    }


def show(entry: Entry) -> dict[str, Any]:
    """The answer of POST /api/show for one entry."""
    meta = _meta(entry)
    architecture = str(meta.get("architecture") or "unknown")
    facts = {
        "general.architecture": architecture,
        "general.basename": entry["id"],
        "general.parameter_count": meta.get("n_params"),
        # What fits here, not what the model was trained for: clients cut their prompts to it.
        f"{architecture}.context_length": entry.get("context_length") or meta.get("n_ctx_train"),
    }
    return {
        "modelfile": f"# {entry['id']}, served by llama.cpp\n",
        "parameters": "",
        "template": "",
        "details": _details(entry),
        "model_info": {key: value for key, value in facts.items() if value is not None},
        "capabilities": _capabilities(entry),
        "modified_at": _modified(entry),
    }


def _model(entry: Entry) -> dict[str, Any]:
    name = str(entry["id"])
    return {
        "name": name,
        "model": name,
        "modified_at": _modified(entry),
        "size": _meta(entry).get("size") or 0,
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": _details(entry),
    }


def _details(entry: Entry) -> dict[str, Any]:
    meta = _meta(entry)
    family = str(meta.get("architecture") or "")
    parameters = meta.get("n_params")
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _short_count(parameters) if parameters else "",
        "quantization_level": str(meta.get("quantization") or ""),
    }


def _capabilities(entry: Entry) -> list[str]:
    said = _meta(entry).get("capabilities")
    if not isinstance(said, list):
        said = ["embeddings"] if entry.get("mode") == _EMBEDDING_MODE else ["completion"]
    return list(dict.fromkeys(_CAPABILITIES[name] for name in said if name in _CAPABILITIES))


def _meta(entry: Entry) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = entry.get("meta") or {}
    return meta


def _modified(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.get("created") or 0, UTC).isoformat()


def _short_count(count: int) -> str:
    """7615616512 is 7.6B, as Ollama writes it."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= unit:
            return f"{count / unit:.1f}{letter}"
    return str(count)
