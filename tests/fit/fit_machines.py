"""Machines and models to plan for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fit_models import Model, llama, qwen2, qwen3moe
from local_ai_suite.gguf import GgufFile, read_gguf
from local_ai_suite.hardware import Gpu, Hardware

if TYPE_CHECKING:
    from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30


def machine(
    vram: float | None = None, *, free: float | None = None, memory: float = 16, cards: int = 1
) -> Hardware:
    """Sizes in GiB; ``free`` is the graphics memory that is free (0.3 less than all of it)."""
    gpus = ()
    if vram is not None:
        left = vram - 0.3 if free is None else free
        name = "NVIDIA GeForce RTX 4050 Laptop GPU"
        gpus = tuple(Gpu(n, name, int(vram * GIB), int(left * GIB)) for n in range(cards))
    return Hardware(
        gpus=gpus,
        memory_total_bytes=int(memory * GIB),
        memory_available_bytes=int(memory * 0.8 * GIB),
        cpu_threads=6,
    )


def _in_q4(model: Model) -> Model:
    model.tensors = [
        (name, shape, "Q4_K" if kind in {"Q8_0", "Q6_K"} else kind)
        for name, shape, kind in model.tensors
    ]
    model.file_type = 15
    return model


def models(folder: Path) -> dict[str, GgufFile]:
    """Qwen2.5-3B (1.6 GiB), Llama-3.1-8B (4.2 GiB) and Qwen3-30B-A3B (16 GiB), all in Q4_K."""
    made = {
        "3b": _in_q4(qwen2(36)), "8b": _in_q4(llama(32)), "moe": _in_q4(qwen3moe(48)),
    }  # fmt: skip
    return {name: read_gguf(model.write(folder / f"{name}.gguf")) for name, model in made.items()}
