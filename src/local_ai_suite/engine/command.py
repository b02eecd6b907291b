"""A plan becomes llama-server's arguments, and a child's environment.

Explicit values everywhere: llama-server's own fitting (``--fit``) is off, since the plan has
decided and the check after loading must find what was planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.engines.find import device_order

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.engines.find import FoundEngine
    from local_ai_suite.fit import FitPlan

# llama-server's "trace" level: the lines that tell buffers and offloaded layers. It shows no
# prompts (level 5 does).
VERBOSITY = 4
# Ours in the child's environment; other LLAMA_ARG_* would change what the plan decided.
_KEPT_OUT = ("LLAMA_ARG_", "LITELLM_", "HF_TOKEN", "LLAMA_API_KEY", "INFERENCE_API_KEY")
# llama.cpp's threads meet some hundred times a token, and OpenMP lets those that wait spin for
# milliseconds: where another program has the core of the last one, each meeting lasts a time slice.
# So many rounds are enough where each thread has a core, and cost little where not (decision 104).
SPIN_COUNT = "2000"
# llama.cpp chats with a model without a template in ChatML (common/chat.cpp). A base model does not
# know that form: it writes both sides of the talk for ever. Where a mark comes the answer is over,
# unless the request names stops of its own.
CHATML_MARKS = ("<|im_end|>", "<|im_start|>")


def arguments(
    engine: FoundEngine,
    entry: ModelEntry,
    plan: FitPlan,
    *,
    port: int,
    slot_folder: Path | None = None,
) -> list[str]:
    """The command that serves ``entry`` on 127.0.0.1:``port``. The key is not in it."""
    words = [
        *("--model", str(entry.path)),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--alias", entry.name),
        *("--ctx-size", str(plan.n_ctx)),
        *("--parallel", str(plan.parallel)),
        "--kv-unified" if plan.kv_unified else "--no-kv-unified",
        *("--n-gpu-layers", str(plan.n_gpu_layers)),
        *("--cache-type-k", plan.cache_type_k),
        *("--cache-type-v", plan.cache_type_v),
        *("--flash-attn", plan.flash_attention),
        *("--batch-size", str(plan.batch_size)),
        *("--ubatch-size", str(plan.ubatch_size)),
        *("--fit", "off"),
        *("--cache-ram", str(plan.cache_ram_bytes // 2**20)),
        *("--verbosity", str(VERBOSITY)),
        *("--no-webui", "--slots", "--metrics", "--jinja", "--no-context-shift"),
        *_no_device(engine, entry, plan),
    ]
    if plan.threads is not None:
        words += ["--threads", str(plan.threads), "--threads-batch", str(plan.threads)]
    if plan.n_cpu_moe:
        words += ["--n-cpu-moe", str(plan.n_cpu_moe)]
    if not plan.mmap:
        words += ["--load-mode", "none"]
    if entry.mmproj is not None:
        words += ["--mmproj", str(entry.mmproj)]
    if entry.is_base:
        for mark in CHATML_MARKS:
            words += ["--reverse-prompt", mark]
    if entry.kind == "embed":
        words += ["--embedding", "--pooling", entry.file.pooling_type or "mean"]
    elif entry.kind == "rerank":
        words += ["--rerank"]
    if slot_folder is not None and not entry.embeds:
        words += ["--slot-save-path", str(slot_folder)]
    return [*engine.command, *_understood(words, engine.flags)]


def environment(
    environ: Mapping[str, str], *, key: str, cuda_visible_devices: str | None, parent: int
) -> dict[str, str]:
    """The child's environment: ours without secrets and without flags in disguise."""
    env = {name: value for name, value in environ.items() if not name.startswith(_KEPT_OUT)}
    env["LLAMA_API_KEY"] = key
    env["LAIS_PARENT_PID"] = str(parent)
    if "OMP_WAIT_POLICY" not in env:
        env.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return device_order(env, cuda_visible_devices)


def _no_device(engine: FoundEngine, entry: ModelEntry, plan: FitPlan) -> tuple[str, ...]:
    """Switches off the cards that a plan does not use: long prompts and images would go there all
    the same, into memory that nobody planned."""
    if plan.uses_gpu or not engine.gpu:
        return ()
    return ("--device", "none", *(() if entry.mmproj is None else ("--no-mmproj-offload",)))


def _understood(words: list[str], flags: frozenset[str] | None) -> list[str]:
    """``words`` without flags that an older engine does not know, where it can do without them."""
    if flags is None:
        return words
    kept: list[str] = []
    drop = False
    for word in words:
        if word.startswith("--"):
            drop = word in _OPTIONAL and word not in flags
        if not drop:
            kept.append(word)
    return kept


# Added to llama-server in 2025 and 2026; an older one works without them.
_OPTIONAL = frozenset({
    "--fit", "--cache-ram", "--no-webui", "--jinja", "--slots", "--metrics", "--no-context-shift",
    "--slot-save-path", "--load-mode", "--kv-unified", "--no-kv-unified",
    "--device", "--no-mmproj-offload",
})  # fmt: skip
