"""A plan becomes llama-server's arguments, and a child's environment.

Explicit values everywhere: llama-server's own fitting (``--fit``) is off, since the plan has
decided and the check after loading must find what was planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .catalog import ModelEntry
    from .find import FoundEngine

# llama-server's "trace" level: the lines that tell buffers and offloaded layers. It shows no
# prompts (level 5 does).
VERBOSITY = 4
# Whole states of idle conversations that llama-server keeps in memory; its default is 8 GiB, which
# no plan had counted.
PROMPT_CACHE_MIB = 512
# Ours in the child's environment; other LLAMA_ARG_* would change what the plan decided.
_KEPT_OUT = ("LLAMA_ARG_", "LITELLM_", "HF_TOKEN", "LLAMA_API_KEY", "INFERENCE_API_KEY")


@dataclass(frozen=True, slots=True)
class LoadShape:
    """How a model is loaded. ``ctx_size`` is the total of all slots, in tokens.

    ``n_gpu_layers`` 0 is CPU only. ``None`` leaves a value to the engine.
    """

    n_gpu_layers: int
    ctx_size: int
    parallel: int = 1
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: str = "auto"
    batch_size: int | None = None
    ubatch_size: int | None = None
    threads: int | None = None
    n_cpu_moe: int = 0
    mmap: bool = True
    mmproj_offload: bool = True


def arguments(
    engine: FoundEngine,
    entry: ModelEntry,
    shape: LoadShape,
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
        *("--ctx-size", str(shape.ctx_size)),
        *("--parallel", str(shape.parallel)),
        *("--n-gpu-layers", str(shape.n_gpu_layers)),
        *("--cache-type-k", shape.cache_type_k),
        *("--cache-type-v", shape.cache_type_v),
        *("--flash-attn", shape.flash_attn),
        *("--fit", "off"),
        *("--cache-ram", str(PROMPT_CACHE_MIB)),
        *("--verbosity", str(VERBOSITY)),
        *("--no-webui", "--slots", "--metrics", "--jinja", "--no-context-shift"),
    ]
    if shape.batch_size is not None:
        words += ["--batch-size", str(shape.batch_size)]
    if shape.ubatch_size is not None:
        words += ["--ubatch-size", str(shape.ubatch_size)]
    if shape.threads is not None:
        words += ["--threads", str(shape.threads), "--threads-batch", str(shape.threads)]
    if shape.n_cpu_moe:
        words += ["--n-cpu-moe", str(shape.n_cpu_moe)]
    if not shape.mmap:
        words += ["--load-mode", "none"]
    if entry.mmproj is not None:
        words += ["--mmproj", str(entry.mmproj)]
        words += [] if shape.mmproj_offload else ["--no-mmproj-offload"]
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
    if cuda_visible_devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = cuda_visible_devices
    return env


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
    "--slot-save-path", "--load-mode",
})  # fmt: skip
