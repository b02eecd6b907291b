"""What a path on 8001 is for, and the model list. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_ai_suite.wire.routes import LLAMA_SERVER, spellings

from .ledger import Phase
from .model import Model, status

if TYPE_CHECKING:
    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.templates import Abilities
    from local_ai_suite.wire.routes import Use

FORWARDED = spellings(LLAMA_SERVER)
"""POST routes that are passed on to the engine of the body's ``model``."""

WATCHED = frozenset({"/props", "/slots", "/metrics", "/lora-adapters"})
"""GET routes about a loaded model (``?model=``); they never load one."""


def mismatch(entry: ModelEntry, use: Use) -> str | None:
    """Why ``entry`` cannot be used so; ``None`` if it can."""
    if use == "tokens":
        return None
    if use == "embed" and entry.kind != "embed":
        what = "reranks" if entry.kind == "rerank" else "chats and completes"
        return f"{entry.name} makes no embeddings: it is a model that {what}."
    if use == "rerank" and entry.kind != "rerank":
        return f"{entry.name} is not a reranking model."
    if use == "generate" and entry.embeds:
        return f"{entry.name} generates no text: it is a model for {entry.capabilities[0]}."
    return None


def model_rows(
    model: Model, created: int, abilities: Abilities | None = None
) -> list[dict[str, Any]]:
    """The entries of ``GET /v1/models`` for one model, one per name.

    ``abilities``: what its chat template takes, where that is known.
    """
    meta = {
        **model_meta(model),
        "template": abilities.as_dict() if abilities is not None else None,
    }
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "local", "meta": meta}
        for name in model.entry.names
    ]


def model_meta(model: Model) -> dict[str, Any]:
    """Limits as the engine has them when it runs, as planned when it was planned, else ``None``."""
    entry, file = model.entry, model.entry.file
    n_ctx = model.actual.context_per_slot if model.actual else None
    if n_ctx is None and model.placement is not None:
        n_ctx = model.placement.context_per_slot
    parallel = model.actual.parallel if model.actual else None
    if parallel is None and model.placement is not None:
        parallel = model.placement.fit.parallel
    return {
        # The name that the engine says in its answers, whichever of its names was asked for.
        "name": model.name,
        "kind": entry.kind,
        "status": status(model),
        "n_ctx": n_ctx,
        "n_ctx_train": file.context_length,
        "n_params": file.parameters,
        "n_embd": file.embedding_length,
        "size": file.size_bytes,
        "parallel": parallel,
        "file": entry.path.name,
        "quantization": file.quantization,
        "architecture": file.architecture,
        "capabilities": list(entry.capabilities),
        "is_demo": entry.is_demo,
        "is_base": entry.is_base,
        "warnings": list(entry.warnings),
        "reason": entry.reason,
        "default_max_output": default_max_output(n_ctx) if not entry.embeds else None,
        "runs_on": runs_on(model),
        "tokens_per_second": {
            "expected": model.placement.fit.tokens_per_second if model.placement else None,
            "measured": model.speed.measured if model.speed else None,
        },
        "deviations": [item.message for item in model.deviations],
        "misfit": [item.message for item in model.deviations if item.failure],
        "failure": model.failure.message if model.failure else None,
        "deaths": len(model.deaths),
        "last_death": model.last_death,
    }


def default_max_output(n_ctx: int | None) -> int | None:
    """Tokens of answer to tell clients that want a number: a quarter of the context, 4096 at most.

    The rest is left for the prompt; the engine itself has no such limit.
    """
    return None if n_ctx is None else max(1, min(n_ctx // 4, 4096))


def runs_on(model: Model) -> str | None:
    """``cpu``, ``gpu``, or ``gpu+cpu``: where the weights lie; ``None`` while it does not run."""
    if model.actual is None or model.phase is Phase.UNLOADED:
        return None
    devices = model.actual.devices
    gpu = any(name != "CPU" for name in devices)
    total, done = model.actual.layers_total, model.actual.layers_offloaded
    if not gpu:
        return "cpu"
    return "gpu" if total is not None and total == done else "gpu+cpu"
